"""Files of many kinds for the reader's benchmark: containers, codecs, groups of pictures, stamps and matrices as they occur."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np

from ssvid.bench.timing import textured_frames
from ssvid.video.writer import write_video

FRAMES, RATE = 120, 30
HEIGHT, WIDTH = 96, 160
OPEN = {"flags": "-cgop", "x264-params": "open_gop=1:keyint=24:min-keyint=24:scenecut=0:bframes=3:b-adapt=0"}
CLOSED_HEVC = {"x265-params": "log-level=error:keyint=25:min-keyint=25:open-gop=0:bframes=4", "preset": "ultrafast"}
OPEN_HEVC = {
    "x265-params": "log-level=error:keyint=24:min-keyint=24:open-gop=1:b-adapt=0:bframes=3",
    "preset": "ultrafast",
}
ONE, FRAGMENTS = {"movflags": "faststart"}, {"movflags": "frag_keyframe+empty_moov"}
MATRICES = {
    "none": (1, 0, 0, 1),
    "mirror": (-1, 0, 0, 1),
    "flip": (1, 0, 0, -1),
    "180": (-1, 0, 0, -1),
    "transpose": (0, 1, 1, 0),
    "90": (0, 1, -1, 0),
    "270": (0, -1, 1, 0),
    "transverse": (0, -1, -1, 0),
}


Make = Callable[[Path, int], None]  # writes a file of so many frames


def make_files(folder: Path, count: int = FRAMES) -> dict[str, list[Path]]:
    """Write them all, of `count` frames each; kind -> files."""
    folder.mkdir(parents=True)
    made: dict[str, list[Path]] = {}
    for kind, makers in _kinds().items():
        for name, make in makers.items():
            path = folder / name
            make(path, count)
            made.setdefault(kind, []).append(path)
    return made


def _kinds() -> dict[str, dict[str, Make]]:
    h264 = {
        f"h264_g{gop}_b{b}.{kind}": _written("libx264", gop, b)
        for gop, b in ((12, 0), (25, 3))
        for kind in ("mp4", "mkv", "mov")
    }
    x264 = {"x264-params": "keyint=25:min-keyint=25:scenecut=0:bframes=3"}
    return {
        "H.264 in mp4, mov, mkv": h264 | {"vfr.mp4": _uneven("libx264"), "vfr.mkv": _uneven("libx264")},
        "H.264, open groups": {f"open.{kind}": _muxed("libx264", OPEN) for kind in ("mp4", "mkv", "mov")},
        "fragmented mp4": {
            "fragments.mp4": _muxed("libx264", x264, FRAGMENTS),
            "fragments_scenes.mp4": _muxed("libx264", {"g": "25"}, FRAGMENTS),
            "fragments_open.mp4": _muxed("libx264", OPEN, FRAGMENTS),
        },
        "HEVC": {
            "hevc_closed.mp4": _muxed("libx265", CLOSED_HEVC),
            "hevc_open.mp4": _muxed("libx265", OPEN_HEVC),
            "hevc_ip.mp4": _muxed("libx265", {"x265-params": "log-level=error:keyint=25:bframes=0"}),
        },
        "VP8, VP9, AV1": {
            "vp8.webm": _written("libvpx", 25, None, **{"cpu-used": "8", "deadline": "realtime"}),
            "vp9.webm": _written("libvpx-vp9", 25, None, **{"cpu-used": "8", "deadline": "realtime"}),
            "av1.mp4": _written("libsvtav1", 25, None, preset="12"),
        },
        "MPEG-4, MPEG-2 in mp4, mkv": {
            "mpeg4_b.mp4": _written("mpeg4", 12, 2),
            "mpeg4.mkv": _written("mpeg4", 12, 0),
            "mpeg2_b.mkv": _muxed("mpeg2video", {"bf": "2", "g": "12"}),
        },
        "AVI": {
            "mpeg4.avi": _written("mpeg4", 12, 0),
            "mpeg4_b.avi": _written("mpeg4", 12, 2),
            "h264_b.avi": _written("libx264", 25, 3),
            "mjpeg.avi": _muxed("mjpeg", {}),
            "dropped.avi": _muxed("mpeg4", {"bf": "0"}, drop=7),
            "dropped_b.avi": _muxed("libx264", x264, drop=7),
        },
        "FLV, ASF, MPEG streams": {
            "h264.flv": _muxed("libx264", x264),
            "open.flv": _muxed("libx264", OPEN),
            "wmv.wmv": _muxed("wmv2", {"g": "25"}),
            "h264.ts": _muxed("libx264", x264),
            "mpeg2.ts": _muxed("mpeg2video", {"bf": "2", "g": "12"}),
            "mpeg2.mpg": _muxed("mpeg2video", {"bf": "2", "g": "12"}),
        },
        "GIF": {"animation.gif": _written("gif", None, None)},
        "turned and mirrored": {f"turned_{name}.mp4": _turned(matrix) for name, matrix in MATRICES.items()},
    }


def frames(count: int) -> Iterator[np.ndarray]:
    """Frames uint8 (HEIGHT,WIDTH,3), none like another."""
    for number, frame in enumerate(textured_frames(0, count)):
        small = frame[:HEIGHT, :WIDTH].copy()
        small[:16] = 40 + 170 * (number >> np.arange(WIDTH)[None, :, None] // 16 & 1)
        yield small


def _written(codec: str, gop: int | None, bframes: int | None, **options: str) -> Make:
    return lambda path, count: write_video(
        path, frames(count), RATE, codec=codec, gop=gop, bframes=bframes, options=options
    )


def _uneven(codec: str) -> Make:
    def make(path: Path, count: int) -> None:
        gaps = np.random.default_rng(0).integers(1, 7, count - 1) / 60
        times = np.concatenate([[0.0], np.cumsum(gaps)])
        write_video(path, frames(count), times=times, codec=codec, gop=25, bframes=2)

    return make


def _turned(matrix: tuple[int, ...]) -> Make:
    """H.264 whose track header holds a display matrix."""

    def make(path: Path, count: int) -> None:
        write_video(path, frames(min(count, 30)), RATE)
        data = path.read_bytes()
        a, b, c, d = (value << 16 for value in matrix)
        plain, turned = (_matrix(*values) for values in ((1 << 16, 0, 0, 1 << 16), (a, b, c, d)))
        header = data.index(b"tkhd")
        path.write_bytes(data[:header] + data[header:].replace(plain, turned, 1))

    return make


def _matrix(a: int, b: int, c: int, d: int) -> bytes:
    return b"".join(value.to_bytes(4, "big", signed=True) for value in (a, b, 0, c, d, 0, 0, 0, 1 << 30))


def _muxed(codec: str, options: dict[str, str], container_options: dict[str, str] | None = None, drop: int = 0) -> Make:
    """Written with options of encoder and container; `drop`: every such frame is left out, and its time stays empty."""

    def make(path: Path, count: int) -> None:
        with av.open(str(path), "w", options=container_options or {}) as container:
            stream = cast(av.VideoStream, container.add_stream(codec, rate=RATE, options=dict(options)))
            context: Any = stream.codec_context
            context.width, context.height = WIDTH, HEIGHT
            context.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for number, picture in enumerate(frames(count)):
                if drop and number % drop == drop - 1:
                    continue
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=context.pix_fmt)
                frame.pts, frame.time_base = number, Fraction(1, RATE)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))

    return make
