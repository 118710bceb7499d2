"""Files that decord reads wrong are read in order, by their structure and not by luck; those it reads right are proven frame by frame."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssvid.video.guard import Guard
from ssvid.video.reader import Video
from ssvid.video.scan import scan
from ssvid.video.seek import PacketTable, frames_to_ask
from ssvid.video.writer import write_video
from tests.videos import mux, numbers, read_numbers

COUNT = 100
OPEN = {"flags": "-cgop", "x264-params": "open_gop=1:keyint=24:min-keyint=24:scenecut=0:bframes=3:b-adapt=0"}
CLOSED = {"x264-params": "keyint=25:min-keyint=25:scenecut=0:bframes=3"}
HEVC = {"preset": "ultrafast", "x265-params": "log-level=error:keyint=25:min-keyint=25:open-gop=0:bframes=4"}
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}

IN_ORDER = {
    "fragments.mp4": ("libx264", {"g": "25"}, FRAGMENTS, "fragmented"),
    "closed.flv": ("libx264", CLOSED, {}, "no index"),
    "closed.ts": ("libx264", CLOSED, {}, "no index"),
    "wmv.wmv": ("wmv1", {"g": "40"}, {}, "no index"),
    "mpeg2.mpg": ("mpeg2video", {"bf": "2", "g": "12"}, {}, "no index"),
    "open.mp4": ("libx264", OPEN, {}, "before the key frame"),
    "open.mkv": ("libx264", OPEN, {}, "before the key frame"),
    "hevc.mp4": ("libx265", HEVC, {}, "by chance"),
}


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with Guard() as guard:
        yield guard


@pytest.mark.parametrize("name", IN_ORDER)
def test_what_decord_cannot_seek_in_is_read_in_order(
    guard: Guard, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    codec, options, container_options, words = IN_ORDER[name]
    path = mux(tmp_path / name, codec, numbers(COUNT), options, container_options)
    with caplog.at_level(logging.INFO):
        info, _ = scan(path, guard=guard)
    assert not info.seek
    assert words in caplog.text
    assert read_numbers(Video(path, info).frames(range(COUNT))) == list(range(COUNT))


@pytest.mark.parametrize("name", ["closed.mp4", "closed.mkv", "closed.mov"])
@pytest.mark.parametrize("count", [COUNT, 320])  # all frames are compared, or those at key frames and the end
def test_closed_groups_with_an_index_are_read_at_random(guard: Guard, tmp_path: Path, name: str, count: int) -> None:
    path = mux(tmp_path / name, "libx264", numbers(count), CLOSED)
    info, _ = scan(path, guard=guard)
    assert info.seek
    asked = [0, 1, 24, 25, 26, 49, 50, count - 2, count - 1]
    assert [read_numbers(Video(path, info).frames([one]))[0] for one in asked] == asked


def test_every_frame_is_compared_after_a_seek() -> None:
    first, second, last = frames_to_ask([0, 10, 20, 30], 35, plain=False)
    assert sorted({*first, *second}) == list(range(35))
    assert last == [34]
    for asked in (first, second):
        assert asked == sorted(asked)
    # a key frame is reached by a seek where the frame before it was not asked for
    by_seek = {key for key in (10, 20, 30) for asked in (first, second) if key in asked and key - 1 not in asked}
    assert by_seek == {10, 20, 30}
    assert all(any(key - 1 in asked and key in asked for asked in (first, second)) for key in (10, 20, 30))


def test_of_long_plain_files_key_frames_and_both_ends_are_compared() -> None:
    keys = list(range(0, 1000, 50))
    asked = frames_to_ask(keys, 1000, plain=True)
    flat = {number for request in asked for number in request}
    assert flat >= {*range(50), *range(950, 1000), *keys, *(key + 1 for key in keys)}
    assert len(flat) < 200
    assert len({number for request in frames_to_ask(keys, 1000, plain=False) for number in request}) == 1000


def test_one_key_frame_and_only_key_frames() -> None:
    assert frames_to_ask([0], 5, plain=False) == [[0, 1, 2, 3, 4], [4]]
    assert frames_to_ask([0, 1, 2, 3], 4, plain=True) == [[0, 2], [1, 3], [3]]


def test_groups_are_closed_where_no_frame_is_shown_across_a_key_frame() -> None:
    assert PacketTable([0, 2, 1, 3, 5, 4], [0, 3]).closed
    assert not PacketTable([0, 2, 1, 5, 3, 4], [0, 3]).closed  # 3 and 4 are shown before the key frame 5
    assert not PacketTable([0, 1, 4, 3, 5], [0, 3]).closed  # 4 is shown after it
    assert PacketTable([0, 2, 1], [0]).reordered
    assert not PacketTable([0, 1, 2], [0]).reordered


@pytest.mark.parametrize(("options", "restarts"), [(CLOSED, True), (OPEN, False)])
@pytest.mark.parametrize("suffix", ["mp4", "ts"])  # units behind their lengths, and behind start codes
def test_key_frames_that_clear_the_decoder_are_told(
    tmp_path: Path, options: dict[str, str], restarts: bool, suffix: str
) -> None:
    import av

    path = mux(tmp_path / f"a.{suffix}", "libx264", numbers(60), options)
    table = PacketTable()
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            table.add(packet)
    assert len(table.keys) > 1
    assert table.restarts == restarts


def test_the_last_frames_are_right_after_a_seek(guard: Guard, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", numbers(COUNT), gop=12, bframes=2)
    info, _ = scan(tmp_path / "a.mp4", guard=guard)
    for index in range(COUNT - 6, COUNT):
        assert read_numbers(Video(info.path, info).frames([index])) == [index]
