"""The frames of a video, or of a folder of pictures, in order, one at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from ssvid.errors import DataError, VideoError
from ssvid.video.decode import Scaler, decode_in_order, open_video
from ssvid.video.location import as_path
from ssvid.video.reader import Video

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm")
FOLDER_FPS = 24.0  # frames a second of a folder, which does not say; that of DAVIS


class FrameSource(Protocol):
    """Frames of one size.

    path: where they are, a path or an address. name: for files about them. size: (H,W). times: seconds of every frame. names: of every
    frame, for files about it.
    """

    path: str
    name: str
    size: tuple[int, int]
    times: np.ndarray
    names: list[str]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Every frame, uint8 (H,W,3). Raises DataError for one that cannot be read, and names it."""
        ...


class VideoFrames:
    """The frames of a video file, here or behind an address."""

    def __init__(self, path: str) -> None:
        self.path, self.name = path, Path(path).stem
        self.info = Video(path).info
        self.size = self.info.height, self.info.width
        self.times = self.info.times
        self.names = [f"{number:05d}" for number in range(self.info.frames)]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Every frame, decoded in order, so that they are right on any file."""
        scaler, done = Scaler(*self.size, self.info.orientation), 0
        container, stream = open_video(self.path)
        with container:
            try:
                for done, frame in enumerate(decode_in_order(container, stream), start=1):  # noqa: B007
                    yield scaler(frame)
            except av.error.FFmpegError as error:
                raise VideoError(
                    self.path, f"frame {done} cannot be decoded (FFmpeg: {error.strerror}); re-encode the file"
                ) from None


class FolderFrames:
    """The pictures in a folder, in the order of the numbers in their names."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = str(path), path.resolve().name
        self.files = sorted((file for file in path.iterdir() if file.suffix.lower() in PICTURES), key=_natural)
        if not self.files:
            raise DataError(
                f"{path} holds no pictures; name a video, or a folder with frames as {', '.join(PICTURES[:3])}"
            )
        first = _read(self.files[0])
        self.size = first.shape[0], first.shape[1]
        self.times = np.arange(len(self.files)) / FOLDER_FPS
        self.names = [file.stem for file in self.files]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Every picture."""
        for file in self.files:
            frame = _read(file)
            if frame.shape[:2] != self.size:
                raise DataError(
                    f"{file} is {frame.shape[1]}x{frame.shape[0]} px, the first frame {self.size[1]}x{self.size[0]}; all must have one size"
                )
            yield frame


def open_frames(path: str | os.PathLike[str]) -> FrameSource:
    """The frames of a video file, which may be behind an address, or of a folder. Raises DataError where there are none."""
    name = as_path(path)
    return FolderFrames(Path(name)) if os.path.isdir(name) else VideoFrames(name)


def _read(file: Path) -> np.ndarray:
    try:
        with Image.open(file) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise DataError(f"{file} cannot be read as a picture ({error}); put a good frame in its place") from error


def _natural(file: Path) -> list[tuple[int, str]]:
    """So that 9 comes before 10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", file.name)]
