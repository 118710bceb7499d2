"""The speediness curve: how fast may every moment of a video be played and still look natural?

SpeedNet scores the video as it would look played at rates 1.25^i, in sliding windows of one decode (windows.py); its scores become the
fastest natural speed V(t) of every frame (natural_speed.py). Its windows are long at high rates and its scores noisy, while mean motion is
sharp in time but mistakes a near object for a fast one. So by default V is the geometric mean of the two, which follows the authors' own
curve better than either alone, and the true speed of motion-world videos as well as motion; results/speedup.md has all three.

A shot shorter than a window is treated like the other shots, and a video without any window as equally natural at every speed. What does
not move looks the same at every rate, so still windows count as natural up to the highest rate without being scored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from ssvid.errors import ConfigError
from ssvid.progress import Progress, silent
from ssvid.speedup.calibration import calibration_of
from ssvid.speedup.models import SpeedModel, device_of, load_model
from ssvid.speedup.natural_speed import fastest_natural, fill_gaps, spread_over_frames
from ssvid.speedup.windows import RateWindow, WindowCutter, durations_of, evaluation_size, small_tensors
from ssvid.video.info import VideoInfo
from ssvid.video.scan import scan
from ssvid.video.shots import STILL, Shots

BASE, MAX_RATE = 1.25, 8.0
HOP = 4  # ticks between windows: finer changes the curve by less than its noise
BATCH = 32
STILL_LOGIT = -4.0  # of a window in which nothing moves
MOTION_SHARE = 0.5  # weight of motion in log V; the rest is the network's
SMOOTH = 0.25  # seconds, of motion, which is noisy from frame to frame
KINDS = ("model", "motion", "constant")

Scanned = tuple[VideoInfo, Shots]


@dataclass(frozen=True, eq=False)
class Curve:
    """What is known of how fast a video may be played.

    times, durations: (T,) seconds at which, and for which, every frame of the source is shown. cuts: first frames of new shots.
    rates: (R,) playback rates. faster: (R,T) probability that a frame looks sped up at each rate; (0,T) unless by a model.
    natural: (T,) V, the fastest speed at which each frame still looks natural, at least 1. by: "model", "motion" or "constant".
    size: (height, width) of the source in pixels as shown, None where unknown.
    """

    times: np.ndarray
    durations: np.ndarray
    cuts: tuple[int, ...]
    rates: tuple[float, ...]
    faster: np.ndarray
    natural: np.ndarray
    by: str
    size: tuple[int, int] | None = None

    @property
    def network(self) -> np.ndarray:
        """V (T,) by the network alone, without motion; 1 where it scored nothing."""
        return fastest_natural(self.faster, np.array(self.rates)) if self.rates else np.ones(len(self.times))

    def to_dict(self) -> dict[str, Any]:
        """The curve in plain numbers, as JSON takes them; `from_dict` reads it back."""
        plain = asdict(self)
        for name, digits in (("times", 6), ("durations", 6), ("faster", 4), ("natural", 4)):
            plain[name] = np.round(plain[name], digits).tolist()
        return plain | {"cuts": list(self.cuts), "rates": list(self.rates)}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Curve:
        """A curve from what `to_dict` gave."""
        times, durations, natural = (np.asarray(plain[name], float) for name in ("times", "durations", "natural"))
        faster = np.asarray(plain["faster"], float).reshape(len(plain["rates"]), len(times))
        size = tuple(plain["size"]) if plain.get("size") else None
        return cls(
            times, durations, tuple(plain["cuts"]), tuple(plain["rates"]), faster, natural, str(plain["by"]), size
        )


def estimate_curve(
    path: str | os.PathLike[str],
    *,
    by: str = "model",
    model: str | os.PathLike[str] | SpeedModel | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    scanned: Scanned | None = None,
) -> Curve:
    """How fast every frame of a video may be played.

    by: "model", SpeedNet and motion together; "motion", the slower the motion the faster; "constant", all frames alike.
    model: a SpeedNet run or task, None the one that comes with the package. scanned: what a scan found, if there was one.
    device: where a model named by a folder runs.
    Raises VideoError for a file that cannot be used, ConfigError for an unknown `by`, DataError for a model that is none.
    """
    if by not in KINDS:
        raise ConfigError(f"by={by!r} is not one of {', '.join(KINDS)}")
    info, shots = scanned or scan(path)
    durations = durations_of(info)
    rates: tuple[float, ...] = ()
    faster, natural = np.zeros((0, info.frames)), np.ones(info.frames)
    if by == "motion":
        natural = motion_speed(shots.motion, durations, shots.cuts)
    elif by == "model":
        rates, faster = sped_up_probability(load_model(model, device), info, shots, progress)
        if rates:
            network = fastest_natural(faster, np.array(rates))
            moving = motion_speed(shots.motion, durations, shots.cuts)
            natural = network ** (1 - MOTION_SHARE) * moving**MOTION_SHARE
    return Curve(info.times, durations, shots.cuts, rates, faster, natural, by, (info.height, info.width))


def motion_speed(motion: np.ndarray, durations: np.ndarray, cuts: Sequence[int]) -> np.ndarray:
    """V (T,) by motion alone: a scene that moves half as much a second may be played twice as fast, from 1 to the highest rate.

    motion: (T,) mean difference of each frame to the one before. It is smoothed within each shot; the change at a cut is no motion.
    """
    speed = np.ones(len(motion))
    for start, end in zip((0, *cuts), (*cuts, len(motion)), strict=True):
        moved = np.append(motion[start + 1 : end] / durations[start : end - 1], [])
        if len(moved):
            sigma = SMOOTH / float(np.median(durations[start:end]))
            speed[start:end] = gaussian_filter1d(np.append(moved[:1], moved).astype(float), sigma, mode="nearest")
    speed = np.maximum(speed, STILL)
    return np.clip(np.quantile(speed, 0.9) / speed, 1, MAX_RATE)


def sped_up_probability(
    task: SpeedModel, info: VideoInfo, shots: Shots, progress: Progress | None = None, hop: int = HOP
) -> tuple[tuple[float, ...], np.ndarray]:
    """Playback rates (R,) and the probability (R,T) that each frame looks sped up at them; none for a video shorter than a window.

    Frames are taken at the network's own rate, or at the video's where that is lower.
    """
    durations, starts = durations_of(info), (0, *shots.cuts)
    clock = min(task.fps or info.fps, info.fps)
    longest = max(float(part.sum()) for part in np.split(durations, shots.cuts))
    most = min(MAX_RATE, (longest - 1e-6) * clock / (task.frames - 1))  # at which a window still fits
    rates = (
        tuple(BASE**power for power in range(int(np.floor(np.log(most) / np.log(BASE) + 1e-9)) + 1))
        if most >= 1
        else ()
    )
    if not rates:
        return (), np.zeros((0, info.frames))
    cutter: WindowCutter[Tensor] = WindowCutter(info.times, durations, shots.cuts, rates, clock, task.frames, hop)
    progress = progress or silent
    frames = small_tensors(info, shots, evaluation_size(task.augment), progress)
    centres: list[list[list[float]]] = [[[] for _ in starts] for _ in rates]
    logits_at: list[list[list[float]]] = [[[] for _ in starts] for _ in rates]
    for window, logit in window_logits(task, cutter.cut(frames), shots.motion):
        centres[window.rate][window.shot].append(window.centre)
        logits_at[window.rate][window.shot].append(logit)
    logits = fill_gaps(spread_over_frames(centres, logits_at, info.times, starts))
    return rates, 1 / (1 + np.exp(-logits))


def window_logits(
    task: SpeedModel, windows: Iterator[RateWindow[Tensor]], motion: np.ndarray
) -> Iterator[tuple[RateWindow[Tensor], float]]:
    """Every window with its logit of being sped up, computed in batches; windows without motion are not computed."""
    moves = np.concatenate([[0], np.cumsum(motion > STILL)])
    waiting: list[RateWindow[Tensor]] = []
    for window in windows:
        if moves[window.numbers[-1] + 1] == moves[window.numbers[0] + 1]:
            yield window, STILL_LOGIT
            continue
        waiting.append(window)
        if len(waiting) == BATCH:
            yield from _score_batch(task, waiting)
            waiting = []
    if waiting:
        yield from _score_batch(task, waiting)


def _score_batch(task: SpeedModel, windows: Sequence[RateWindow[Tensor]]) -> Iterator[tuple[RateWindow[Tensor], float]]:
    clips = torch.stack([torch.stack(window.frames, 1) for window in windows]).to(device_of(task))  # (B,3,T,h,w)
    with torch.inference_mode():
        logits = calibration_of(task).apply(task.logits(clips.unsqueeze(1))[:, 0])
    yield from zip(windows, logits.tolist(), strict=True)
