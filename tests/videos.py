"""Test videos that carry their own frame number, painted as blocks that survive coding, resizing and turning."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from ssvid.video.writer import write_video

BITS = 10  # blocks: two rows of five, below a strip that says which way is up
HEIGHT, WIDTH = 96, 160


def numbered(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Frame (H,W,C) whose blocks spell `number` in binary; its top third is red left, green right."""
    frame = np.zeros((height, width, 3), np.uint8)
    third, fifth = height / 3, width / 5
    frame[: round(third), : width // 2] = (230, 20, 20)
    frame[: round(third), width // 2 :] = (20, 230, 20)
    for bit in range(BITS):
        row, column = 1 + bit // 5, bit % 5
        box = np.s_[round(row * third) : round((row + 1) * third), round(column * fifth) : round((column + 1) * fifth)]
        frame[box] = 235 if number >> bit & 1 else 20
    return frame


def read_number(frame: np.ndarray) -> int:
    """The number painted in an upright frame (H,W,C) of any size."""
    height, width = frame.shape[:2]
    number = 0
    for bit in range(BITS):
        y, x = height * (1.5 + bit // 5) / 3, width * (0.5 + bit % 5) / 5
        patch = frame[int(y - height / 12) : int(y + height / 12) + 1, int(x - width / 20) : int(x + width / 20) + 1]
        number |= int(patch.mean() > 127) << bit
    return number


def read_numbers(frames: np.ndarray) -> list[int]:
    """The numbers painted in frames (T,H,W,C)."""
    return [read_number(frame) for frame in frames]


def is_upright(frame: np.ndarray) -> bool:
    """Whether the strip lies on top, red at the left, green at the right."""
    height, width = frame.shape[:2]
    left, right = frame[height // 6, width // 4].astype(int), frame[height // 6, 3 * width // 4].astype(int)
    return bool(left[0] > left[1] + 60 and right[1] > right[0] + 60)


def numbers(count: int, height: int = HEIGHT, width: int = WIDTH) -> Iterator[np.ndarray]:
    """The frames 0 .. count-1."""
    return (numbered(number, height, width) for number in range(count))


def uneven_times(count: int, seed: int = 0) -> np.ndarray:
    """Seconds of `count` frames whose distances vary between 1/60 and 1/10 s."""
    gaps = np.random.default_rng(seed).integers(1, 7, count - 1) / 60
    return np.concatenate([[0.0], np.cumsum(gaps)])


def texture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A picture of random coloured blocks (H,W,C), unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, 3)
    blocks = np.clip(rng.normal(base, 50, (height // 8, width // 8, 3)), 0, 255).astype(np.uint8)
    return blocks.repeat(8, axis=0).repeat(8, axis=1)


def mux(
    path: Path,
    codec: str,
    frames: Iterable[np.ndarray],
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    pts: Sequence[int] | None = None,
    rate: int = 30,
) -> Path:
    """Encode frames with options of the encoder and of the container, at `pts` / rate seconds each."""
    import av

    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        for number, picture in enumerate(frames):
            if number == 0:
                stream.codec_context.height, stream.codec_context.width = picture.shape[:2]
                stream.codec_context.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number if pts is None else pts[number], Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def remux(source: Path, target: Path, stamps: Callable[[int, int], int] = lambda place, ticks: ticks) -> Path:
    """The same packets in another file, at other times: `stamps` gives the ticks of a packet from its place and its ticks."""
    import av

    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for place, packet in enumerate(old.demux(video=0)):
            if packet.dts is None:
                continue
            packet.pts = stamps(place, packet.pts)
            packet.dts = stamps(place, packet.dts)
            packet.stream = stream
            new.mux(packet)
    return target


def write_sound(path: Path, seconds: float = 1.0) -> None:
    """An mp4 with a sound track and nothing else."""
    import av

    rate = 16000
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate)
        for start in range(0, int(seconds * rate), 1024):
            wave = np.sin(np.arange(start, start + 1024) * 2 * np.pi * 440 / rate).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_absurd(path: Path, width: int = 20000, height: int = 5000) -> None:
    """A GIF whose header claims enormous frames."""
    write_video(path, numbers(5))
    data = path.read_bytes()
    path.write_bytes(data[:6] + struct.pack("<HH", width, height) + data[10:])


def write_encrypted(path: Path) -> None:
    """An mp4 whose sample entry says common encryption."""
    write_video(path, numbers(5))
    path.write_bytes(path.read_bytes().replace(b"avc1\x00\x00\x00\x00", b"encv\x00\x00\x00\x00"))


def write_cut(path: Path, whole: Path, share: float) -> None:
    """The first `share` of another file's bytes."""
    data = whole.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
