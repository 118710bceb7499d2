"""Which frames make a clip: clocks, valid windows and test views, all as pure functions of a record and a generator.

A *clock* is the row of frame indices a task counts in: every frame of the file, or the frames on screen at a common rate in
seconds. Windows are drawn on the clock, never cross a cut and never leave the video, so no task has to pad or wrap.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from ssvid.data.usability import plainly_fits, tick_count
from ssvid.data.video_record import VideoRecord
from ssvid.errors import require


@dataclass(frozen=True)
class Clips:
    """What a task asks of one video: the frames of each clip and what the right answer is.

    indices: int (V,T) frame indices of the file, in the order in which the backbone sees them.
    target: whatever array the task's loss needs for this video; batched along a new first axis.
    """

    indices: np.ndarray
    target: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))


def clock(video: VideoRecord, fps: float | None = None) -> np.ndarray:
    """Frame indices (G,) of the video on an even clock.

    fps None counts the video's own frames, which is only even in time where the file's frame rate is constant; a file with a
    variable rate is put on its mean rate. A number gives the frame on screen every 1/fps seconds.
    """
    info = video.info
    if fps is None and not info.variable:
        return np.arange(info.frames)
    rate = fps if fps is not None else info.fps
    # the tolerance keeps a tick from being rounded to just before its frame
    ticks = np.arange(0.0, info.duration - 0.5 / rate, 1.0 / rate) + 1e-6
    return np.clip(np.searchsorted(info.times, ticks, side="right") - 1, 0, info.frames - 1)


def window_starts(video: VideoRecord, ticks: np.ndarray, window_length: int, min_motion: float = 0.0) -> np.ndarray:
    """Positions s on the clock such that the `window_length` ticks from s lie in one shot and move enough.

    min_motion is the least mean of the index's motion (mean absolute grey difference, 0..255) inside the window; no
    temporal task can be solved on a static window or across a cut.
    """
    if len(ticks) < window_length:
        return np.zeros(0, int)
    starts = np.arange(len(ticks) - window_length + 1)
    first, last = ticks[starts], ticks[starts + window_length - 1]
    is_cut = np.zeros(video.info.frames + 1, int)
    is_cut[list(video.shots.cuts)] = 1
    cuts_before = np.cumsum(is_cut)
    whole = cuts_before[last] == cuts_before[first]
    if min_motion > 0:
        whole &= window_motion(video, ticks, window_length, starts) >= min_motion
    result: np.ndarray = starts[whole]
    return result


def window_motion(video: VideoRecord, ticks: np.ndarray, window_length: int, starts: np.ndarray) -> np.ndarray:
    """Mean motion a frame (mean absolute grey difference, 0..255) in windows of `window_length` ticks from each of `starts` (N,)."""
    first, last = ticks[starts], ticks[starts + window_length - 1]
    moved = np.concatenate([[0.0], np.cumsum(video.shots.motion, dtype=np.float64)])
    result: np.ndarray = (moved[last + 1] - moved[first + 1]) / np.maximum(last - first, 1)
    return result


def even_views(frames: int, clips: int, length: int, stride: int = 1) -> np.ndarray:
    """Test views: `clips` windows (clips, length) of frame indices, evenly spread over a video of `frames` frames.

    A video shorter than length x stride is never dropped: the stride shrinks to what fits, and below one frame a step the indices
    repeat evenly over the whole video, the same for every class.
    """
    reach = min((length - 1) * stride, frames - 1)
    offsets = np.linspace(0, reach, length).round().astype(int)
    starts = np.linspace(0, frames - 1 - reach, clips) if clips > 1 else np.array([(frames - 1 - reach) / 2])
    result: np.ndarray = starts.round().astype(int)[:, None] + offsets
    return result


def epoch_order(videos: int, seed: int, position: np.ndarray) -> np.ndarray:
    """Which video stands at each global sample position: every epoch is its own permutation of (seed, epoch)."""
    order = np.empty(len(position), int)
    for epoch in np.unique(position // videos):
        here = position // videos == epoch
        order[here] = _permutation(videos, seed, int(epoch))[position[here] % videos]
    return order


@lru_cache(2)  # a batch may lie in two epochs
def _permutation(videos: int, seed: int, epoch: int) -> np.ndarray:
    """The order of one epoch, int (videos,); kept, since drawing it takes as long as there are videos and every step asks for it."""
    permutation = np.random.default_rng([seed, epoch]).permutation(videos)
    return permutation.astype(np.uint32 if videos < 1 << 32 else np.int64)


@dataclass(frozen=True)
class Window:
    """Consecutive ticks of one shot that a task looks at: `frames` of them, `stride` ticks apart.

    fps: rate of the clock in frames a second; None counts the video's own frames. min_motion: least mean motion of a window (mean absolute
    grey difference, 0..255), since nothing can be asked of a window that stands still. by_motion: in training, windows are drawn in
    proportion to their motion.
    """

    frames: int
    stride: int = 1
    fps: float | None = None
    min_motion: float = 0.0
    by_motion: bool = False

    def __post_init__(self) -> None:
        require(1, frames=self.frames, stride=self.stride)
        require(0, above=True, fps=self.fps)
        require(0, min_motion=self.min_motion)

    @property
    def length(self) -> int:
        """Ticks of the clock from the first frame to the last, both counted."""
        return (self.frames - 1) * self.stride + 1

    def why_unusable(self, video: VideoRecord) -> str | None:
        """Reason why a video has no such window, or None when it has one."""
        if self.fps is not None and video.info.fps < 0.95 * self.fps:
            return f"its rate is below {self.fps:g} fps"
        if tick_count(video.info, self.fps) < self.length:
            return f"shorter than {self.length} frames"
        if plainly_fits(video, self.length, self.fps, self.min_motion):
            return None
        ticks = clock(video, self.fps)
        if not len(window_starts(video, ticks, self.length)):
            return f"no shot of {self.length} frames"
        if not len(window_starts(video, ticks, self.length, self.min_motion)):
            return "no motion"
        return None

    def draw(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> np.ndarray:
        """Frame indices (frames,) of a random window; of the middle one of all possible when not training."""
        ticks = clock(video, self.fps)
        starts = window_starts(video, ticks, self.length, self.min_motion)
        if not training:
            start = starts[len(starts) // 2]
        elif self.by_motion:
            weights = window_motion(video, ticks, self.length, starts) + 1e-9  # all alike where nothing moves
            start = rng.choice(starts, p=weights / weights.sum())
        else:
            start = rng.choice(starts)
        indices: np.ndarray = ticks[start : start + self.length : self.stride]
        return indices


@dataclass(frozen=True)
class ClipView:
    """How an exported backbone should be shown a clip: `frames` of them, `stride` ticks of the clock apart, size x size px.

    fps: rate of the clock in frames a second; None counts the video's own frames.
    """

    frames: int
    stride: int
    size: int
    fps: float | None = None

    def __post_init__(self) -> None:
        require(1, frames=self.frames, stride=self.stride, size=self.size)
        require(0, above=True, fps=self.fps)
