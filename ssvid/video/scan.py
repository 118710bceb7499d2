"""The one pass over a video that finds out all the toolkit needs to know of it, and whether it can be trusted.

A file is decoded once from first to last frame, small, in a child process with limits. A second step asks decord for
frames at random and compares them with that pass: it decides whether random access may be used for the file at all.

Damage: frames before the first decoding error count, those after it do not. A file of which less than nine tenths
decode, by the count its container announces, is refused: a clip cut short has silently lost what its label names. From nine tenths
on it is accepted, with a warning in the log. Where a container announces no count (Matroska, WebM) and its end is
merely missing, the frames that are there are the video.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from ssvid.errors import VideoError
from ssvid.video.decode import Scaler, at_random, check_file, in_order, open_video, rotation_of
from ssvid.video.guard import Guard, heartbeat
from ssvid.video.info import VideoInfo, short_side
from ssvid.video.shots import ShotDetector, Shots

LIMIT = 600.0
STALL = 30.0
SMALL = 64
LONG_SIDE = 4 * SMALL  # a banner of 16384x16 pixels stays small too
BORDER_EVERY = 10
ENOUGH = 0.9
GRID = 16  # a frame is recognised by GRID x GRID of its small grey pixels

logger = logging.getLogger(__name__)


@dataclass
class _Pass:
    """What the sequential pass saw."""

    shots: Shots
    prints: np.ndarray  # uint8 (frames, GRID * GRID)
    stamps: list[int | None]
    last: float  # seconds the last frame stays, 0 where the file does not say
    tick: Fraction
    rate: float  # frames a second by the container, 0 where it does not say
    width: int
    height: int
    rotation: int
    codec: str
    container: str
    audio: bool
    damage: str
    seconds: float  # it took


def scan(path: str | os.PathLike[str], limit: float = LIMIT, *, guard: Guard | None = None) -> tuple[VideoInfo, Shots]:
    """Decode a video once and verify it.

    Args:
        path: the file.
        limit: seconds the decoding may take. A decoder that gives no frame for 30 s is stopped earlier.
        guard: the child process to use, for a caller that scans many files; None starts one.

    Raises:
        VideoError: the file is missing, empty, no video, damaged, encrypted, of absurd size, or its decoder hangs or crashes.
    """
    path = check_file(path)
    with contextlib.ExitStack() as stack:
        guard = guard or stack.enter_context(Guard())
        seen: _Pass = guard.run(_decode, path, limit=limit, stall=STALL)
        if seen.damage:
            logger.warning("%s: %s", path, seen.damage)
        seek = _seeks_right(guard, path, seen)
    times, variable = _times(seen)
    fps = _fps(times, seen.rate)
    info = VideoInfo(
        path=path,
        frames=len(times),
        fps=fps,
        duration=float(times[-1]) + _last(times, seen.last, fps),
        width=seen.width,
        height=seen.height,
        codec=seen.codec,
        container=seen.container,
        rotation=seen.rotation,
        audio=seen.audio,
        seek=seek,
        variable=variable,
        times=times,
    )
    return info, seen.shots


def _decode(path: str) -> _Pass:
    """The sequential pass; runs in the child."""
    began = time.monotonic()
    detector, stamps, prints, damage = ShotDetector(), [], [], ""
    container, stream = open_video(path)
    with container:
        frame, scaler, audio = None, None, bool(container.streams.audio)
        frames = in_order(container, stream)
        while True:
            try:
                frame_now = next(frames, None)
            except av.error.FFmpegError as error:
                damage = f"is damaged after {len(stamps)} frames (FFmpeg: {error.strerror})"
                break
            if frame_now is None:
                break
            frame = frame_now
            if scaler is None:
                rotation = rotation_of(frame)
                height, width = (frame.height, frame.width) if rotation % 180 == 0 else (frame.width, frame.height)
                scaler = Scaler(*_small(height, width), rotation)
            grey = detector.add(scaler(frame))
            prints.append(_print(grey))
            if len(stamps) % BORDER_EVERY == 0:
                detector.add_borders(np.rot90(frame.reformat(format="gray").to_ndarray(), -rotation // 90))
            stamps.append(frame.pts)
            heartbeat()
        if frame is None:
            raise VideoError(path, damage or "holds no frame that decodes; it is damaged, or only its header is there")
        _refuse_short(path, stream, len(stamps), damage)
        return _Pass(
            shots=detector.result(),
            prints=np.stack(prints),
            stamps=stamps,
            last=float((getattr(frame, "duration", 0) or 0) * stream.time_base),
            tick=Fraction(stream.time_base),
            rate=float(stream.average_rate or 0),
            width=width,
            height=height,
            rotation=rotation,
            codec=stream.codec_context.codec.canonical_name,
            container=container.format.name,
            audio=audio,
            damage=damage,
            seconds=time.monotonic() - began,
        )
