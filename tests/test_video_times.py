"""Times are those of the container; a stamp that cannot be true is replaced from its neighbours, and the others are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from ssvid.video.guard import Guard
from ssvid.video.reader import Video, VideoInfo
from ssvid.video.scan import scan
from ssvid.video.times import demux, rising, timing
from ssvid.video.writer import write_video
from tests.videos import mux, numbers, read_numbers, remux

CLOSED = {"x264-params": "keyint=25:min-keyint=25:scenecut=0:bframes=3"}


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with Guard() as guard:
        yield guard


def times_of(guard: Guard, path: Path) -> VideoInfo:
    """What a scan finds, after the frames were looked at."""
    info, _ = scan(path, guard=guard)
    assert read_numbers(Video(path, info).frames([0, info.frames - 1]))[0] == 0
    return info


@pytest.mark.parametrize(("codec", "options"), [("libx264", CLOSED), ("mpeg4", {"bf": "2"}), ("mpeg4", {"bf": "0"})])
def test_dropped_frames_of_an_avi_leave_their_time_empty(
    guard: Guard, tmp_path: Path, codec: str, options: dict[str, str]
) -> None:
    kept = [number for number in range(90) if number % 7 != 6]
    path = mux(
        tmp_path / "a.avi", codec, (frame for n, frame in enumerate(numbers(90)) if n in kept), options, pts=kept
    )
    info = times_of(guard, path)
    np.testing.assert_allclose(info.times, np.array(kept) / 30, atol=1e-3)
    assert info.duration == pytest.approx(3.0, abs=0.001 + 1 / 30)


def test_an_avi_whose_stated_rate_is_that_of_fields(guard: Guard, tmp_path: Path) -> None:
    path = mux(tmp_path / "a.avi", "libx264", numbers(60), CLOSED, pts=list(range(0, 120, 2)), rate=60)
    info = times_of(guard, path)
    assert info.fps == pytest.approx(30)
    np.testing.assert_allclose(info.times, np.arange(60) / 30, atol=1e-3)
    assert info.duration == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize(
    "bad", [lambda before, after: before, lambda before, after: before - 50, lambda before, after: after + 900]
)
def test_one_bad_stamp_does_not_discard_the_others(guard: Guard, tmp_path: Path, bad: object) -> None:
    ticks = [33 * number for number in range(50)] + [50 * 33 + 100 * number for number in range(50)]
    wrong = ticks.copy()
    wrong[20] = bad(ticks[19], ticks[21])  # type: ignore[operator]
    found = timing(wrong, 0.001, 30.0, 0.0)
    right = np.array(ticks) / 1000
    assert found.times[20] == pytest.approx(right[20], abs=0.02)
    np.testing.assert_allclose(np.delete(found.times, 20), np.delete(right, 20), atol=1e-9)
    assert (np.diff(found.times) > 0).all()
    assert found.variable
    assert found.duration == pytest.approx(right[-1] + 0.1)


def test_a_file_with_a_repeated_stamp_keeps_its_time(guard: Guard, tmp_path: Path) -> None:
    times = np.concatenate([np.arange(30) / 30, 1 + np.arange(30) / 10])
    write_video(tmp_path / "a.mkv", numbers(60), times=times, bframes=0)
    path = remux(tmp_path / "a.mkv", tmp_path / "b.mkv", lambda place, ticks: ticks if place != 15 else 467)
    with av.open(str(path)) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.size]
    assert stamps[14] == stamps[15]
    info = times_of(guard, path)
    assert info.times[45] == pytest.approx(2.5, abs=0.002)
    assert info.duration == pytest.approx(4.0, abs=0.1)
    assert read_numbers(Video(path, info).at([2.55])) == [45]


def test_missing_stamps_are_filled_from_their_neighbours() -> None:
    assert timing([None, 10, None, 30, None], 0.1, 0.0, 0.0).times.tolist() == pytest.approx([0, 1, 2, 3, 4])
    assert timing([None, None], 0.1, 4.0, 0.0).times.tolist() == [0, 0.25]
    assert timing([None, 5, None], 0.1, 0.0, 0.0).fps == 25
    assert timing([7], 0.1, 10.0, 0.0).duration == pytest.approx(0.1)


def test_the_most_stamps_that_can_be_true_are_kept() -> None:
    assert rising([0, 1, 9, 2, 3]) == [0, 1, 3, 4]
    assert rising([5, 5, 5]) == [0]
    assert rising([]) == []


def test_the_last_frame_stays_as_long_as_the_file_says(guard: Guard, tmp_path: Path) -> None:
    write_video(tmp_path / "a.gif", numbers(10), fps=10)
    data = tmp_path.joinpath("a.gif").read_bytes()
    last = data.rindex(b"\x21\xf9\x04")  # the delay of a picture stands before it, in hundredths
    (tmp_path / "a.gif").write_bytes(data[: last + 4] + (300).to_bytes(2, "little") + data[last + 6 :])
    assert times_of(guard, tmp_path / "a.gif").duration == pytest.approx(3.9)
    write_video(tmp_path / "a.mp4", numbers(10), fps=10, bframes=0)
    held = held_last(tmp_path / "a.mp4", 2.0)
    assert times_of(guard, held).duration == pytest.approx(2.9, abs=0.01)


def held_last(path: Path, seconds: float) -> Path:
    """The same packets, the last of which lasts longer."""
    target = path.with_name("held.mp4")
    with av.open(str(path)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(video=0) if packet.size]
        packets[-1].duration = round(seconds / packets[-1].time_base)
        for packet in packets:
            packet.stream = stream
            new.mux(packet)
    return target


def joined(folder: Path, *starts: float) -> Path:
    """An MPEG-TS of parts of a second, joined byte by byte, each of which begins at its own time; with a click of sound a part."""
    whole = b""
    for number, start in enumerate(starts):
        path = folder / f"part{number}.ts"
        with av.open(str(path), "w", options={"muxdelay": "0"}) as container:
            picture = container.add_stream("libx264", rate=30, options=CLOSED)
            picture.codec_context.height, picture.codec_context.width = 96, 160
            picture.codec_context.pix_fmt = "yuv420p"
            sound = container.add_stream("mp2", rate=32000)
            for index, image in enumerate(list(numbers(30 * len(starts)))[30 * number : 30 * number + 30]):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = round(start * 30) + index, 1 / picture.codec_context.framerate
                container.mux(picture.encode(frame))
            wave = np.zeros((1, 32000), np.int16)
            wave[0, 16000:16100] = 20000
            beep = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            beep.sample_rate, beep.pts = 32000, round(start * 32000)
            container.mux(sound.encode(beep))
            container.mux(sound.encode(None))
            container.mux(picture.encode(None))
        whole += path.read_bytes()
    (folder / "joined.ts").write_bytes(whole)
    return folder / "joined.ts"


@pytest.mark.parametrize("starts", [(1, 1, 1), (5, 0, 20), (0, 3600, 7200), (3600, 0, 3600)])
def test_parts_of_a_stream_follow_one_another_whatever_their_stamps(
    guard: Guard, tmp_path: Path, starts: tuple[float, ...]
) -> None:
    path = joined(tmp_path, *starts)
    info = times_of(guard, path)
    assert info.frames == 90
    np.testing.assert_allclose(info.times, np.arange(90) / 30, atol=0.15)  # sound and picture of a part end apart
    assert info.duration == pytest.approx(3.0, abs=0.15)
    with av.open(str(path)) as container:
        sound = [float(p.pts * p.time_base) for p in demux(container, container.streams.audio[0]) if p.pts is not None]
    with av.open(str(path)) as container:
        first = min(
            float(p.pts * p.time_base) for p in demux(container, container.streams.video[0]) if p.pts is not None
        )
    assert min(sound) - first == pytest.approx(0, abs=0.15)
    assert max(sound) - first == pytest.approx(3.0, abs=0.25)
    assert (np.diff(sound) > 0).all()


def test_a_stream_that_begins_on_the_way_does_no_harm(guard: Guard, tmp_path: Path) -> None:
    path = mux(tmp_path / "a.ts", "libx264", numbers(30), CLOSED, rate=1)
    data = path.read_bytes()
    packets = [bytearray(data[start : start + 188]) for start in range(0, len(data), 188)]
    other = next(
        packet.copy() for packet in packets if packet[1:3] == b"\x41\x00"
    )  # a picture begins, on the PID 0x100
    other[1:3] = b"\x45\x00"
    path.write_bytes(data + other)
    with av.open(str(path)) as container:
        known = len(container.streams)
        with pytest.raises(IndexError):  # else PyAV has learned it, and what is done about it here can go
            list(container.demux())
    assert known == 1, "it would be known from the beginning"
    info = times_of(guard, path)
    assert read_numbers(Video(path, info).frames(range(30))) == list(range(30))
