"""The sound of a file, decoded in a child process: what its streams are, and each as an endless row of samples.

Decoders of sound are native code too, and PyAV's channel layouts in a custom order (as QuickTime writes them) are freed twice, which ends
the process. So nobody but the child touches them, and there each such layout is kept for ever, which makes reading it safe.
"""

from __future__ import annotations

import ctypes
import functools
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import av
import numpy as np

from ssvid.errors import VideoError
from ssvid.video.decode import open_video
from ssvid.video.guard import Guard, heartbeat
from ssvid.video.times import demux

GAP = 0.010  # s by which sound may stray from its time stamps before it is put right: containers round theirs
BEHIND = 0.5  # s kept before the place asked for last, more than a window looks back
BLOCK = 4.0  # s that the child is asked for at once
STALL = 30.0  # s for which a decoder may give no sign of life
LIMIT = 3600.0  # s for a block: what lies before it is decoded too
DAMAGED = 1000  # packets after which a stream is given up: some demuxers fail endlessly
# the layout that a bare number of channels means to FFmpeg
USUAL = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SoundInfo:
    """A sound stream, as its first frame says.

    number: which of the file's sound streams, from 0. rate: samples a second. positions: of its channels, as FL, FR, LFE; those that a
    bare number of channels means where the file names none. bit_rate: bits a second, 0 where unknown.
    """

    number: int
    rate: int
    positions: tuple[str, ...]
    bit_rate: int


def sound_streams(path: str) -> list[SoundInfo]:
    """The sound streams that can be decoded; each of the others gets a warning. Raises VideoError for a file that cannot be opened."""
    with open_video(path)[0] as container:
        count = len(container.streams.audio)
    found: list[SoundInfo] = []
    with Guard() as guard:
        for number in range(count):
            try:
                found.append(guard.run(_describe, path, number, limit=LIMIT, stall=STALL))
            except VideoError as error:
                logger.warning("%s: sound stream %d is left out: it %s", path, number + 1, error.reason)
    return found


class GuardedAudio:
    """A sound stream, decoded in a child process: samples counted from the first frame of the video, silence where it has none.

    Where the decoder crashes or hangs, silence stands in from there on, with one warning.

    Args:
        path: the video.
        number: which of its sound streams.
        origin: seconds, in the container's time, of the first video frame.
        rate: samples a second to resample to.
        layout: channel layout to mix to.
    """

    def __init__(self, path: str, number: int, origin: float, rate: int, layout: str) -> None:
        self.rate, self.layout = rate, layout
        self._path, self._asked = path, (number, origin, rate, layout)
        self._size = round(BLOCK * rate)
        self._channels = av.AudioLayout(layout).nb_channels
        self._blocks: dict[int, np.ndarray] = {}
        self._guard: Guard | None = Guard()
        self._told, self._take = False, 0

    def rewind(self) -> None:
        """Begin anew: any place may be asked for next."""
        self._blocks, self._take = {}, self._take + 1

    def close(self) -> None:
        """End the child."""
        if self._guard is not None:
            self._guard.close()
        self._guard = None

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop), float32 (C,n). Places may be asked for again up to half a second back, not further."""
        first, last = start // self._size, (stop - 1) // self._size
        self._blocks = {number: block for number, block in self._blocks.items() if number >= first - 1}
        wanted = range(first, last + 1)
        for number in wanted:
            if number not in self._blocks:
                self._blocks[number] = self._fetch(number * self._size)
        together = np.concatenate([self._blocks[number] for number in wanted], 1)
        return together[:, start - first * self._size : stop - first * self._size]

    def _fetch(self, start: int) -> np.ndarray:
        samples = np.zeros((self._channels, self._size), np.float32)
        if self._guard is None:
            return samples
        damage = ""
        try:
            place = (self._take, start, start + self._size)
            samples, damage = self._guard.run(_read, self._path, *self._asked, *place, limit=LIMIT, stall=STALL)
        except VideoError as error:
            damage = error.reason
            self.close()
        if damage and not self._told:
            self._told = True
            logger.warning("%s: sound stream %d %s; silence stands in", self._path, self._asked[0] + 1, damage)
        return samples


class AudioReader:
    """A sound stream as an endless row of samples, decoded as they are asked for; arguments as those of `GuardedAudio`."""

    def __init__(self, path: str, number: int, origin: float, rate: int, layout: str) -> None:
        self._frames = _Frames(path, number)
        self._mixer = _Mixer(rate, layout)
        self._origin, self._rate = origin, rate
        self._channels = av.AudioLayout(layout).nb_channels
        self._pieces: deque[tuple[int, np.ndarray]] = deque()  # (first sample's place, samples (C,n)), in order
        self._coming = self._decoded()
        self._end = 0

    @property
    def damage(self) -> str:
        """What was wrong so far, in words; silence stands in for it."""
        return self._frames.damage

    def close(self) -> None:
        """Close the file."""
        self._frames.close()

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop), float32 (C,n). Places may be asked for again up to half a second back, not further."""
        while self._end < stop:
            piece = next(self._coming, None)
            if piece is None:
                break
            self._pieces.append(piece)
            self._end = piece[0] + piece[1].shape[1]
            self._forget(start - round(BEHIND * self._rate))
        self._forget(start - round(BEHIND * self._rate))
        samples = np.zeros((self._channels, stop - start), np.float32)
        for place, held in self._pieces:
            low, high = max(start, place), min(stop, place + held.shape[1])
            if low < high:
                samples[:, low - start : high - start] = held[:, low - place : high - place]
        return samples

    def _forget(self, before: int) -> None:
        while self._pieces and self._pieces[0][0] + self._pieces[0][1].shape[1] <= before:
            self._pieces.popleft()

    def _decoded(self) -> Iterator[tuple[int, np.ndarray]]:
        """(place, samples) in order; a place strays from its stamp by less than GAP, so that rounded stamps tear no holes."""
        end: int | None = None
        for frame in self._frames:
            place = 0 if end is None else end
            if frame.pts is not None and frame.time_base is not None:
                stamped = round((float(frame.pts * frame.time_base) - self._origin) * self._rate)
                if end is None or abs(stamped - end) > GAP * self._rate:
                    place = stamped
            for samples in self._mixer.mix(frame):
                yield place, samples
                place += samples.shape[1]
            end = place
        for samples in self._mixer.rest():
            yield end or 0, samples


class _Frames:
    """The frames of a sound stream that decode; damaged packets are skipped, and the first one's error kept."""

    def __init__(self, path: str, number: int) -> None:
        self.container, _ = open_video(path)
        self.damage = ""
        self._stream = self.container.streams.audio[number]

    def close(self) -> None:
        self.container.close()

    def __iter__(self) -> Iterator[av.AudioFrame]:
        damaged = 0
        packets = demux(self.container, self._stream)
        while damaged <= DAMAGED:
            heartbeat()
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = cast(list[av.AudioFrame], packet.decode())
            except av.error.FFmpegError as error:
                damaged += 1
                self.damage = self.damage or f"is damaged (FFmpeg: {error.strerror})"
                continue
            for frame in frames:
                _keep_custom(frame.layout)
            yield from frames


class _Mixer:
    """Turns frames of any format, layout and rate, changing on the way too, into samples (C,n) float32 of one layout and rate."""

    def __init__(self, rate: int, layout: str) -> None:
        self._rate, self._layout = rate, layout
        self._channels = av.AudioLayout(layout).nb_channels
        self._graph: av.filter.Graph | None = None
        self._takes: tuple[int, str, str] | None = None

    def mix(self, frame: av.AudioFrame) -> Iterator[np.ndarray]:
        takes = (frame.sample_rate, frame.format.name, frame.layout.name)
        if takes != self._takes:
            yield from self.rest()
            self._graph, self._takes = self._built(*takes, frame.layout.nb_channels), takes
        assert self._graph is not None
        frame.pts = None  # places are counted by the reader; the filters would fill or cut at jumps
        self._graph.push(frame)
        yield from self._pulled()

    def rest(self) -> Iterator[np.ndarray]:
        """What the filters hold back."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._pulled()
        self._graph = self._takes = None

    def _pulled(self) -> Iterator[np.ndarray]:
        assert self._graph is not None
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            # packed, since PyAV reads past the end of the planes of eight channels
            yield np.ascontiguousarray(frame.to_ndarray().reshape(-1, self._channels).T)

    def _built(self, rate: int, form: str, layout: str, channels: int) -> av.filter.Graph:
        try:
            return self._linked(rate, form, layout, [])
        except av.error.FFmpegError:  # no rule for mixing such channels: all of them, alike
            mean = "+".join(f"{1 / channels:.6f}*c{channel}" for channel in range(channels))
            return self._linked(rate, form, layout, [("pan", f"mono|c0={mean}")])

    def _linked(self, rate: int, form: str, layout: str, between: list[tuple[str, str]]) -> av.filter.Graph:
        graph = av.filter.Graph()
        nodes = [
            graph.add("abuffer", sample_rate=str(rate), sample_fmt=form, channel_layout=layout, time_base=f"1/{rate}")
        ]
        nodes += [graph.add(name, arguments) for name, arguments in between]
        wanted = {"sample_rates": str(self._rate), "sample_fmts": "flt", "channel_layouts": self._layout}
        graph.link_nodes(*nodes, graph.add("aformat", **wanted), graph.add("abuffersink")).configure()
        return graph


def _keep_custom(layout: av.AudioLayout) -> None:
    """Never free a layout in a custom order: it shares its memory with what it was read from, which frees it as well."""
    if "(" in layout.name:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))


def _describe(path: str, number: int) -> SoundInfo:
    """What a stream is; runs in the child."""
    frames = _Frames(path, number)
    try:
        context = frames.container.streams.audio[number].codec_context
        if context is None:
            raise VideoError(path, "has no decoder here")
        frame = next(iter(frames), None)
        if frame is None or not frame.sample_rate or not frame.layout.nb_channels:
            raise VideoError(path, "holds nothing that decodes")
        return SoundInfo(number, frame.sample_rate, _positions(frame.layout), context.bit_rate or 0)
    finally:
        frames.close()


def _positions(layout: av.AudioLayout) -> tuple[str, ...]:
    usual = USUAL.get(layout.nb_channels) if layout.name.endswith(" channels") else None
    return tuple(channel.name for channel in (layout if usual is None else av.AudioLayout(usual)).channels)


@functools.lru_cache(maxsize=1)
def _reader(path: str, number: int, origin: float, rate: int, layout: str, take: int) -> AudioReader:
    """The stream that a child reads; it stays open between calls, and begins anew with each take."""
    return AudioReader(path, number, origin, rate, layout)


def _read(
    path: str, number: int, origin: float, rate: int, layout: str, take: int, start: int, stop: int
) -> tuple[np.ndarray, str]:
    """Samples, and what was wrong with the stream so far; runs in the child."""
    reader = _reader(path, number, origin, rate, layout, take)
    return reader.read(start, stop), reader.damage
