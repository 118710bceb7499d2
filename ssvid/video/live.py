"""Frames in the order in which they come: of a file, or of a camera, which has no end and cannot be asked again."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import av
import numpy as np

from ssvid.errors import DataError, VideoError
from ssvid.video.decode import Scaler, decode_in_order, open_video
from ssvid.video.info import VideoInfo
from ssvid.video.orientation import Orientation

NETWORK = ("rtsp://", "rtsps://")
PATIENCE = 10.0  # seconds that a camera may take to answer

Crop = Callable[[int, int], tuple[tuple[int, int], tuple[slice, slice]]]


class LiveFrame(NamedTuple):
    """One frame. number: from 0. time: seconds since the first. picture: uint8 (H,W,3), upright."""

    number: int
    time: float
    picture: np.ndarray


def is_camera(source: str | os.PathLike[str]) -> bool:
    """Whether a word means a camera: a number, /dev/videoN or an rtsp:// address."""
    text = os.fspath(source)
    return text.isdecimal() or text.startswith(("/dev/video", *NETWORK))


def frames_of_file(info: VideoInfo, crop: Crop, wanted: Callable[[float], bool]) -> Iterator[LiveFrame]:
    """The frames of a video whose times are `wanted`, in order, with the times that an index has too.

    crop: of the height and width of the picture, those to which it is scaled, and what is cut out of that.
    Raises VideoError with the number of a frame that cannot be decoded.
    """
    size, square = crop(info.height, info.width)
    scaler, number = Scaler(*size, info.orientation), -1
    container, stream = open_video(info.path)
    with container:
        try:
            for number, frame in enumerate(decode_in_order(container, stream)):
                if number < info.frames and wanted(float(info.times[number])):
                    yield LiveFrame(number, float(info.times[number]), scaler(frame)[square])
        except av.error.FFmpegError as error:
            raise VideoError(
                info.path, f"frame {number + 1} cannot be decoded (FFmpeg: {error.strerror}); re-encode the file"
            ) from None


def frames_of_camera(source: str, crop: Crop, wanted: Callable[[float], bool]) -> Iterator[LiveFrame]:
    """The frames of a camera as they come, their times by the clock of this machine. Arguments as of `frames_of_file`.

    source: a number, /dev/videoN, or an rtsp:// address. Raises DataError for one that does not answer, and when it breaks off.
    """
    with _open_camera(source) as container:
        began, scaler, square = time.perf_counter(), None, None
        try:
            for number, frame in enumerate(container.decode(video=0)):
                now = time.perf_counter() - began
                if scaler is None or square is None:
                    size, square = crop(frame.height, frame.width)
                    scaler = Scaler(*size, Orientation())
                if wanted(now):
                    yield LiveFrame(number, now, scaler(frame)[square])
        except (av.error.FFmpegError, OSError) as error:
            raise DataError(f"camera {source} broke off ({_reason(error)})") from None


def _open_camera(source: str) -> av.container.InputContainer:
    if source.startswith(NETWORK):
        address, options = source, {"format": None, "options": {"rtsp_transport": "tcp"}}
        remedy = "see that the address is right and that the camera is on"
    else:
        address, options = _device(source)
        remedy = (
            "see that it is plugged in, that no other program uses it and that you may read it; or name a video file"
        )
    how: dict[str, Any] = {**options, "timeout": PATIENCE}
    try:
        container: av.container.InputContainer = av.open(address, **how)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise DataError(f"camera {source} cannot be opened ({_reason(error)}); {remedy}") from None
    if not container.streams.video:
        container.close()
        raise DataError(f"camera {source} gives no picture; {remedy}")
    return container


def _device(source: str) -> tuple[str, dict[str, Any]]:
    """Address and format of a camera of this machine, by FFmpeg's names."""
    if sys.platform == "darwin":
        return source, {"format": "avfoundation", "options": {"framerate": "30"}}
    return (f"/dev/video{source}" if source.isdecimal() else source), {"format": "v4l2"}


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
