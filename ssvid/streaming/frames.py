"""The frames of a stream as a network was shown its clips: the same rate, the same size, the middle square."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ssvid.video.live import LiveFrame, frames_of_camera, frames_of_file, is_camera
from ssvid.video.reader import Video

SLACK = 1e-6  # seconds by which a frame may seem early, from rounding


class Ticks:
    """Which frames are taken: one in `stride` of those of a clock of `fps`, or of the frames as they come where fps is None."""

    def __init__(self, stride: int, fps: float | None) -> None:
        self.stride, self.fps = stride, fps
        self.come, self.due = 0, 0.0

    def __call__(self, time: float) -> bool:
        """Whether the next frame, of this time in seconds, is one."""
        if self.fps is None:
            self.come += 1
            return (self.come - 1) % self.stride == 0
        if time < self.due - SLACK:
            return False
        step = self.stride / self.fps
        self.due += step * max(
            1, int((time - self.due) / step + 1)
        )  # a slow camera leaves ticks out and does not run after them
        return True


def stream_frames(source: str | os.PathLike[str], size: int, stride: int, fps: float | None) -> Iterator[LiveFrame]:
    """The frames of a file or camera that the clock asks for, uint8 (size,size,3), scaled and cut as those of clips are.

    A camera's black bars are not looked for, nor those of a file. Raises DataError for what cannot be opened or read.
    """

    def crop(height: int, width: int) -> tuple[tuple[int, int], tuple[slice, slice]]:
        scale = size / min(height, width)
        scaled = tuple(max(size, 2 * round(length * scale / 2)) for length in (height, width))
        top, left = (
            min(round((length * scale - size) / 2), most - size)
            for length, most in zip((height, width), scaled, strict=True)
        )
        return (scaled[0], scaled[1]), (slice(top, top + size), slice(left, left + size))

    if is_camera(source):
        return frames_of_camera(os.fspath(source), crop, Ticks(stride, fps))
    info = Video(source).info
    if fps is None and info.variable:
        fps = info.fps  # as clips of such a file have been taken
    return frames_of_file(info, crop, Ticks(stride, fps))
