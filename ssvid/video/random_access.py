"""Frames at random by decord: quick, and right only for files on which it was proven (`ssvid.video.seek`)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np

from ssvid.errors import VideoError
from ssvid.video.info import VideoInfo
from ssvid.video.location import local_range


def at_random(path: str, indices: Sequence[int], height: int, width: int, info: VideoInfo) -> np.ndarray:
    """Frames of a fresh reader, uint8 (T,H,W,C).

    Args:
        path: the file, or TAR/NAME of one in a tar on a disk.
        indices: frames, sorted and unique, so that the reader only goes forward.
        height: pixels as shown.
        width: pixels as shown.
        info: what the scan found, which decord's own table of the file must agree with.

    Raises:
        VideoError: decord cannot decode a frame, or sees another file than the scan did.
    """
    out = np.empty((len(indices), height, width, 3), np.uint8)
    with DecordFile(path, height, width) as file:
        if len(file) != info.frames:
            raise VideoError(path, f"holds {len(file)} frames by decord, {info.frames} by its scan")
        if not agree(file.times([0, *indices]), info.times[[0, *indices]], info.fps):
            raise VideoError(path, "shows its frames at other times by decord than by its scan")
        for slot, frame in enumerate(file.frames(indices)):
            out[slot] = frame
    return out


def agree(theirs: np.ndarray, ours: np.ndarray, fps: float) -> bool:
    """Whether two rows of times in seconds, each from its first on, mean the same frames."""
    return bool(np.abs((theirs - theirs[0]) - (ours - ours[0])).max() < 0.5 / fps)


class DecordFile:
    """A file opened by decord, with one thread.

    Raises:
        VideoError: it cannot be opened, or a frame not decoded; names the frame.
    """

    def __init__(self, path: str, height: int, width: int) -> None:
        import decord  # loads in half a second, and reading in order never needs it

        decord.logging.set_level(decord.logging.QUIET)
        self._errors = (decord.DECORDError, RuntimeError, IndexError, ValueError, StopIteration)
        self._path, self._size = path, (height, width)
        try:
            self._reader = decord.VideoReader(_name(path), num_threads=1, height=height, width=width)
        except self._errors as error:
            raise VideoError(path, f"cannot be opened by decord ({_first_line(error)})") from None

    def __enter__(self) -> DecordFile:
        return self

    def __exit__(self, *_: object) -> None:
        del self._reader

    def __len__(self) -> int:
        return len(self._reader)

    def times(self, indices: Sequence[int]) -> np.ndarray:
        """float64 (T,), seconds of frames by decord's table."""
        try:
            found: np.ndarray = self._reader.get_frame_timestamp(list(indices))[:, 0]
        except self._errors as error:
            raise VideoError(self._path, f"has no times by decord ({_first_line(error)})") from None
        return found.astype(np.float64)

    def frames(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Frames one by one, uint8 (H,W,C).

        get_batch does the same, but fails at widths whose padded rows decord takes for more channels: 48 and 72 with FFmpeg built for
        AVX2, 48, 96 and 144 with AVX-512 (a row of 4 x width bytes). One by one the padding can be cut off; where there is none, this is a
        plain copy.
        """
        height, width = self._size
        for number in indices:
            try:
                rows = self._reader[number].asnumpy().reshape(height, -1)
            except self._errors as error:
                raise VideoError(
                    self._path, f"frame {number} cannot be decoded by decord ({_first_line(error)})"
                ) from None
            yield rows[:, : 3 * width].reshape(height, width, 3)


def _name(path: str) -> str:
    """What FFmpeg opens: a file, or the bytes of a member of a tar, which FFmpeg takes for a file by its protocol `subfile`."""
    place = local_range(path)
    if place is None:
        return os.path.abspath(path)
    return f"subfile,,start,{place.start},end,{place.start + place.length},,:{os.path.abspath(place.file)}"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
