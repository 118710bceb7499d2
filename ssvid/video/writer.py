"""Write frames to a video file, streaming and atomically."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np

from ssvid.errors import ConfigError, DataError
from ssvid.files import atomic
from ssvid.video.encoders import start_encoding

# Variable-rate times are rounded to this tick. It divides the common rates (24, 25, 30, 60 and their 1000/1001 kin)
# and is below the 65535 that MPEG-4 allows.
TICK = Fraction(1, 60000)
DEFAULT_CODEC = {".webm": "libvpx-vp9", ".gif": "gif"}
CONSTANT_RATE_ONLY = (".avi",)


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[np.ndarray] | np.ndarray,
    fps: float | Fraction = 30.0,
    times: Sequence[float] | np.ndarray | None = None,
    *,
    codec: str | None = None,
    crf: int = 18,
    gop: int | None = None,
    bframes: int | None = None,
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    options: Mapping[str, str] | None = None,
) -> None:
    """Write a video; the file appears under its name only when it is complete.

    Args:
        path: where to; the extension chooses the container (mp4, mov, mkv, webm, avi, gif).
        frames: uint8 (H,W,C) RGB frames, any iterable (consumed one by one), or an array (T,H,W,C). For formats that halve the colour
            planes (yuv420p) an odd side is made even by repeating its last row or column.
        fps: frames a second, constant. Ignored when `times` is given.
        times: seconds of every frame, strictly increasing, counted from the first: a variable frame rate. Not in AVI.
        codec: FFmpeg's name of the encoder, as libx265, libsvtav1, mpeg4. None: libx264, except VP9 in webm and gif in gif.
        crf: quality, lower is better (about 0..51). For mpeg4 it becomes the quantiser crf/6.
        gop, bframes: largest distance of key frames and most B-frames in a row, in frames. None: the encoder's.
        pix_fmt: FFmpeg's pixel format; gif always uses rgb8.
        rotation: degrees clockwise (0, 90, 180, 270) that a player shall turn the frames; metadata of mp4 and mov.
        options: further encoder options.

    Raises:
        ConfigError: an unknown codec or container, or one that cannot hold what was asked.
        DataError: no frames, frames that are not uint8 (H,W,3) of one size, a place that cannot be written to.
    """
    path = Path(path)
    if times is not None and path.suffix.lower() in CONSTANT_RATE_ONLY:
        raise ConfigError(f"{path}: {path.suffix} holds constant rates only; write to .mp4 or .mkv, or give fps")
    rate, ticks = (_rate(fps), None) if times is None else _variable_rate(times)
    checked = _checked(frames, path)
    first = next(checked)
    codec = codec or DEFAULT_CODEC.get(path.suffix.lower(), "libx264")
    with _named_errors(path, f"{codec} ({pix_fmt})"), atomic(path) as temporary, _open(str(temporary)) as container:
        stream = _add_stream(container, codec, rate, first, "rgb8" if codec == "gif" else pix_fmt)
        context = stream.codec_context
        context.time_base = 1 / rate if ticks is None else TICK
        context.options = {**_quality(codec, crf, bframes), **(options or {})}
        context.gop_size = context.gop_size if gop is None else gop
        context.max_b_frames = context.max_b_frames if bframes is None else bframes
        if rotation:
            _set_rotation(stream, rotation)
        _encode(container, stream, itertools.chain([first], checked), ticks)


@contextmanager
def _named_errors(path: Path, codec: str) -> Iterator[None]:
    """Turn errors of the system and of FFmpeg into ours, with the file and what to do."""
    try:
        yield
    except OSError as error:  # a full disk, a folder without permission; some of FFmpeg's errors are such too
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
    except av.error.FFmpegError as error:
        kind = path.suffix or "a file without extension"
        raise ConfigError(
            f"{path}: cannot write codec {codec} into {kind}: {error.strerror}; "
            "name another codec or extension, as libx264 in .mp4"
        ) from error


def _rate(fps: float | Fraction) -> Fraction:
    rate = Fraction(fps).limit_denominator(1001)
    if rate <= 0:
        raise ConfigError(f"fps must be above 0, not {fps}")
    return rate


def _variable_rate(times: Sequence[float] | np.ndarray) -> tuple[Fraction, list[tuple[int, int]]]:
    """Frames a second that the file announces, the mean, and what `_ticks` gives."""
    ticks = _ticks(times)
    end = sum(ticks[-1])
    return (len(ticks) / (end * TICK)).limit_denominator(1001), ticks


def _ticks(times: Sequence[float] | np.ndarray) -> list[tuple[int, int]]:
    """(pts, duration) of every frame in ticks; the last frame lasts as long as the one before it."""
    seconds = np.asarray(times, dtype=np.float64)
    if seconds.ndim != 1 or len(seconds) == 0 or not np.isfinite(seconds).all():
        raise ConfigError("times must be a list of finite seconds, one for every frame")
    pts = np.round((seconds - seconds[0]) / float(TICK)).astype(np.int64)
    gaps = np.diff(pts)
    if (gaps <= 0).any():
        raise ConfigError(f"times must be strictly increasing, by {float(TICK):.6f} s at least")
    last = gaps[-1] if len(gaps) else round(1 / (30 * TICK))
    return list(zip(pts.tolist(), [*gaps.tolist(), int(last)], strict=True))


def _checked(frames: Iterable[np.ndarray], path: Path) -> Iterator[np.ndarray]:
    """The frames, each of the right kind and size; at least one."""
    shape = None
    for number, frame in enumerate(frames):
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise DataError(f"frame {number} is {frame.dtype} {frame.shape}; frames must be uint8 (H, W, 3) RGB")
        shape = shape or frame.shape
        if frame.shape != shape:
            raise DataError(f"frame {number} is {frame.shape}, the frames before it {shape}; all must have one size")
        yield frame
    if shape is None:
        raise DataError(f"{path}: no frames to write")


def _open(path: str) -> av.container.OutputContainer:
    try:
        return av.open(path, "w")
    except ValueError as error:  # PyAV's word for an extension it does not know
        raise av.error.ArgumentError(22, "unknown kind of file") from error


def _add_stream(
    container: av.container.OutputContainer, codec: str, rate: Fraction, frame: np.ndarray, pix_fmt: str
) -> av.VideoStream:
    try:
        stream = cast(av.VideoStream, container.add_stream(codec, rate=rate))
        layout = av.VideoFormat(pix_fmt)
    except ValueError as error:  # PyAV's word for a codec it does not know or the container cannot hold
        unknown = isinstance(error, av.codec.codec.UnknownCodecError)
        raise av.error.ArgumentError(22, f"unknown codec {codec}" if unknown else str(error)) from error
    height, width = frame.shape[:2]
    context = stream.codec_context
    context.pix_fmt = pix_fmt
    context.height = height + -height % (4 // layout.chroma_height(4))
    context.width = width + -width % (4 // layout.chroma_width(4))
    if not layout.is_rgb:
        # swscale converts RGB with the BT.601 matrix; untagged, a player takes a large picture for BT.709
        context.colorspace, context.color_range = 6, 1
    return stream


def _set_rotation(stream: av.VideoStream, rotation: int) -> None:
    if rotation not in (90, 180, 270):
        raise ConfigError(f"rotation must be 0, 90, 180 or 270 degrees, not {rotation}")
    if not hasattr(stream, "set_display_rotation"):
        raise ConfigError("this version of PyAV cannot store a rotation; pip install -U av")
    stream.set_display_rotation(-rotation)


def _encode(
    container: av.container.OutputContainer,
    stream: av.VideoStream,
    pictures: Iterable[np.ndarray],
    ticks: list[tuple[int, int]] | None,
) -> None:
    start_encoding(container)
    number = 0
    for number, picture in enumerate(pictures, start=1):
        if ticks is not None and number > len(ticks):
            raise DataError(f"more frames than the {len(ticks)} times given")
        pts, duration = (number - 1, 1) if ticks is None else ticks[number - 1]
        container.mux(stream.encode(_frame(picture, stream.codec_context, pts, duration)))
    if ticks is not None and number < len(ticks):
        raise DataError(f"{len(ticks)} times given for {number} frames")
    container.mux(stream.encode(None))


def _quality(codec: str, crf: int, bframes: int | None) -> dict[str, str]:
    if codec == "gif":
        return {}
    if codec == "mpeg4":
        quantiser = str(min(max(round(crf / 6), 1), 31))
        return {"qmin": quantiser, "qmax": quantiser}
    if codec == "libx265":
        parameters = ["log-level=error"] + ([] if bframes is None else [f"bframes={bframes}"])
        return {"crf": str(crf), "x265-params": ":".join(parameters)}
    return {"crf": str(crf), "b": "0"} if codec.startswith("libvpx") else {"crf": str(crf)}


def _frame(picture: np.ndarray, context: av.VideoCodecContext, pts: int, duration: int) -> av.VideoFrame:
    height, width = picture.shape[:2]
    if (height, width) != (context.height, context.width):
        picture = np.pad(picture, ((0, context.height - height), (0, context.width - width), (0, 0)), mode="edge")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    frame = frame.reformat(format=context.pix_fmt)
    frame.pts, frame.time_base, frame.duration = pts, context.time_base, duration
    return frame
