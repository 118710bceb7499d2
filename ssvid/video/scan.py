"""The one pass over a video that measures all the toolkit needs to know about it and verifies random access.

A file is decoded once from first to last frame, small, in a child process with limits. A second step asks decord for
frames at random and compares them with that pass: it decides whether random access may be used for the file at all.

Damage: frames before the first decoding error count, those after it do not. A file of which less than nine tenths
decode, by the count its container announces, is refused: a clip cut short may lack what its label names. From nine tenths
on it is accepted, with a warning in the log. Where a container announces no count (Matroska, WebM), its duration stands
in when decoding breaks; when its end is merely missing, the frames that are there are the video. A count that is wrong in
a file of which nothing is missing is no damage.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

import av
import numpy as np

from ssvid.errors import VideoError
from ssvid.video.decode import Scaler, check_file, decode_in_order, is_whole, open_video
from ssvid.video.guard import Guard, heartbeat
from ssvid.video.identity import identify
from ssvid.video.info import VideoInfo, short_side
from ssvid.video.location import local_file
from ssvid.video.orientation import Orientation
from ssvid.video.seek import InOrder, PacketTable, fingerprint, seeks_right
from ssvid.video.shots import ShotDetector, Shots
from ssvid.video.times import last_stays, shown_as_decoded, timing

LIMIT = 600.0
STALL = 30.0
SMALL = 64
LONG_SIDE = 4 * SMALL  # a banner of 16384x16 pixels stays small too
BORDER_EVERY = 10
ENOUGH = 0.9
SAME_ASPECT = 0.02

logger = logging.getLogger(__name__)


@dataclass
class _Pass:
    """What the sequential pass saw; seconds and pixels as shown unless said otherwise."""

    shots: Shots
    in_order: InOrder
    stays: float  # time of the last frame on screen, 0 where the file does not say
    tick: float
    rate: float  # frames a second by the container, 0 where it does not say
    height: int
    width: int
    orientation: Orientation
    codec: str
    container: str
    audio: bool
    remark: str  # what a user should know, empty where all is well


def scan(path: str | os.PathLike[str], limit: float = LIMIT, *, guard: Guard | None = None) -> tuple[VideoInfo, Shots]:
    """Decode a video once and verify it.

    Args:
        path: the file.
        limit: seconds the decoding may take. A decoder that gives no frame for 30 s is stopped earlier.
        guard: the child process to use, for a caller that scans many files; None starts one.

    Raises:
        VideoError: the file is missing, empty, no video, damaged, encrypted, of absurd size, or its decoder hangs or crashes.
    """
    name = os.fspath(path)
    with contextlib.ExitStack() as stack:
        path = check_file(stack.enter_context(local_file(name)))
        identity = identify(name)
        guard = guard or stack.enter_context(Guard())
        seen: _Pass = guard.run(_decode, path, limit=limit, stall=STALL)
        if seen.remark:
            logger.warning("%s: %s", name, seen.remark)
        shown = timing(seen.in_order.stamps, seen.tick, seen.rate, seen.stays)
        seek = seeks_right(guard, path, seen.in_order, shown.times, shown.fps, seen.container, seen.codec)
    info = VideoInfo(
        path=name,
        frames=len(shown.times),
        fps=shown.fps,
        duration=shown.duration,
        width=seen.width,
        height=seen.height,
        codec=seen.codec,
        container=seen.container,
        rotation=seen.orientation.rotation,
        mirror=seen.orientation.mirror,
        audio=seen.audio,
        seek=seek,
        variable=shown.variable,
        times=shown.times,
        identity=identity,
    )
    return info, seen.shots


class _Watch:
    """Takes the decoded frames one by one and keeps a few numbers of each."""

    def __init__(self) -> None:
        self.pts: list[int | None] = []
        self.dts: list[int | None] = []
        self.prints: list[np.ndarray] = []
        self.sums: list[int] = []
        self.sizes: dict[tuple[int, int], None] = {}  # in the order in which they came
        self.corrupt = False
        self.orientation = Orientation()  # that of the first frame, to which all are turned
        self.last: av.VideoFrame | None = None
        self._detector = ShotDetector()
        self._scaler: Scaler | None = None
        self._grey: Scaler | None = None

    def add(self, frame: av.VideoFrame) -> None:
        """Take the next frame."""
        if self._scaler is None or self._grey is None:
            self.orientation = Orientation.of(frame)
            size = self.orientation.size(frame)
            self._scaler = Scaler(*_small_size(*size), self.orientation)
            self._grey = Scaler(*size, self.orientation, "gray")
        small = self._scaler(frame)
        self._detector.add(small)
        self.prints.append(fingerprint(small))
        self.sums.append(zlib.crc32(small.tobytes()))
        if len(self.pts) % BORDER_EVERY == 0:
            self._detector.add_borders(self._grey(frame))
        self.sizes[self.orientation.size(frame)] = None
        self.pts.append(frame.pts)
        self.dts.append(frame.dts)
        self.corrupt = self.corrupt or frame.is_corrupt
        self.last = frame

    @property
    def shots(self) -> Shots:
        """What the frames amount to; black bars only where they stand at one place in all."""
        shots = self._detector.result()
        return shots if len(self.sizes) == 1 else replace(shots, bars=(0, 0, 0, 0))

    @property
    def small(self) -> tuple[int, int]:
        """(height, width) of the small frames."""
        return self._scaler.size if self._scaler else (0, 0)


def _decode(path: str) -> _Pass:
    """The sequential pass; runs in the child."""
    began = time.monotonic()
    watch, packets, damage = _Watch(), PacketTable(), ""
    container, stream = open_video(path)
    with container:
        try:
            for frame in decode_in_order(container, stream, packets.add):
                watch.add(frame)
                heartbeat()
        except av.error.FFmpegError as error:
            damage = f"is damaged after {len(watch.pts)} frames (FFmpeg: {error.strerror})"
        if watch.last is None:
            raise VideoError(path, damage or "holds no frame that decodes; it is damaged, or only its header is there")
        remark = _check_count(path, container, stream, packets, len(watch.pts), damage)
        stamps = watch.dts if shown_as_decoded(container, stream) else watch.pts
        height, width = _chosen_size(watch.sizes)
        sound = not (damage or watch.corrupt or watch.orientation.mirror or len(watch.sizes) > 1)
        sums, prints = np.array(watch.sums, np.uint32), np.stack(watch.prints)
        return _Pass(
            shots=watch.shots,
            in_order=InOrder(packets, stamps, prints, sums, watch.small, sound, time.monotonic() - began),
            stays=last_stays(watch.last, container, stream, stamps[-1]),
            tick=float(stream.time_base or 0),
            rate=float(stream.average_rate or 0),
            height=height,
            width=width,
            orientation=watch.orientation,
            codec=stream.codec_context.codec.canonical_name,
            container=container.format.name,
            audio=bool(container.streams.audio),
            remark=remark,
        )


def _chosen_size(sizes: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """(height, width) in which a file is shown whose picture changes size: the largest one that has the aspect of the first.

    sizes: (height, width) in the order in which they came.
    """
    sizes = list(sizes)
    first = sizes[0]
    alike = [size for size in sizes if abs(size[0] * first[1] / (size[1] * first[0]) - 1) < SAME_ASPECT]
    return max(alike, key=lambda size: size[0] * size[1])


def _small_size(height: int, width: int) -> tuple[int, int]:
    height, width = short_side(height, width, SMALL)
    return min(height, LONG_SIDE), min(width, LONG_SIDE)


def _check_count(
    path: str,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    packets: PacketTable,
    good: int,
    damage: str,
) -> str:
    """What is to be said about the number of frames, besides the damage; raises VideoError where too many are lost."""
    rate = float(stream.average_rate or 0)
    # frames that an edit list hides were read too, and an AVI counts the slots it leaves empty
    read = good if damage else max(len(packets.stamps), packets.reached * rate)
    announced = stream.frames
    if damage and not announced:
        # rougher, for sound may outlast the picture: good enough where something is known to be broken
        announced = round((container.duration or 0) / av.time_base * rate)
    if read >= ENOUGH * announced:
        return damage
    if not damage and is_whole(path, container.format.name, stream, len(packets.stamps)):
        return f"states {announced} frames and holds {good}, nothing of it is missing"
    raise VideoError(
        path,
        f"{damage or 'is truncated'}: only {good} of {announced} frames decode; fetch it again, or keep what is left "
        "with `ffmpeg -i IN -c:v libx264 OUT.mp4`",
    )
