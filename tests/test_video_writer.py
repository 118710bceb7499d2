from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ssvid.errors import ConfigError, DataError
from ssvid.video.writer import write_video
from tests.videos import numbered, numbers, read_numbers, uneven_times


def decoded(path: Path) -> tuple[np.ndarray, list[float]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), [float(frame.time) for frame in frames]


@pytest.mark.parametrize(
    ("name", "codec", "expected"),
    [
        ("a.mp4", None, "h264"),
        ("a.mov", "libx264", "h264"),
        ("a.mkv", "libx265", "hevc"),
        ("a.webm", None, "vp9"),
        ("a.avi", "mpeg4", "mpeg4"),
        ("a.gif", None, "gif"),
    ],
)
def test_every_container_keeps_frames_and_rate(tmp_path: Path, name: str, codec: str | None, expected: str) -> None:
    path = tmp_path / name
    write_video(path, numbers(20), fps=25, codec=codec)
    frames, times = decoded(path)
    assert read_numbers(frames) == list(range(20))
    tick = 0.0101 if name.endswith("gif") else 0.0011  # GIF counts in 10 ms, Matroska in 1 ms
    np.testing.assert_allclose(np.subtract(times, times[0]), np.arange(20) / 25, atol=tick)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == expected


def test_rate_is_exact_for_ntsc(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", numbers(4), fps=30000 / 1001)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].average_rate.as_integer_ratio() == (30000, 1001)


@pytest.mark.parametrize("bframes", [0, 2])
def test_uneven_times_are_kept(tmp_path: Path, bframes: int) -> None:
    times = uneven_times(30)
    write_video(tmp_path / "a.mp4", numbers(30), times=times + 7, bframes=bframes)
    frames, got = decoded(tmp_path / "a.mp4")
    assert read_numbers(frames) == list(range(30))
    np.testing.assert_allclose(got, times, atol=1e-6)


def test_gop_and_bframes_reach_the_encoder(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", numbers(24), gop=6, bframes=0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert [number for number, packet in enumerate(packets) if packet.is_keyframe] == [0, 6, 12, 18]
    assert all(packet.pts == packet.dts for packet in packets)


def test_odd_sides_are_made_even_by_repeating_the_edge(tmp_path: Path) -> None:
    frame = np.full((33, 51, 3), 40, np.uint8)
    frame[-1], frame[:, -1] = 200, 200
    write_video(tmp_path / "a.mp4", [frame] * 3, crf=1)
    got, _ = decoded(tmp_path / "a.mp4")
    assert got.shape == (3, 34, 52, 3)
    assert (got[0, -2:] > 150).all()
    assert (got[0, :, -2:] > 150).all()
    assert abs(got[0, :-2, :-2].mean() - 40) < 4


def test_odd_sides_stay_where_the_format_allows(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", numbers(3, 33, 51), pix_fmt="yuv444p")
    assert decoded(tmp_path / "a.mp4")[0].shape == (3, 33, 51, 3)


def test_colours_survive(tmp_path: Path) -> None:
    frame = numbered(5)
    write_video(tmp_path / "a.mp4", [frame], crf=1, pix_fmt="yuv444p")
    assert np.abs(decoded(tmp_path / "a.mp4")[0][0].astype(int) - frame).mean() < 3


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def broken() -> object:
        yield numbered(0)
        raise RuntimeError("the source failed")

    (tmp_path / "a.mp4").write_bytes(b"old")
    with pytest.raises(RuntimeError, match="the source failed"):
        write_video(tmp_path / "a.mp4", broken())
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.webm", {"codec": "libx264"}, "libx264"),
        ("a.xyz", {}, "unknown kind of file"),
        ("a.mp4", {"codec": "nonsense"}, "unknown codec nonsense"),
        ("a.mp4", {"fps": 0}, "fps must be above 0"),
        ("a.mp4", {"times": [0, 1, 1]}, "strictly increasing"),
        ("a.avi", {"times": [0, 1, 3], "codec": "mpeg4"}, "constant rates only"),
        ("a.mp4", {"rotation": 45}, "rotation must be"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, name: str, options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        write_video(tmp_path / name, numbers(3), **options)
    assert not list(tmp_path.iterdir())


def test_wrong_frames_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with pytest.raises(DataError, match="no frames"):
        write_video(path, [])
    with pytest.raises(DataError, match="frame 0 is float64"):
        write_video(path, np.zeros((2, 16, 16, 3)))
    with pytest.raises(DataError, match="frame 1 is"):
        write_video(path, [numbered(0), numbered(1, 32, 32)])
    with pytest.raises(DataError, match="4 times given for 3 frames"):
        write_video(path, numbers(3), times=[0, 1, 2, 3])
    with pytest.raises(DataError, match="more frames than the 2 times"):
        write_video(path, numbers(3), times=[0, 1])


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"a\.mp4: cannot be written"):
        write_video(tmp_path / "file" / "a.mp4", numbers(3))
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(DataError, match="cannot be written: Is a directory"):
        write_video(tmp_path / "folder.mp4", numbers(3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.mp4"]


def test_folders_are_made(tmp_path: Path) -> None:
    write_video(tmp_path / "new" / "folder" / "a.mp4", numbers(3))
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("fps", [30, Fraction(30000, 1001), 12.5])
def test_a_constant_rate_is_announced_exactly(tmp_path, suffix, fps):
    write_video(tmp_path / f"a{suffix}", numbers(12), fps=fps)
    with av.open(str(tmp_path / f"a{suffix}")) as container:
        assert container.streams.video[0].average_rate == Fraction(fps)


def test_a_variable_rate_announces_its_mean(tmp_path):
    times = uneven_times(40)
    write_video(tmp_path / "a.mkv", numbers(40), times=times)
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(39 / times[-1], rel=0.05)


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="this system tells no policy")
def test_av1_leaves_the_process_scheduled_as_it_was(tmp_path):
    before = os.sched_getscheduler(0)
    write_video(tmp_path / "a.mkv", np.zeros((8, 64, 64, 3), np.uint8), codec="libsvtav1", options={"preset": "12"})
    assert os.sched_getscheduler(0) == before
