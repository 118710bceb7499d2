"""The table of docs/frames.md, what the reader can do: every line of it is tried on files of its kind, and no line stands there untried."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ssvid.data.index import Index
from ssvid.data.scanning import scan_videos
from ssvid.errors import VideoError
from ssvid.video import scan as scan_module
from ssvid.video.guard import Guard
from ssvid.video.reader import Video, VideoInfo
from ssvid.video.scan import scan
from ssvid.video.writer import write_video
from tests import test_video_guard
from tests.test_video_orientation import with_matrix
from tests.test_video_scan import (
    make_empty,
    make_mp4_cut_behind_its_index,
    make_mp4_without_index,
    make_text,
    remuxed,
    with_sound,
    write_sizes,
)
from tests.test_video_seek import CLOSED, FRAGMENTS, HEVC, OPEN
from tests.test_video_times import held_last, joined
from tests.videos import (
    is_upright,
    mux,
    numbered,
    numbers,
    read_numbers,
    remux,
    uneven_times,
    write_absurd,
    write_cut,
    write_encrypted,
    write_sound,
)

PAGE = Path(__file__).parents[1] / "docs" / "frames.md"
HEAD = "| kind of file | how it is read |"
COUNT = 40
FAST = {"cpu-used": "8", "deadline": "realtime"}
QUIET = {"preset": "ultrafast", "x265-params": "log-level=error:keyint=12"}


@dataclass
class Tried:
    """Where the files of a line are made, and what a scan of them said."""

    folder: Path
    guard: Guard
    log: pytest.LogCaptureFixture
    patch: pytest.MonkeyPatch

    def info(self, path: Path) -> VideoInfo:
        return scan(path, guard=self.guard)[0]

    def right(self, path: Path, count: int = COUNT) -> VideoInfo:
        """What the file is, after every frame of it was found to be itself."""
        info = self.info(path)
        video = Video(path, info)
        assert read_numbers(video.frames(range(info.frames))) == list(range(count)), path.name
        asked = sorted({0, count // 3, count - 1})
        assert [read_numbers(video.frames([number]))[0] for number in asked] == asked, path.name
        return info


def at_random(tried: Tried) -> None:
    written: dict[str, dict[str, Any]] = {
        "h264.mp4": {"codec": "libx264", "gop": 12, "bframes": 2},
        "h264.mov": {"codec": "libx264", "gop": 12, "bframes": 2},
        "h264.mkv": {"codec": "libx264", "gop": 12, "bframes": 2},
        "hevc.mp4": {"codec": "libx265", "gop": 12, "bframes": 0, "options": QUIET},
        "hevc.mkv": {"codec": "libx265", "gop": 12, "bframes": 0, "options": QUIET},
        "av1.mp4": {"codec": "libsvtav1", "gop": 12, "options": {"preset": "8"}},
        "vp8.webm": {"codec": "libvpx", "gop": 12, "options": FAST},
        "vp9.webm": {"codec": "libvpx-vp9", "gop": 12, "options": FAST},
        "mpeg4.mp4": {"codec": "mpeg4", "gop": 12, "bframes": 0},
        "mpeg4.avi": {"codec": "mpeg4", "gop": 12, "bframes": 0},
        "ten.mp4": {"codec": "libx264", "gop": 12, "pix_fmt": "yuv420p10le"},
        "full.mp4": {"codec": "libx264", "gop": 12, "pix_fmt": "yuvj420p"},
        "a.gif": {"fps": 25},
    }
    for name, options in written.items():
        write_video(tried.folder / name, numbers(COUNT), **options)
        info = tried.right(tried.folder / name)
        assert info.seek, name
        small = Video(info.path, info).frames([7], size=48)
        assert (small.shape[1], read_numbers(small)) == (48, [7])
        assert abs(float(small[0, -8:, -8:].mean()) - numbered(7)[-1, -1].mean()) < 8, name  # the range is right
    write_video(tried.folder / "long.mp4", numbers(330, 32, 48), gop=30)
    assert tried.right(tried.folder / "long.mp4", 330).seek


def in_order(tried: Tried) -> None:
    muxed: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
        "b.avi": ("libx264", CLOSED, {}),
        "mpeg4_b.avi": ("mpeg4", {"bf": "2", "g": "12"}, {}),
        "open.mp4": ("libx264", OPEN, {}),
        "hevc_b.mp4": ("libx265", HEVC, {}),
        "fragments.mp4": ("libx264", CLOSED, FRAGMENTS),
        "a.flv": ("libx264", CLOSED, {}),
        "a.wmv": ("wmv2", {"g": "12"}, {}),
        "a.ts": ("libx264", CLOSED, {}),
        "a.mpg": ("mpeg2video", {"bf": "2", "g": "12"}, {}),
    }
    for name, (codec, options, container_options) in muxed.items():
        mux(tried.folder / name, codec, numbers(COUNT), options, container_options)
        assert not tried.right(tried.folder / name).seek, name


def random_access_that_fails(tried: Tried) -> None:
    path = mux(tried.folder / "b.avi", "libx264", numbers(60), CLOSED)
    video = Video(path, replace(tried.info(path), seek=True))
    tried.log.clear()
    for _ in range(2):
        assert read_numbers(video.frames([7, 50])) == [7, 50]
    assert [record.message.count("read in order instead") for record in tried.log.records] == [1]


def times_of_the_file(tried: Tried) -> None:
    times = uneven_times(COUNT)
    write_video(tried.folder / "uneven.mp4", numbers(COUNT), times=times)
    info = tried.right(tried.folder / "uneven.mp4")
    assert info.variable
    np.testing.assert_allclose(info.times, times, atol=1e-3)
    write_video(tried.folder / "plain.mkv", numbers(COUNT), bframes=0)
    repeated = remux(
        tried.folder / "plain.mkv", tried.folder / "repeated.mkv", lambda place, ticks: ticks if place != 15 else 467
    )
    np.testing.assert_allclose(tried.right(repeated).times, np.arange(COUNT) / 30, atol=2e-3)
    kept = [number for number in range(COUNT) if number % 7 != 6]
    dropped = mux(tried.folder / "dropped.avi", "libx264", numbers(len(kept)), CLOSED, pts=kept)
    np.testing.assert_allclose(tried.right(dropped, len(kept)).times, np.array(kept) / 30, atol=1e-3)
    write_video(tried.folder / "last.mp4", numbers(10), fps=10, bframes=0)
    held = held_last(tried.folder / "last.mp4", 2.0)
    assert tried.right(held, 10).duration == pytest.approx(2.9, abs=0.01)


def joined_streams(tried: Tried) -> None:
    info = tried.right(joined(tried.folder, 0, 3600, 5), 90)
    assert info.duration == pytest.approx(3.0, abs=0.15)


def turned(tried: Tried) -> None:
    for matrix, undone in (
        ((0, 1, -1, 0), lambda frame: np.rot90(frame)),
        ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),
    ):
        write_video(tried.folder / "turned.mp4", (undone(frame) for frame in numbers(12)))
        path = with_matrix(tried.folder / "turned.mp4", *matrix)
        info = tried.right(path, 12)
        for seek in {info.seek, False}:
            assert is_upright(Video(path, replace(info, seek=seek)).frames([5])[0])


def sizes(tried: Tried) -> None:
    write_sizes(tried.folder / "a.webm", [(48, 80), (96, 160)])
    info = tried.right(tried.folder / "a.webm", 20)
    assert (info.height, info.width) == (96, 160)


def as_any_other(tried: Tried) -> None:
    write_video(tried.folder / "one.mp4", numbers(1))
    write_video(tried.folder / "odd.mp4", numbers(COUNT, 97, 131), pix_fmt="yuv444p")
    write_video(tried.folder / "silent.mp4", numbers(COUNT))
    tried.right(tried.folder / "one.mp4", 1)
    assert tried.right(tried.folder / "odd.mp4").width == 131
    path = with_sound(tried.folder / "silent.mp4", tried.folder / "broken.mp4")
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    data = bytearray(path.read_bytes())
    for start, length in places:
        data[start : start + length] = b"\xff" * length
    path.write_bytes(data)
    assert tried.right(path).audio


def cut_at_the_end(tried: Tried) -> None:
    write_video(tried.folder / "whole.mp4", numbers(100), crf=1, bframes=0)
    front = remuxed(tried.folder / "whole.mp4", tried.folder / "front.mp4", {"movflags": "faststart"})
    write_cut(tried.folder / "cut.mp4", front, 0.97)
    frames = tried.info(tried.folder / "cut.mp4").frames
    assert 90 <= frames < 100
    assert f"is damaged after {frames} frames" in tried.log.text
    tried.right(tried.folder / "cut.mp4", frames)


def write_cover(path: Path) -> None:
    """Sound with a picture on its sleeve."""
    write_sound(path.with_suffix(".mp4"))
    with av.open(str(path.with_suffix(".mp4"))) as old, av.open(str(path), "w") as new:
        sound = new.add_stream_from_template(old.streams.audio[0])
        encoder = av.CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 160, 96, "yuvj420p", Fraction(1, 25)
        picture = av.VideoFrame.from_ndarray(numbered(1), format="rgb24").reformat(format="yuvj420p")
        new.add_attachment("cover.jpg", "image/jpeg", b"".join(map(bytes, encoder.encode(picture))))
        for packet in old.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                new.mux(packet)
    path.with_suffix(".mp4").unlink()


def refused(tried: Tried) -> None:
    bad = tried.folder / "bad"
    bad.mkdir()
    words = {
        "less.mp4": (make_mp4_cut_behind_its_index, "of 40 frames"),
        "no_index.mp4": (make_mp4_without_index, "moov"),
        "empty.mp4": (make_empty, "is empty"),
        "text.mp4": (make_text, "is not a video"),
        "sound.mp4": (write_sound, "has sound but no video"),
        "cover.mkv": (write_cover, "cover picture but no video"),
        "absurd.gif": (write_absurd, "claims frames of"),
        "encrypted.mp4": (write_encrypted, "is encrypted"),
    }
    for name, (make, _) in words.items():
        place = tried.folder / Path(name).stem  # makers leave what they cut from beside what they make
        place.mkdir()
        make(place / name)
        (place / name).rename(bad / name)
    index = Index(tried.folder / "index.sqlite", create=True)
    scan_videos([bad], index, engine="local:1")
    reasons = {Path(video.path).name: video.reason for video in index.bad()}
    assert reasons.keys() == words.keys()
    for name, (_, said) in words.items():
        assert said in reasons[name], name


def not_the_same(tried: Tried) -> None:
    path = tried.folder / "a.mp4"
    write_video(path, numbers(12))
    video = Video(path, tried.info(path))
    write_video(path, numbers(20))
    with pytest.raises(VideoError, match=r"a\.mp4: has changed since it was indexed.*ssvid index"):
        video.frames([3])
    path.rename(tried.folder / "b.mp4")
    with pytest.raises(VideoError, match=r"a\.mp4: no such file.*moved or deleted.*ssvid index"):
        video.frames([3])


def hangs_and_crashes(tried: Tried) -> None:
    for function, words in ((test_video_guard.hang_holding_the_lock, "gave no result"), (decode_or_abort, "crashed")):
        folder = tried.folder / words.split()[0]
        folder.mkdir()
        write_video(folder / "a.mp4", numbers(5))
        write_video(folder / "b.mp4", numbers(5))
        index = Index(tried.folder / f"{folder.name}.sqlite", create=True)
        with tried.patch.context() as patch:
            patch.setattr(scan_module, "_decode", function)
            scan_videos([folder], index, engine="local:1", limit=1.5)
        assert words in index.bad()[0].reason
        assert len(index.bad()) + len(index.videos()) == 2, "the scan goes on"


decode = scan_module._decode


def decode_or_abort(path: str) -> Any:
    """Crash on a.mp4, in the child."""
    return test_video_guard.crash(path) if path.endswith("a.mp4") else decode(path)


LINES: dict[str, Callable[[Tried], None]] = {
    "H.264, HEVC without B-frames, AV1": at_random,
    "AVI with B-frames": in_order,
    "random access that fails later": random_access_that_fails,
    "variable frame rate": times_of_the_file,
    "MPEG streams joined": joined_streams,
    "rotated or mirrored": turned,
    "a picture that changes size": sizes,
    "one frame, odd sizes": as_any_other,
    "cut short: nine tenths or more": cut_at_the_end,
    "cut short: less decodes": refused,
    "replaced, moved or deleted": not_the_same,
    "decoder that hangs or crashes": hangs_and_crashes,
}


def table() -> list[str]:
    """The first cells of the table."""
    lines = PAGE.read_text().split(HEAD, 1)[1].splitlines()[2:]
    return [line.split("|")[1].strip() for line in lines[: lines.index("")]]


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with Guard() as guard:
        yield guard


def test_every_line_of_the_table_is_tried() -> None:
    assert [line for line in table() if not line.startswith(tuple(LINES))] == []
    assert [start for start in LINES if sum(line.startswith(start) for line in table()) != 1] == []


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_table_is_true(
    guard: Guard, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    caplog.set_level(logging.INFO)
    LINES[line](Tried(tmp_path, guard, caplog, monkeypatch))
