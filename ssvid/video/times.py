"""When frames are shown: one clock for picture and sound, and times for frames whose stamps are bad.

What a container says is kept. Only a stamp that cannot be true (missing, repeated, running back) is replaced, from its neighbours; a rate
is counted only where nothing else is known.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Stream

MICRO = 1_000_000
JUMP = 10 * MICRO  # a step of the stamps from which it counts as a new recording rather than as a gap; FFmpeg's value
BACK = MICRO // 10  # so much may stamps run back; FFmpeg's value
DEFAULT_RATE = 25.0  # frames a second where a file says nothing at all
KNOWS_LAST = ("mov", "gif", "matroska")  # containers that say how long a frame stays on screen


def demux(container: InputContainer, *streams: Stream) -> Iterator[av.Packet[Any]]:
    """Packets of some streams, stamped on the clock that all streams of the file share.

    Recordings joined byte by byte (MPEG-TS, MPEG-PS, chained Ogg) bring the stamps of each part: they run back, or jump forward by hours.
    They are rebased where they jump, as FFmpeg does it, with one offset for all streams, so that the sound stays beside its picture: who
    reads the sound of such a file with this function and who reads its picture find the same times.
    """
    if not av.format.Flags(container.format.flags) & av.format.Flags.ts_discont:
        yield from _packets(container, *streams)
        return
    clock, wanted = _Clock(), {stream.index for stream in streams}
    timed = [other for other in container.streams if other.type in ("video", "audio")]
    rest = [other for other in streams if other.type not in ("video", "audio")]
    for packet in _packets(container, *timed, *rest):
        offset = clock.offset_of(packet)
        if packet.stream.index not in wanted:
            continue
        if offset and packet.time_base:
            ticks = round(offset / MICRO / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
        yield packet


def _packets(container: InputContainer, *streams: Stream) -> Iterator[av.Packet[Any]]:
    """Packets of some streams, those at the end that flush their decoders included."""
    try:
        yield from container.demux(*streams)
    except (
        IndexError
    ):  # PyAV also flushes streams that began on the way, and does not find them; those asked for come before them
        return


class _Clock:
    """The offset of a file that is read packet by packet, after `ts_discontinuity_process` of FFmpeg's command line."""

    def __init__(self) -> None:
        self._offset = 0  # microseconds
        self._latest: int | None = None
        self._streams: dict[int, tuple[int, int]] = {}  # stream -> (time of its last packet, when the next one is due)

    def offset_of(self, packet: av.Packet[Any]) -> int:
        """Microseconds to add to the stamps of a packet, and of those behind it until the next jump."""
        sparse = packet.stream.type not in ("video", "audio")  # silence between subtitles is no jump
        if packet.dts is None or packet.time_base is None or sparse:
            return self._offset
        now = round(packet.dts * packet.time_base * MICRO) + self._offset
        last, due = self._streams.get(packet.stream.index, (None, self._latest))
        step = 0 if due is None else now - due
        if abs(step) > JUMP or (last is not None and now + BACK < last):
            self._offset -= step
            now -= step
        self._latest = now
        self._streams[packet.stream.index] = now, now + self._lasts(packet)
        return self._offset

    def _lasts(self, packet: av.Packet[Any]) -> int:
        if packet.duration and packet.time_base:
            return round(packet.duration * packet.time_base * MICRO)
        rate = getattr(packet.stream, "average_rate", None)
        return round(MICRO / rate) if rate else 0


def shown_as_decoded(container: InputContainer, stream: av.VideoStream) -> bool:
    """Whether frames are shown at the stamps with which they left the decoder (`frame.dts`), not at their own (`frame.pts`).

    AVI knows no order of presentation: where B-frames reorder, FFmpeg does so.
    """
    return container.format.name == "avi" and bool(stream.codec_context.has_b_frames)


def last_stays(frame: av.VideoFrame, container: InputContainer, stream: av.VideoStream, start: int | None) -> float:
    """Seconds that the last frame stays on screen, 0 where the container does not say.

    frame: the last one that decoded. start: ticks of it.
    """
    if not stream.time_base or not any(name in container.format.name for name in KNOWS_LAST):
        return 0.0
    if "matroska" in container.format.name:
        ends = _clock_time(stream.metadata.get("DURATION", ""))
        stays = ends - float(start * stream.time_base) if ends and start is not None else 0.0
        # writers add the usual duration where none is known
        return 0.0 if stream.average_rate and abs(stays * stream.average_rate - 1) < 0.1 else stays
    return float((frame.duration or 0) * stream.time_base)


def _clock_time(text: str) -> float:
    """Seconds of 00:01:02.345, 0 for anything else."""
    parts = text.split(":")
    try:
        return sum(float(part) * 60**power for power, part in enumerate(reversed(parts))) if len(parts) == 3 else 0.0
    except ValueError:
        return 0.0


@dataclass(frozen=True, eq=False)
class Timing:
    """When the frames of a video are shown.

    Attributes:
        times: float64 (frames,), seconds, strictly increasing from 0.
        fps: frames a second, the mean over the file.
        duration: seconds, the last frame's time on screen included.
        variable: whether the distances vary.
    """

    times: np.ndarray
    fps: float
    duration: float
    variable: bool


def timing(stamps: Sequence[int | None], tick: float, rate: float, stays: float) -> Timing:
    """The times of all frames.

    Args:
        stamps: ticks of every frame, in order of presentation; None: unknown.
        tick: seconds.
        rate: frames a second by the container, 0 where it does not say.
        stays: seconds of the last frame on screen, 0 where the container does not say.
    """
    times = _seconds(stamps, tick, rate)
    gaps = np.diff(times)
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    # a container that rounds to its tick moves a frame by one
    variable = bool(len(gaps)) and float(np.abs(gaps - usual).max()) > max(usual / 10, 1.5 * tick)
    fps = _fps(times, rate)
    last = float(gaps[-1]) if variable else 1 / fps
    if stays > max(last / 10, 1.5 * tick) and (variable or abs(stays - last) > max(last / 10, 1.5 * tick)):
        last = stays
    return Timing(times, fps, float(times[-1]) + last, variable)


def _seconds(stamps: Sequence[int | None], tick: float, rate: float) -> np.ndarray:
    good = rising([stamp for stamp in stamps if stamp is not None])
    known = np.flatnonzero([stamp is not None for stamp in stamps])[good]
    frames = np.arange(len(stamps))
    if len(known) < 2 or not tick:
        return frames / (rate or DEFAULT_RATE)
    seconds = np.array([float(stamps[place] or 0) for place in known]) * tick
    steps = np.diff(seconds) / np.diff(known)
    usual = float(np.median(steps))
    times = np.interp(frames, known, seconds)
    before, after = frames < known[0], frames > known[-1]
    times[before] -= (known[0] - frames[before]) * usual
    times[after] += (frames[after] - known[-1]) * usual
    result: np.ndarray = times - times[0]
    return result


def rising(values: Sequence[int]) -> list[int]:
    """Places of a longest strictly rising subsequence: the stamps that can all be true together."""
    tails: list[int] = []  # smallest value that ends a rising sequence of each length
    ends: list[int] = []  # and its place
    before: list[int] = []
    for place, value in enumerate(values):
        length = bisect_left(tails, value)
        if length == len(tails):
            tails.append(value)
            ends.append(place)
        elif value < tails[length]:  # of equal ones the first is kept
            tails[length], ends[length] = value, place
        before.append(ends[length - 1] if length else -1)
    places = []
    place = ends[-1] if ends else -1
    while place >= 0:
        places.append(place)
        place = before[place]
    return places[::-1]


def _fps(times: np.ndarray, rate: float) -> float:
    """The mean rate; the container's where the two agree, which is free of rounding."""
    if len(times) < 2:
        return rate or DEFAULT_RATE
    mean = (len(times) - 1) / float(times[-1])
    return rate if rate and abs(mean / rate - 1) < 0.01 else mean
