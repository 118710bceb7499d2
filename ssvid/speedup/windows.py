"""Windows of a video as it would look played at several rates, all from one decode, in bounded memory.

Played at rate r, a video is sampled every r/clock seconds of its own time. Every shot has its own ticks, so that no window
crosses a cut, and a tick shows the frame that is on screen: a variable frame rate makes no difference.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from ssvid.data.augment import Augment
from ssvid.progress import Progress
from ssvid.video.info import VideoInfo, short_side
from ssvid.video.shots import Shots
from ssvid.video.transcode import upright_frames

Frame = TypeVar("Frame")
SLACK = 1e-6  # seconds; a tick that rounding puts just before a frame's time means that frame


@dataclass(frozen=True)
class RateWindow(Generic[Frame]):
    """T frames of one shot as one rate shows them. centre: seconds of the source; numbers: (T,) of the source's frames."""

    rate: int
    shot: int
    centre: float
    numbers: tuple[int, ...]
    frames: tuple[Frame, ...]


class WindowCutter(Generic[Frame]):
    """Cuts a stream of frames into windows.

    times, durations: (N,) seconds of every frame to come. cuts: first frames of new shots. rates: playback rates. clock: ticks a second
    at rate 1. length: T ticks a window. hop: ticks from one window to the next; the last one of a shot ends where the shot ends.
    Holds at most T frames a rate, whatever the length of the video.
    """

    def __init__(
        self,
        times: np.ndarray,
        durations: np.ndarray,
        cuts: Sequence[int],
        rates: Sequence[float],
        clock: float,
        length: int,
        hop: int,
    ) -> None:
        self.times, self.ends = times, times + durations
        self.starts, self.shot = (0, *cuts), -1
        self.steps = [rate / clock for rate in rates]
        self.length, self.hop = length, hop
        self.recent: list[deque[tuple[int, float, Frame]]] = [deque(maxlen=length) for _ in rates]
        self.ticks = [0] * len(rates)  # of the shot, so far
        self.last = [0] * len(rates)  # tick at which a window was last cut

    def cut(self, frames: Iterable[Frame]) -> Iterator[RateWindow[Frame]]:
        """The windows in the order in which their last frames come."""
        number = -1
        for number, frame in enumerate(frames):
            if self.shot + 1 < len(self.starts) and number == self.starts[self.shot + 1]:
                yield from self._close()
                self.shot += 1
            yield from self._take(number, frame)
        yield from self._close()

    def _take(self, number: int, frame: Frame) -> Iterator[RateWindow[Frame]]:
        begin = self.times[self.starts[self.shot]]
        for rate, step in enumerate(self.steps):
            while (tick := begin + self.ticks[rate] * step) < self.ends[number] - SLACK:
                self.recent[rate].append((number, tick, frame))
                self.ticks[rate] += 1
                if self.ticks[rate] >= self.length and (self.ticks[rate] - self.length) % self.hop == 0:
                    yield self._window(rate)

    def _close(self) -> Iterator[RateWindow[Frame]]:
        for rate, recent in enumerate(self.recent):
            if len(recent) == self.length and self.last[rate] < self.ticks[rate]:
                yield self._window(rate)
            recent.clear()
            self.ticks[rate] = self.last[rate] = 0

    def _window(self, rate: int) -> RateWindow[Frame]:
        numbers, ticks, frames = zip(*self.recent[rate], strict=True)
        self.last[rate] = self.ticks[rate]
        return RateWindow(rate, self.shot, (ticks[0] + ticks[-1]) / 2, numbers, frames)


def durations_of(info: VideoInfo) -> np.ndarray:
    """Seconds (N,) that every frame is shown; they sum to the video's duration."""
    return np.diff(info.times, append=info.duration)


def small_frames(info: VideoInfo, shots: Shots, side: int) -> Iterator[np.ndarray]:
    """Every frame, uint8 (h,w,3): whole but for black bars, short side `side` px. Raises VideoError where the file has changed."""
    top, bottom, left, right = shots.bars
    inner = info.height - top - bottom, info.width - left - right
    scale = side / min(inner)
    height, width = (max(side, 2 * round(full * scale / 2)) for full in (info.height, info.width))
    h, w = short_side(*inner, side)
    y, x = min(round(top * scale), height - min(h, height)), min(round(left * scale), width - min(w, width))
    for frame in upright_frames(info.path, height, width, info.frames):
        yield np.ascontiguousarray(frame[y : y + h, x : x + w])


def small_tensors(info: VideoInfo, shots: Shots, side: int, progress: Progress) -> Iterator[Tensor]:
    """The same frames as colours, float (3,h,w) on 0..1."""
    for number, frame in enumerate(small_frames(info, shots, side), 1):
        yield torch.from_numpy(frame).permute(2, 0, 1).float() / 255
        progress("scoring", number, info.frames)


def evaluation_size(augment: Augment) -> int:
    """Short side in px at which a task's tests look: the largest it was trained on."""
    return augment.size if isinstance(augment.size, int) else augment.size[1]
