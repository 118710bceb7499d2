"""One sound stream of a video, re-timed by a plan and encoded as it is read: memory does not grow with length."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np

from ssvid.speedup.plan import SpeedPlan
from ssvid.speedup.time_stretch import as_tape, keep_pitch
from ssvid.video.sound import GuardedAudio, SoundInfo

MODES = {"keep-pitch": keep_pitch, "pitch": as_tape}
OPUS = "libopus"
OPUS_RATE = 48000
# Layouts that come out of each codec as they went in, the largest first. FFmpeg's encoders take more, which its decoders give back as a
# bare number of channels.
LAYOUTS = {
    "aac": ("7.1", "5.1", "5.0", "4.0", "3.0", "stereo", "mono"),
    OPUS: ("7.1", "6.1", "5.1", "5.0", "quad", "3.0", "stereo", "mono"),
}
BACK = {"SL": "BL", "SR": "BR"}  # side channels stand for those at the back where there are none
BIT_RATE = (48_000, 160_000)  # a channel, the source's within these bounds
USUAL_BIT_RATE = 64_000  # a channel, where the source's is not known


class AudioWriter:
    """A re-timed sound stream of a result: its encoder, and its packets.

    Args:
        plan: the plan.
        sound: what the source's stream is.
        track: its samples, at the rate and in the layout of the result.
        mode: keep-pitch or pitch.
        out: the container written to, before its header is.
        codec: FFmpeg's name of the encoder, aac or libopus.
    """

    def __init__(
        self,
        plan: SpeedPlan,
        sound: SoundInfo,
        track: GuardedAudio,
        mode: str,
        out: av.container.OutputContainer,
        codec: str,
    ) -> None:
        self._plan, self._mode, self._track = plan, mode, track
        self._layout, self._rate = track.layout, track.rate
        channels = av.AudioLayout(self._layout).nb_channels
        self.stream = cast(av.AudioStream, out.add_stream(codec, rate=self._rate, layout=self._layout))
        share = sound.bit_rate * channels // len(sound.positions) or channels * USUAL_BIT_RATE
        self.stream.bit_rate = min(max(share, channels * BIT_RATE[0]), channels * BIT_RATE[1])
        self.stream.time_base = Fraction(1, self._rate)

    def packets(self) -> Iterator[av.Packet[Any]]:
        """Encoded packets in order."""
        self._track.rewind()
        length = round(self._plan.length * self._rate)
        place = 0
        for samples in MODES[self._mode](self._track.read, self._plan.to_source, length, self._rate):
            # packed, since PyAV writes past the end of the planes of eight channels
            packed = np.ascontiguousarray(np.clip(samples, -1, 1).T, np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=self._layout)
            frame.sample_rate, frame.pts, frame.time_base = self._rate, place, Fraction(1, self._rate)
            place += samples.shape[1]
            yield from self.stream.encode(frame)
        yield from self.stream.encode(None)


def encoder_rate(rate: int, codec: str) -> int:
    """The nearest rate that an encoder takes, in samples a second; of Opus the one that it is coded at."""
    if codec == OPUS:
        return OPUS_RATE
    return min(av.Codec(codec, "w").audio_rates or [rate], key=lambda taken: (abs(taken - rate), -taken))


def encoder_layout(positions: tuple[str, ...], codec: str) -> str:
    """The largest layout of a codec whose channels are all there, else stereo; mono for a single channel.

    positions: where the channels of the source are heard, as FL, FR, FC, LFE, BL, BR, SL, SR.
    """
    if len(positions) == 1:
        return "mono"
    there = set(positions)
    behind = there if there & set(BACK.values()) else {BACK.get(name, name) for name in there}
    for layout in LAYOUTS[codec]:
        channels = {channel.name for channel in av.AudioLayout(layout).channels}
        if len(channels) > 1 and (channels <= there or channels <= behind):
            return layout
    return "stereo"
