"""One sound stream of a video, decoded as it is needed, re-timed by a plan and encoded: memory does not grow with length."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np

from ssvid.speedup.plan import SpeedPlan
from ssvid.speedup.time_stretch import as_tape, keep_pitch
from ssvid.video.decode import open_video

MODES = {"keep-pitch": keep_pitch, "pitch": as_tape}
OPUS = "libopus"
OPUS_RATE = 48000
AAC_RATES = (8000, 96000)  # Hz
GAP = 0.010  # s by which sound may stray from its time stamps before it is put right: containers round theirs
BEHIND = 0.5  # s kept before the place asked for last, more than a window looks back
BIT_RATE = (48_000, 160_000)  # a channel, the source's within these bounds
USUAL_BIT_RATE = 64_000  # a channel, where the source's is not known

logger = logging.getLogger(__name__)


class AudioReader:
    """A sound stream as an endless row of samples counted from the first frame of the video; silence where it has none.

    Args:
        path: the video.
        number: which of its sound streams.
        origin: seconds, in the container's time, of the first video frame.
        rate: samples a second to resample to.
        layout: channel layout to mix to.
    """

    def __init__(self, path: str, number: int, origin: float, rate: int, layout: str) -> None:
        self._container, _ = open_video(path)
        self._stream = self._container.streams.audio[number]
        self._name = f"{path}: sound stream {number + 1}"
        self._resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        self._origin, self._rate = origin, rate
        self._channels = av.AudioLayout(layout).nb_channels
        self._pieces: deque[tuple[int, np.ndarray]] = deque()  # (first sample's place, samples (C,n)), in order
        self._coming = self._decoded()
        self._end = 0

    def close(self) -> None:
        """Close the file."""
        self._container.close()

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
        for frame in self._frames():
            place = end
            if frame.pts is not None and frame.time_base is not None:
                stamped = round((float(frame.pts * frame.time_base) - self._origin) * self._rate)
                if end is None or abs(stamped - end) > GAP * self._rate:
                    place = stamped
            for part in self._resampler.resample(frame):
                samples = part.to_ndarray()
                place = 0 if place is None else place
                yield place, samples
                place += samples.shape[1]
            end = place

    def _frames(self) -> Iterator[av.AudioFrame]:
        """Frames that decode; damaged packets are skipped, with one warning."""
        damaged = 0
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                frames = packet.decode()
            except av.error.FFmpegError as error:
                damaged += 1
                if damaged == 1:
                    logger.warning("%s: is damaged (FFmpeg: %s); silence stands in", self._name, error.strerror)
                if damaged > 1000:  # some demuxers fail endlessly
                    break
                continue
            yield from frames


class AudioWriter:
    """A re-timed sound stream of a result: its encoder, and its packets.

    Args:
        plan: the plan.
        number: which of the source's sound streams.
        origin: seconds, in the container's time, of the first video frame.
        mode: keep-pitch or pitch.
        out: the container written to, before its header is.
        codec: FFmpeg's name of the encoder, aac or libopus.
    """

    def __init__(
        self, plan: SpeedPlan, number: int, origin: float, mode: str, out: av.container.OutputContainer, codec: str
    ) -> None:
        with open_video(plan.source)[0] as container:
            stream = container.streams.audio[number]
            rate = OPUS_RATE if codec == OPUS else min(max(stream.rate, AAC_RATES[0]), AAC_RATES[1])
            layout = _layout(stream.layout)
            bit_rate = stream.bit_rate or 0
            metadata = dict(stream.metadata)
        channels = av.AudioLayout(layout).nb_channels
        self.stream = cast(av.AudioStream, out.add_stream(codec, rate=rate, layout=layout))
        least, most = (channels * bound for bound in BIT_RATE)
        self.stream.bit_rate = min(max(bit_rate or channels * USUAL_BIT_RATE, least), most)
        if "language" in metadata:
            self.stream.metadata["language"] = metadata["language"]
        self.stream.time_base = Fraction(1, rate)
        self._plan, self._mode, self._layout, self._rate = plan, mode, layout, rate
        self._track = AudioReader(plan.source, number, origin, rate, layout)

    def packets(self) -> Iterator[av.Packet[Any]]:
        """Encoded packets in order; closes the source at the end."""
        length = round(self._plan.length * self._rate)
        place = 0
        try:
            for samples in MODES[self._mode](self._track.read, self._plan.to_source, length, self._rate):
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(np.clip(samples, -1, 1)), format="fltp", layout=self._layout
                )
                frame.sample_rate, frame.pts, frame.time_base = self._rate, place, Fraction(1, self._rate)
                place += samples.shape[1]
                yield from self.stream.encode(frame)
            yield from self.stream.encode(None)
        finally:
            self._track.close()


def sound_streams(path: str) -> list[int]:
    """Numbers of the sound streams that can be decoded; each of the others gets a warning."""
    found = []
    with open_video(path)[0] as container:
        for number, stream in enumerate(container.streams.audio):
            context = stream.codec_context
            if context is not None and context.rate and stream.layout.nb_channels:
                found.append(number)
            else:
                logger.warning("%s: sound stream %d has no decoder here and is left out", path, number + 1)
    return found


def _layout(layout: av.AudioLayout) -> str:
    """The layout where both encoders take it, the nearest one with surround reduced to stereo elsewhere."""
    if layout.nb_channels <= 2:
        return "mono" if layout.nb_channels == 1 else "stereo"
    return {"5.1": "5.1", "5.1(side)": "5.1"}.get(layout.name, "stereo")
