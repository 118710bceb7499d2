"""The index loses nothing: not when killed, not when a file is bad, not when videos change."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssvid.data.index import Index
from ssvid.data.layouts import Entry
from ssvid.data.scanning import open_data, scan_videos, write_training_copies
from ssvid.data.video_record import fingerprint
from ssvid.errors import DataError, VideoError
from ssvid.video.reader import Video, short_side
from ssvid.video.writer import write_video


def noise(path: Path, frames: int = 20, seed: int = 0, **options) -> Path:
    small = np.random.default_rng(seed).integers(0, 256, (frames, 6, 8, 3), dtype=np.uint8)
    write_video(path, small.repeat(8, 1).repeat(8, 2), **options)
    return path


def test_rows_hold_what_the_scan_found(tmp_path):
    noise(tmp_path / "run" / "a.mp4", 25, fps=12.5)
    (tmp_path / "run" / "broken.mp4").write_bytes(b"this is no video")
    index = Index(tmp_path / "i.sqlite", create=True)
    seen = []
    summary = scan_videos([tmp_path / "run"], index, engine="local:1", progress=lambda *told: seen.append(told))
    assert (summary.usable, summary.bad, summary.scanned) == (1, 1, 2)
    assert seen[-1] == ("scanning", 2, 2)
    video = index.videos()[0]
    assert (video.info.frames, video.info.fps, video.info.width, video.info.height) == (25, 12.5, 64, 48)
    np.testing.assert_allclose(video.info.times, np.arange(25) / 12.5, atol=1e-3)
    assert len(video.shots.motion) == 25
    assert index.bad()[0].path.endswith("broken.mp4")
    assert index.bad()[0].reason


def test_a_second_scan_does_only_what_is_new_or_changed(tmp_path):
    noise(tmp_path / "v" / "a.mp4")
    noise(tmp_path / "v" / "b.mp4", seed=1)
    index = Index(tmp_path / "i.sqlite", create=True)
    assert scan_videos([tmp_path / "v"], index, engine="local:1").scanned == 2
    assert scan_videos([tmp_path / "v"], index, engine="local:1").scanned == 0
    before = fingerprint(index.videos())
    noise(tmp_path / "v" / "b.mp4", frames=30, seed=2)
    noise(tmp_path / "v" / "c.mp4", seed=3)
    assert scan_videos([tmp_path / "v"], index, engine="local:1").scanned == 2
    assert [video.info.frames for video in index.videos()] == [20, 30, 20]
    assert fingerprint(index.videos()) != before


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_killed_at_any_moment_a_second_call_goes_on(tmp_path):
    for number in range(8):
        noise(tmp_path / "v" / f"{number}.mp4", seed=number)
    command = [
        sys.executable,
        "-m",
        "ssvid",
        "index",
        str(tmp_path / "v"),
        "-o",
        str(tmp_path / "i.sqlite"),
        "--engine",
        "local:1",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:  # let it finish one video at least, then kill it
        made = (tmp_path / "i.sqlite").exists() and (tmp_path / "i.sqlite").stat().st_size  # else it has no tables yet
        if made and len(Index(tmp_path / "i.sqlite")) >= 1:
            break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    index = Index(tmp_path / "i.sqlite")
    done = {video.path: video.info.times.tolist() for video in index.videos()}
    assert len(done) >= 1
    summary = scan_videos([tmp_path / "v"], index, engine="local:1")
    assert summary.scanned == 8 - len(done)
    assert summary.usable == 8
    assert {video.path: video.info.times.tolist() for video in index.videos() if video.path in done} == done


def test_raw_copies_are_the_decoded_frames_themselves(tmp_path):
    times = np.cumsum(np.random.default_rng(0).choice([1, 2, 3], 24)) / 30
    noise(tmp_path / "v" / "even.mp4", 30, gop=250, bframes=3)
    noise(tmp_path / "v" / "uneven.mkv", 24, times=times)
    index = Index(tmp_path / "i.sqlite", create=True)
    scan_videos([tmp_path / "v"], index, engine="local:1")
    assert write_training_copies(index, tmp_path / "copies", raw=True, engine="local:1") == 2
    assert sorted(path.suffix for path in (tmp_path / "copies").iterdir()) == [".npy", ".npy"]
    picked = np.array([17, 3, 20, 3])
    for video in index.videos():
        np.testing.assert_array_equal(video.source.times, video.info.times)
        direct = Video(video.path, replace(video.info, seek=False)).frames(picked)
        np.testing.assert_array_equal(Video(video.source.path, video.source).frames(picked), direct)
        smaller = Video(video.source.path, video.source).frames(picked, 24)
        assert smaller.shape == (4, *short_side(video.info.height, video.info.width, 24), 3)
        assert np.abs(smaller.astype(float) - Video(video.path, video.info).frames(picked, 24)).mean() < 4
    gone = index.videos()[0].source
    Path(gone.path).unlink()
    with pytest.raises(VideoError, match="make the index anew"):
        Video(gone.path, gone).frames([0])


def test_copies_hold_the_same_frames_at_the_same_times(tmp_path):
    times = np.cumsum(np.random.default_rng(0).choice([1, 2, 3], 24)) / 30
    noise(tmp_path / "v" / "even.mp4", 30, gop=250, bframes=3)
    noise(tmp_path / "v" / "uneven.mkv", 24, times=times)
    index = Index(tmp_path / "i.sqlite", create=True)
    scan_videos([tmp_path / "v"], index, engine="local:1")
    assert write_training_copies(index, tmp_path / "copies", short_side=32, engine="local:1") == 2
    assert write_training_copies(index, tmp_path / "copies", short_side=32, engine="local:1") == 0
    for video in index.videos():
        assert video.source.path != video.path
        assert (video.source.height, video.source.width) == (32, 44)  # even sides, as H.264 wants: 42.7 becomes 44
        copy = Video(video.source.path)
        assert copy.info.seek
        np.testing.assert_allclose(copy.times, video.info.times, atol=2e-3)
        picked = np.array([17, 3, 20])
        copied = Video(video.source.path, video.source).frames(picked).astype(float)
        for shift, least, most in (
            (0, 0, 20),
            (1, 40, 255),
        ):  # like the same frame, unlike the next, which is other noise
            original = Video(video.path, video.info).frames(picked + shift, (32, 44))
            assert least <= np.abs(copied - original).mean() <= most


def test_copies_that_are_gone_or_of_another_kind_are_made_again(tmp_path):
    noise(tmp_path / "v" / "a.mp4")
    noise(tmp_path / "v" / "b.mp4", seed=1)
    index = Index(tmp_path / "i.sqlite", create=True)
    scan_videos([tmp_path / "v"], index, engine="local:1")

    def written(**settings) -> int:
        return write_training_copies(index, tmp_path / "copies", engine="local:1", **settings)

    assert written(short_side=32) == 2
    Path(index.videos()[0].source.path).unlink()
    assert written(short_side=32) == 1
    assert written(short_side=24) == 2
    assert {video.source.height for video in index.videos()} == {24}
    assert written(short_side=24, raw=True) == 2
    assert {Path(video.source.path).suffix for video in index.videos()} == {".npy"}
    assert written(short_side=24, raw=True) == 0


def test_labels_can_be_corrected_without_another_scan(tmp_path):
    path = noise(tmp_path / "a.mp4").resolve()
    index = Index(tmp_path / "i.sqlite", create=True)
    scan_videos([path], index, engine="local:1")
    index.add([Entry(path, "run", "train", "g")])
    assert index.todo() == []
    assert (index.videos()[0].label, index.videos()[0].split, index.videos()[0].group) == ("run", "train", "g")
    assert index.classes == ["run"]
    assert index.videos("test") == []


def test_what_is_no_index_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        Index(tmp_path / "none.sqlite")
    (tmp_path / "text.sqlite").write_text("hello " * 100)
    with pytest.raises(DataError, match="not an index"):
        Index(tmp_path / "text.sqlite")


def test_open_data_scans_a_folder_once_and_keeps_the_index(tmp_path):
    noise(tmp_path / "v" / "a.mp4")
    first = open_data([tmp_path / "v"])
    assert len(first) == 1
    assert open_data([tmp_path / "v"]).path == first.path
    shutil.rmtree(tmp_path / "v")
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "a.mp4").write_text("no video")
    with pytest.raises(DataError, match=r"no usable video.*a\.mp4"):
        open_data([tmp_path / "v"])


def test_a_copy_that_is_gone_is_written_again(tmp_path):
    noise(tmp_path / "v" / "a.mp4", 30)
    index = Index(tmp_path / "i.sqlite", create=True)
    scan_videos([tmp_path / "v"], index, engine="local:1")
    assert write_training_copies(index, tmp_path / "copies", short_side=32, engine="local:1") == 1
    source = index.videos()[0].source
    Path(source.path).unlink()
    with pytest.raises(VideoError, match=r"no such file.*ssvid index"):
        Video(source.path, source).frames([0])
    assert write_training_copies(index, tmp_path / "copies", short_side=32, engine="local:1") == 1
    source = index.videos()[0].source
    assert len(Video(source.path, source).frames([0])) == 1


def test_an_original_that_was_replaced_is_not_read_under_its_old_record(tmp_path):
    noise(tmp_path / "v" / "a.mp4", 30)
    index = Index(tmp_path / "i.sqlite", create=True)
    scan_videos([tmp_path / "v"], index, engine="local:1")
    record = index.videos()[0]
    noise(tmp_path / "v" / "a.mp4", 31)
    with pytest.raises(VideoError, match=r"a\.mp4: has changed since it was indexed.*ssvid index"):
        Video(record.path, record.info).frames([0])
    scan_videos([tmp_path / "v"], index, engine="local:1")
    record = index.videos()[0]
    assert record.info.frames == 31
    assert len(Video(record.path, record.info).frames([30])) == 1


def test_orientation_and_identity_come_back_from_the_index(tmp_path):
    noise(tmp_path / "v" / "a.mp4", 12)
    index = Index(tmp_path / "i.sqlite", create=True)
    scan_videos([tmp_path / "v"], index, engine="local:1")
    record = index.videos()[0]
    index.set_scanned(record.id, replace(record.info, rotation=90, mirror=True), record.shots)
    again = index.videos()[0].info
    assert (again.rotation, again.mirror, again.identity) == (90, True, record.info.identity)
    assert again.identity
