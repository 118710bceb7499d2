"""What the tests of the speed-up share: evidence that is made up, videos with sound, and what is heard in a result."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ssvid.speedup.curve import Curve
from ssvid.speedup.plan import SpeedPlan, make_plan
from tests.videos import numbered

RATE = 16000


def curve_of(times: np.ndarray, natural: np.ndarray | float = 1.0, cuts: Sequence[int] = ()) -> Curve:
    """Evidence for frames at some times; the last frame stays as long as the one before it."""
    times = np.asarray(times, float)
    durations = np.diff(times)
    durations = np.append(durations, durations[-1] if len(durations) else 1 / 30)
    natural = np.broadcast_to(np.asarray(natural, float), times.shape).copy()
    return Curve(times, durations, tuple(cuts), (), np.zeros((0, len(times))), natural, "constant")


def uneven(frames: int, fps: float = 30.0, seed: int = 0) -> Curve:
    """Evidence that changes within seconds."""
    phase = np.arange(frames) / fps
    rng = np.random.default_rng(seed)
    return curve_of(phase, np.exp(1.2 + np.sin(phase * 2.1 + rng.uniform(0, 6)) + 0.3 * np.sin(phase * 5)))


def uneven_plan(path: Path, frames: int, fps: float = 30.0, speed: float = 2.0, smooth: float = 0.3) -> SpeedPlan:
    """A plan whose speed changes, for a video of some frames."""
    return make_plan(path, uneven(frames, fps), speed=speed, smooth=smooth)


def write_film(
    path: Path,
    frames: int = 60,
    fps: int = 30,
    sounds: Sequence[np.ndarray] = (),
    *,
    rate: int = RATE,
    layout: str = "mono",
    offset: float = 0.0,
    size: tuple[int, int] = (48, 80),
    metadata: dict[str, str] | None = None,
    subtitles: Sequence[tuple[float, float, str]] = (),
    codec: str = "aac",
) -> Path:
    """A video of numbered frames with sound streams, each float32 (C,n) at `rate`, `offset` seconds after the picture."""
    with av.open(str(path), "w") as out:
        out.metadata.update(metadata or {})
        video = out.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        video.height, video.width, video.pix_fmt = *size, "yuv420p"
        voices = [out.add_stream(codec, rate=rate, layout=layout) for _ in sounds]
        for number, voice in enumerate(voices):
            voice.metadata["language"] = ("deu", "fra")[number % 2]
        words = out.add_stream("subrip") if subtitles else None
        if words is not None:
            words.codec_context.subtitle_header = b"[Script Info]\n"
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(numbered(number, *size), format="rgb24").reformat(format="yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, fps)
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
        for voice, sound in zip(voices, sounds, strict=True):
            for start in range(0, sound.shape[1], 1024):
                packed = np.ascontiguousarray(sound[:, start : start + 1024].T, np.float32).reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = start + round(offset * rate)
                out.mux(voice.encode(frame))
            out.mux(voice.encode(None))
        for start, stop, text in subtitles:
            packet = av.Packet(text.encode())
            packet.stream, packet.time_base = words, Fraction(1, 1000)
            packet.pts = packet.dts = round(start * 1000)
            packet.duration = round((stop - start) * 1000)
            out.mux(packet)
    return path


def write_joined(path: Path, files: Sequence[Path], kind: str, film: Path | None = None) -> Path:
    """One stream of the packets of a kind of some files, one after the other; with a film, beside its streams."""
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(av.open(str(path), "w"))
        sources = [stack.enter_context(av.open(str(file))) for file in files]
        whole = None if film is None else stack.enter_context(av.open(str(film)))
        streams = {} if whole is None else {one.index: out.add_stream_from_template(one) for one in whole.streams}
        joined, start = out.add_stream_from_template(getattr(sources[0].streams, kind)[0], opaque=True), 0.0
        for packet in whole.demux() if whole is not None else ():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
        for source in sources:
            packets = [packet for packet in source.demux(getattr(source.streams, kind)[0]) if packet.dts is not None]
            moved = [round(start / packet.time_base) for packet in packets]
            start += float((packets[-1].pts + packets[-1].duration) * packets[-1].time_base)
            for packet, shift in zip(packets, moved, strict=True):
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, joined
                out.mux(packet)
    return path


def write_custom_order(path: Path) -> Path:
    """A film of 2 s with eight channels in an order that is none of FFmpeg's own: C Lc Rc L R Ls Rs LFE, QuickTime's MPEG 7.1 B."""
    plain = path.with_name(f".{path.name}")
    sound = np.repeat(clicks(2, rate=8000), 8, 0)
    write_film(plain, sounds=[sound], rate=8000, layout="7.1", codec="pcm_s16le")
    data = plain.read_bytes()
    tag = data.index(b"chan") + 8  # behind the name, version and flags
    path.write_bytes(data[:tag] + (127 << 16 | 8).to_bytes(4, "big") + bytes(8) + data[tag + 12 :])
    plain.unlink()
    return path


def tone(seconds: float, pitch: float = 440.0, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """A sine (C,n)."""
    wave = 0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[None], channels, 0).astype(np.float32)


def clicks(seconds: float, every: float = 0.5, rate: int = RATE) -> np.ndarray:
    """Bursts of 30 ms at every multiple of `every` but 0, silence between, (1,n)."""
    sound = np.zeros(round(seconds * rate), np.float32)
    burst = np.random.default_rng(0).normal(0, 0.3, round(0.03 * rate)).clip(-1, 1)
    for moment in np.arange(every, seconds - 0.05, every):
        start = round(moment * rate)
        sound[start : start + len(burst)] = burst
    return sound[None]


def heard(path: Path, number: int = 0) -> tuple[np.ndarray, int, float]:
    """A sound stream of a file: samples (C,n), rate, and the time of the first in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=number))
        first = frames[0]
        samples = np.concatenate([frame.to_ndarray() for frame in frames], 1)
        return samples, first.sample_rate, float(first.pts * first.time_base)


def pitch_of(samples: np.ndarray, rate: int) -> tuple[float, float]:
    """The strongest frequency in Hz, and the share of the energy within 15 Hz of it."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / rate)
    strongest = frequencies[np.argmax(power)]
    return float(strongest), float(power[np.abs(frequencies - strongest) < 15].sum() / power.sum())


def onsets(samples: np.ndarray, rate: int, quiet: float = 0.15) -> np.ndarray:
    """Seconds at which sound sets in after at least `quiet` seconds of silence."""
    loud = np.flatnonzero(np.abs(samples) > 0.05)
    first = np.append(True, np.diff(loud) > quiet * rate)
    return loud[first] / rate


def shown(path: Path) -> list[tuple[float, int]]:
    """(seconds, number) of every frame of a numbered video."""
    from tests.videos import read_number

    with av.open(str(path)) as container:
        return [(frame.time, read_number(frame.to_ndarray(format="rgb24"))) for frame in container.decode(video=0)]
