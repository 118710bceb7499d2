"""How well a model, and mean motion alone, separate normal from double speed on videos that the model was not trained on.

Windows of T ticks, half overlapping, each at the normal rate and at twice it. "single" is the accuracy on one window alone,
"pair" the share of windows whose faster version scores higher. Mean motion is scored alike, single windows by the one threshold that does
best on other videos. A window is scored by the task's own head, so it does not go through `ssvid.evaluation.features.encode`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ssvid.data.augment import apply
from ssvid.data.loader import read_square
from ssvid.data.sampling import clock, window_starts
from ssvid.data.video_record import VideoRecord
from ssvid.speedup.models import SpeedModel, device_of
from ssvid.video.shots import grey

SPEEDS = (1, 2)
LEAST_MOTION = 0.2  # of a window, 0..255: a still one has no speed


@dataclass(frozen=True)
class WindowScores:
    """Scores of the windows (W,2) of some videos at normal and double speed: logits of the model, mean motion of the pixels."""

    videos: int
    logits: np.ndarray
    motion: np.ndarray

    def scores(self, threshold: float) -> dict[str, float]:
        """Accuracies in percent of the model and of mean motion (more than `threshold` counts as sped up), and the number of windows."""
        rows = {"model": self.logits, "motion": self.motion - threshold}
        found = {"videos": self.videos, "windows": len(self.logits)}
        for name, scores in rows.items():
            right = np.concatenate([scores[:, 0] <= 0, scores[:, 1] > 0])
            pairs = scores[:, 1] > scores[:, 0]
            found |= {f"{name} single": 100 * right.mean(), f"{name} pair": 100 * pairs.mean()}
        return {name: round(float(value), 1) for name, value in found.items()}

    @classmethod
    def concat(cls, parts: Sequence[WindowScores]) -> WindowScores:
        """The windows of several sets as one."""
        logits, motion = (np.concatenate([getattr(part, name) for part in parts]) for name in ("logits", "motion"))
        return cls(sum(part.videos for part in parts), logits, motion)

    def best_threshold(self) -> float:
        """Mean motion above which most windows here are sped up and below which most are not."""
        candidates = np.sort(self.motion.ravel())
        right = [(self.motion[:, 0] <= level).mean() + (self.motion[:, 1] > level).mean() for level in candidates]
        return float(candidates[int(np.argmax(right))])


def score_windows(task: SpeedModel, videos: Sequence[VideoRecord]) -> WindowScores:
    """Score every window of some videos; videos that are too short, too slow or still are skipped."""
    size = task.augment.size if isinstance(task.augment.size, int) else task.augment.size[1]
    logits, motion, used = [], [], 0
    for video in videos:
        indices = windows_of(task, video)  # (W,2,T)
        used += len(indices) > 0
        for pair in indices:
            frames = read_square(video, pair, task.augment.decode_size)
            params = {name: torch.from_numpy(row)[None] for name, row in task.augment.centre(*pair.shape).items()}
            with torch.inference_mode():
                clips = apply(torch.from_numpy(frames)[None].clone(), params, size)
                logits.append(task.logits(clips.to(device_of(task)))[0].cpu().numpy())
            motion.append(np.abs(np.diff(grey(frames), axis=1)).mean((1, 2, 3)))
    shape = (len(logits), len(SPEEDS))
    return WindowScores(used, np.array(logits).reshape(shape), np.array(motion).reshape(shape))


def score_halves(task: SpeedModel, videos: Sequence[VideoRecord]) -> list[WindowScores]:
    """The same for two halves of the videos, every other one in each, so that what is fitted on one can be tried on the other."""
    return [score_windows(task, videos[first::2]) for first in (0, 1)]


def joined_halves(pairs: Iterable[Sequence[WindowScores]]) -> list[np.ndarray]:
    """Logits (W,2) of the first halves of several sets together, and of the second ones."""
    return [np.concatenate([half.logits for half in halves]) for halves in zip(*pairs, strict=True)]


def windows_of(task: SpeedModel, video: VideoRecord) -> np.ndarray:
    """Frame indices (W,2,T) of the windows of a video at both speeds, from the same beginning, on the model's clock."""
    span = SPEEDS[-1] * (task.frames - 1) + 1
    ticks = clock(video, task.fps)
    starts = window_starts(video, ticks, span, LEAST_MOTION)
    if (task.fps is not None and video.info.fps < 0.95 * task.fps) or not len(starts):
        return np.zeros((0, len(SPEEDS), task.frames), int)
    chosen = starts[starts % max(task.frames // 2, 1) == starts[0] % max(task.frames // 2, 1)]
    offsets = np.arange(task.frames)
    return np.stack([ticks[chosen[:, None] + speed * offsets] for speed in SPEEDS], 1)
