from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from ssvid.errors import VideoError
from ssvid.video import scan as scan_module
from ssvid.video import seek
from ssvid.video.guard import Guard
from ssvid.video.reader import Video, probe
from ssvid.video.scan import scan
from ssvid.video.writer import write_video
from tests.videos import (
    numbered,
    numbers,
    read_numbers,
    write_absurd,
    write_cut,
    write_encrypted,
    write_sound,
)


def remuxed(source: Path, target: Path, options: dict[str, str] | None = None) -> Path:
    """The same packets in another container, or with other options of the muxer."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=options or {}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return target


def with_sound(source: Path, target: Path) -> Path:
    """The same packets and a second of silence."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        picture = new.add_stream_from_template(old.streams.video[0])
        sound = new.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = picture
                new.mux(packet)
        new.mux(sound.encode(frame))
        new.mux(sound.encode(None))
    return target


def make_missing(path: Path) -> None:
    pass


def make_folder(path: Path) -> None:
    path.mkdir()


def make_empty(path: Path) -> None:
    path.touch()


def make_text(path: Path) -> None:
    path.write_text("this is no video\n" * 50)


def make_noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(50_000))


def make_playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.ts\n#EXT-X-ENDLIST\n")


def make_picture(path: Path) -> None:
    from PIL import Image

    Image.fromarray(numbered(3)).save(path, format="PNG")


def make_mp4_without_index(path: Path) -> None:
    whole = path.with_name("whole.mp4")
    write_video(whole, numbers(40))
    write_cut(path, whole, 0.6)


def make_mp4_cut_behind_its_index(path: Path) -> None:
    whole = path.with_name("whole.mp4")
    write_video(whole, numbers(40), crf=1)
    write_cut(path, remuxed(whole, path.with_name("front.mp4"), {"movflags": "faststart"}), 0.6)


def make_cut_avi(path: Path) -> None:
    whole = path.with_name("whole.avi")
    write_video(whole, numbers(60), codec="mpeg4")
    write_cut(path, whole, 0.5)


def make_header_only(path: Path) -> None:
    whole = path.with_name("whole.avi")
    write_video(whole, numbers(60), codec="mpeg4")
    path.write_bytes(whole.read_bytes()[: whole.read_bytes().index(b"movi") + 4])


BAD = [
    (make_missing, "missing.mp4", "no such file"),
    (make_folder, "folder.mp4", "is a folder"),
    (make_empty, "empty.mp4", "is empty"),
    (make_text, "text.mp4", "is not a video"),
    (make_text, "text.txt", "is not a video"),
    (make_noise, "noise.avi", "is not a video|no frame"),
    (make_playlist, "list.m3u8", "is not a video"),
    (make_picture, "picture.png", "is not a video"),
    (make_mp4_without_index, "cut.mp4", "is truncated: its index"),
    (make_mp4_cut_behind_its_index, "cut.mp4", "is damaged after .* frames.*only .* of 40 frames"),
    (make_cut_avi, "cut.avi", "is truncated: only .* of 60 frames"),
    (make_header_only, "header.avi", "no frame|is not a video|no usable frame size|no video stream"),
    (write_sound, "sound.mp4", "has sound but no video"),
    (write_absurd, "absurd.gif", "claims frames of 20000x5000"),
    (write_encrypted, "locked.mp4", "is encrypted"),
]


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with Guard() as guard:
        yield guard


@pytest.mark.parametrize(("make", "name", "words"), BAD, ids=[f"{make.__name__}-{name}" for make, name, _ in BAD])
def test_a_bad_file_is_named_with_its_reason(guard: Guard, tmp_path: Path, make: object, name: str, words: str) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(VideoError, match=words) as caught:
        probe(path, limit=30, guard=guard)
    assert caught.value.path == str(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "Error" not in caught.value.reason, "a reason for people, not an exception's name"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", numbers(3))
    (tmp_path / "a.mp4").chmod(0)
    with pytest.raises(VideoError, match="may not be read"):
        probe(tmp_path / "a.mp4")


def test_a_file_that_lost_only_its_last_frames_keeps_the_rest(
    guard: Guard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_video(tmp_path / "whole.mp4", numbers(100), crf=1, bframes=0)
    front = remuxed(tmp_path / "whole.mp4", tmp_path / "front.mp4", {"movflags": "faststart"})
    write_cut(tmp_path / "cut.mp4", front, 0.97)
    with caplog.at_level(logging.WARNING):
        info = probe(tmp_path / "cut.mp4", guard=guard)
    assert 90 <= info.frames < 100
    assert f"is damaged after {info.frames} frames" in caplog.text
    video = Video(info.path, info)
    assert read_numbers(video.frames(range(info.frames))) == list(range(info.frames))


def test_strange_names_are_plain_files(guard: Guard, tmp_path: Path) -> None:
    for name in ("a:b.mp4", "100% (HQ) [x] %03d.mp4", "-i.mp4", "ünï çödé.mp4"):
        write_video(tmp_path / name, numbers(12))
        info = probe(tmp_path / name, guard=guard)
        assert info.seek
        assert read_numbers(Video(info.path, info).frames([3, 9])) == [3, 9]


def test_a_relative_path_works(guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", numbers(5))
    with Guard() as early:
        early.run(os.path.getsize, str(tmp_path / "a.mp4"))  # starts the child in another folder
        monkeypatch.chdir(tmp_path)
        assert probe("a.mp4", guard=early).frames == 5


def test_sound_is_noticed(guard: Guard, tmp_path: Path) -> None:
    write_video(tmp_path / "silent.mp4", numbers(30))
    info = probe(with_sound(tmp_path / "silent.mp4", tmp_path / "loud.mp4"), guard=guard)
    assert info.audio
    assert (info.frames, info.codec, info.fps) == (30, "h264", 30.0)
    assert "mp4" in info.container


def test_a_hang_of_the_decoder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests import test_video_guard

    write_video(tmp_path / "a.mp4", numbers(5))
    monkeypatch.setattr(scan_module, "_decode", test_video_guard.hang_holding_the_lock)
    with pytest.raises(VideoError, match=r"a\.mp4: gave no result"):
        scan(tmp_path / "a.mp4", limit=1)


@pytest.mark.parametrize("failure", ["hang_with_arguments", "crash_with_arguments"])
def test_a_failure_of_random_access_only_means_reading_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    write_video(tmp_path / "a.mp4", numbers(20))
    monkeypatch.setattr(seek, "ask_decord", globals()[failure])
    monkeypatch.setattr(seek, "SEEK_LIMIT", 1.0)
    info, _ = scan(tmp_path / "a.mp4")
    assert not info.seek
    assert read_numbers(Video(info.path, info).frames([19, 4])) == [19, 4]


def hang_with_arguments(path: str, *args: object) -> None:
    from tests import test_video_guard

    test_video_guard.hang(path)


def crash_with_arguments(path: str, *args: object) -> None:
    os.abort()


def wrong_by_one(path: str, requests: list[list[int]], size: tuple[int, int]) -> list:
    moved = [[max(0, index - 1) for index in request] for request in requests]
    right = seek.ask_decord(path, requests, size)
    wrong = seek.ask_decord(path, moved, size)
    return [(*shown[:2], *told[2:]) for shown, told in zip(wrong, right, strict=True)]


def wrong_once(path: str, requests: list[list[int]], size: tuple[int, int]) -> list:
    answers = seek.ask_decord(path, requests, size)
    answers[0][1][7] = answers[0][1][8]
    return answers


def wrong_in_count(path: str, requests: list[list[int]], size: tuple[int, int]) -> list:
    return [(*answer, count + 1) for *answer, count in seek.ask_decord(path, requests, size)]


def wrong_in_time(path: str, requests: list[list[int]], size: tuple[int, int]) -> list:
    return [(prints, sums, 2 * times, count) for prints, sums, times, count in seek.ask_decord(path, requests, size)]


def inexact(path: str, requests: list[list[int]], size: tuple[int, int]) -> list:
    """What another FFmpeg might decode: the same frames, not to the bit."""
    answers = seek.ask_decord(path, requests, size)
    return [(prints ^ 1, [0] * len(sums), *rest) for prints, sums, *rest in answers]


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (wrong_by_one, False),
        (wrong_once, False),
        (wrong_in_count, False),
        (wrong_in_time, False),
        (inexact, True),
    ],
)
def test_answers_of_random_access_are_compared(
    guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: object, right: bool
) -> None:
    write_video(tmp_path / "a.mp4", numbers(40))
    monkeypatch.setattr(seek, "ask_decord", answer)
    assert scan(tmp_path / "a.mp4", guard=guard)[0].seek == right


def test_duplicate_frames_do_not_hide_or_fake_a_shift(
    guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tripled = (numbered(number // 3) for number in range(60))
    write_video(tmp_path / "a.mp4", tripled, crf=0, pix_fmt="yuv444p")
    assert scan(tmp_path / "a.mp4", guard=guard)[0].seek
    monkeypatch.setattr(seek, "ask_decord", wrong_by_one)
    assert not scan(tmp_path / "a.mp4", guard=guard)[0].seek


def test_a_file_with_made_up_parts_is_read_in_order(guard: Guard, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, numbers(60), codec="mpeg4", gop=12, bframes=0)
    data = bytearray(path.read_bytes())
    start, size = data.index(b"mdat"), len(data)
    rng = np.random.default_rng(0)
    for at in rng.integers(start + size // 3, start + size // 2, 12):
        data[at] ^= 0xFF
    path.write_bytes(bytes(data))
    info = probe(path, guard=guard)
    assert not info.seek
    asked = rng.integers(0, info.frames, 10)
    video, frames = Video(path, info), Video(path, info).frames(range(info.frames))
    assert np.array_equal(video.frames(asked), frames[asked])
