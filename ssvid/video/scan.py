"""The one pass over a video that measures all the toolkit needs to know about it and verifies random access.

A file is decoded once from first to last frame, small, in a child process with limits. A second step asks decord for
frames at random and compares them with that pass: it decides whether random access may be used for the file at all.

Damage: frames before the first decoding error count, those after it do not. A file of which less than nine tenths
decode, by the count its container announces, is refused: a clip cut short may lack what its label names. From nine tenths
on it is accepted, with a warning in the log. Where a container announces no count (Matroska, WebM), its duration stands
in when decoding breaks; when its end is merely missing, the frames that are there are the video.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import zlib
from dataclasses import dataclass

import av
import numpy as np

from ssvid.errors import VideoError
from ssvid.video.decode import (
    Demuxed,
    Scaler,
    at_random,
    check_file,
    decode_in_order,
    open_video,
    rotate,
    rotation_of,
    shown_size,
)
from ssvid.video.guard import Guard, heartbeat
from ssvid.video.info import VideoInfo, short_side
from ssvid.video.shots import ShotDetector, Shots, grey

LIMIT = 600.0
STALL = 30.0
SEEK_LIMIT = 30.0
DEFAULT_RATE = 25.0  # frames a second where a file says nothing at all
SMALL = 64
LONG_SIDE = 4 * SMALL  # a banner of 16384x16 pixels stays small too
BORDER_EVERY = 10
ENOUGH = 0.9
GRID = 16  # a frame is recognised by its checksum, or by its print: GRID x GRID of its small grey pixels
MARGIN = 0.3  # mean difference of two prints, in grey levels, from which they count as different
UNLIKE = 3.0  # mean difference of prints that no two decoders show on the same frame
SINGLES = 6
WINDOW = 16

logger = logging.getLogger(__name__)


@dataclass
class _Pass:
    """What the sequential pass saw; seconds and pixels as shown unless said otherwise."""

    shots: Shots
    prints: np.ndarray  # uint8 (frames, GRID * GRID)
    sums: np.ndarray  # uint32 (frames,), checksums of the small frames
    stamps: list[int | None]  # in ticks
    stays: float  # time of the last frame on screen, 0 where the file does not say
    tick: float
    rate: float  # frames a second by the container, 0 where it does not say
    reordered_avi: bool  # AVI with B-frames
    height: int
    width: int
    rotation: int
    codec: str
    container: str
    audio: bool
    damage: str
    corrupt: bool  # whether the decoder had to make up parts of frames
    seconds: float  # the pass took


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
        duration=float(times[-1]) + (seen.stays if variable and seen.stays else 1 / fps),
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
    stamps: list[int | None] = []
    detector, demuxed, damage = ShotDetector(), Demuxed(), ""
    prints, sums = [], []
    scaler, frame, corrupt = None, None, False
    container, stream = open_video(path)
    tick, rate = float(stream.time_base or 0), float(stream.average_rate or 0)
    with container:
        try:
            for frame in decode_in_order(container, stream, demuxed):
                scaler = scaler or _small_scaler(frame)
                small = scaler(frame)
                prints.append(_print(detector.add(small)))
                sums.append(zlib.crc32(small.tobytes()))
                if len(stamps) % BORDER_EVERY == 0:
                    detector.add_borders(rotate(frame.reformat(format="gray").to_ndarray(), scaler.rotation))
                stamps.append(frame.pts)
                corrupt = corrupt or frame.is_corrupt
                heartbeat()
        except av.error.FFmpegError as error:
            damage = f"is damaged after {len(stamps)} frames (FFmpeg: {error.strerror})"
        if frame is None or scaler is None:
            raise VideoError(path, damage or "holds no frame that decodes; it is damaged, or only its header is there")
        _refuse_short(path, container, stream, demuxed, len(stamps), damage)
        height, width = shown_size(frame)
        return _Pass(
            shots=detector.result(),
            prints=np.stack(prints),
            sums=np.array(sums, np.uint32),
            stamps=stamps,
            stays=(getattr(frame, "duration", None) or 0) * tick,
            tick=tick,
            rate=rate,
            reordered_avi=container.format.name == "avi" and bool(stream.codec_context.has_b_frames),
            height=height,
            width=width,
            rotation=scaler.rotation,
            codec=stream.codec_context.codec.canonical_name,
            container=container.format.name,
            audio=bool(container.streams.audio),
            damage=damage,
            corrupt=corrupt,
            seconds=time.monotonic() - began,
        )


def _small_scaler(frame: av.VideoFrame) -> Scaler:
    return Scaler(*_small_size(*shown_size(frame)), rotation_of(frame))


def _small_size(height: int, width: int) -> tuple[int, int]:
    height, width = short_side(height, width, SMALL)
    return min(height, LONG_SIDE), min(width, LONG_SIDE)


def _print(grey: np.ndarray) -> np.ndarray:
    rows, columns = (np.linspace(0, side - 1, GRID).round().astype(int) for side in grey.shape)
    result: np.ndarray = grey[np.ix_(rows, columns)].round().astype(np.uint8).ravel()
    return result


def _refuse_short(
    path: str,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    demuxed: Demuxed,
    good: int,
    damage: str,
) -> None:
    rate = float(stream.average_rate or 0)
    # frames that an edit list hides were read too, and an AVI counts the slots it leaves empty
    read = good if damage else max(demuxed.packets, demuxed.reached * rate)
    announced = stream.frames
    if damage and not announced:
        # rougher, for sound may outlast the picture: good enough where something is known to be broken
        announced = round((container.duration or 0) / av.time_base * rate)
    if read < ENOUGH * announced:
        damage = damage or "is truncated"
        raise VideoError(
            path,
            f"{damage}: only {good} of {announced} frames decode; fetch it again, or keep what is left with "
            "`ffmpeg -i IN -c:v libx264 OUT.mp4`",
        )


def _times(seen: _Pass) -> tuple[np.ndarray, bool]:
    """Seconds of every frame from 0, and whether their distances vary."""
    if not _stamps_in_order(seen):
        return np.arange(len(seen.stamps)) / (seen.rate or DEFAULT_RATE), False
    stamps = np.asarray(seen.stamps, np.float64)
    gaps = np.diff(stamps) * seen.tick
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    # a container that rounds to its tick moves a frame by one
    variable = bool(len(gaps)) and float(np.abs(gaps - usual).max()) > max(usual / 10, 1.5 * seen.tick)
    return (stamps - stamps[0]) * seen.tick, variable


def _stamps_in_order(seen: _Pass) -> bool:
    """Whether the stamps are those of presentation: AVI stamps packets as they are decoded, which B-frames reorder."""
    if seen.reordered_avi or None in seen.stamps:
        return False
    return bool((np.diff(np.asarray(seen.stamps, np.float64)) > 0).all())


def _fps(times: np.ndarray, rate: float) -> float:
    """The mean rate; the container's where the two agree, which is free of rounding."""
    if len(times) < 2:
        return rate or DEFAULT_RATE
    mean = (len(times) - 1) / float(times[-1])
    return rate if rate and abs(mean / rate - 1) < 0.01 else mean


def _seeks_right(guard: Guard, path: str, seen: _Pass) -> bool:
    """Whether decord counts and gives the frames of the sequential pass; a crash or a hang there is a no.

    It finds frames by the stamps of packets. Where those are not in order, a sample proves too little: one window in
    fifty was wrong on a file whose samples were right. Nothing is lost on such files: a 16-frame clip of UCF101 takes
    28 ms in order and 49 ms at random.
    """
    if not _stamps_in_order(seen):
        return False
    if seen.damage or seen.corrupt:  # what is made up for lost parts depends on where decoding began
        return False
    requests = _requests(seen)
    size = _small_size(seen.height, seen.width)
    try:
        answers = guard.run(_ask_decord, path, requests, size, limit=SEEK_LIMIT + 4 * seen.seconds)
    except VideoError as error:
        logger.info("%s: no random access, read in order instead: %s", path, error.reason)
        return False
    return all(
        count == len(seen.sums) and all(_same_frame(seen, *asked) for asked in zip(request, prints, sums, strict=True))
        for request, (prints, sums, count) in zip(requests, answers, strict=True)
    )


def _requests(seen: _Pass) -> list[list[int]]:
    """Sorted frames to ask for, each list with a fresh reader: single ones, a window, a spread, and the last.

    Single frames are chosen among those unlike their neighbours: real files repeat frames exactly, and those prove
    nothing.
    """
    count = len(seen.sums)
    rng = np.random.default_rng(count)
    change = np.abs(np.diff(seen.prints.astype(np.int16), axis=0)).mean(axis=1)
    change = np.where(seen.sums[1:] == seen.sums[:-1], 0, np.maximum(change, 1e-6))
    unlike = np.minimum(np.r_[np.inf, change], np.r_[change, np.inf])
    for least in (MARGIN, 1e-6, 0):
        among = np.flatnonzero(unlike >= least)
        if len(among) >= SINGLES:
            break
    singles = rng.choice(among, min(SINGLES, len(among)), replace=False)
    start = int(rng.integers(0, max(1, count - WINDOW)))
    spread = np.sort(rng.choice(count, min(WINDOW, count), replace=False))
    window = range(start, min(start + WINDOW, count))
    return [*([int(single)] for single in singles), list(window), spread.tolist(), [count - 1]]


def _ask_decord(
    path: str, requests: list[list[int]], size: tuple[int, int]
) -> list[tuple[list[np.ndarray], list[int], int]]:
    """Prints and checksums of the frames asked for, and decord's count of frames, by request; runs in the child."""
    answers = []
    for request in requests:
        frames, count = at_random(path, request, *size)
        answers.append(
            ([_print(grey(frame)) for frame in frames], [zlib.crc32(frame.tobytes()) for frame in frames], count)
        )
    return answers


def _same_frame(seen: _Pass, index: int, asked: np.ndarray, checksum: int) -> bool:
    """Whether decord's frame is frame `index` of the sequential pass; exact duplicates count as the same.

    PyAV and decord bring an FFmpeg each. Where their decoders agree to the bit, and those of nearly all codecs do, the
    checksum decides; else the nearest print.
    """
    if checksum in seen.sums:
        return bool(seen.sums[index] == checksum)
    distance = np.abs(seen.prints.astype(np.int16) - asked.astype(np.int16)).mean(axis=1)
    return bool(distance[index] <= min(float(distance.min()) + MARGIN / 2, UNLIKE))
