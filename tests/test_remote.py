"""Videos behind an address: indexed, read and checked as those on a disk, by way of a cache that keeps its bound."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ssvid.cli import app
from ssvid.config import PretrainConfig
from ssvid.data.index import Index
from ssvid.data.index_files import check_files
from ssvid.data.layouts import read_layout
from ssvid.data.loader import SamplePlan, load
from ssvid.data.scanning import open_data, scan_videos, write_training_copies
from ssvid.errors import ConfigError, DataError, VideoError
from ssvid.evaluation.splits import name_of
from ssvid.training.run_paths import absolute
from ssvid.video import fetched
from ssvid.video.location import local_file
from ssvid.video.reader import Video
from ssvid.video.writer import write_video
from tests.buckets import bucket_of
from tests.served import served
from tests.videos import numbers, read_numbers


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SSVID_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "remote"


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """Two classes of a training split and a test video."""
    folder = tmp_path_factory.mktemp("kept")
    for place, count in (("train/run/a.mp4", 12), ("train/jump/b c.mp4", 14), ("test/run/d.mp4", 16)):
        write_video(folder / place, numbers(count))
    (folder / "train" / "notes.txt").write_text("no video")
    return folder


@pytest.fixture
def folder(kept, tmp_path) -> Path:
    import shutil

    return Path(shutil.copytree(kept, tmp_path / "videos"))


def scanned(source: object, path: Path) -> Index:
    index = Index(path, create=True)
    scan_videos([str(source)], index, engine="local:1")
    return index


def batches(index: Index, workers: int) -> list[np.ndarray]:
    videos = index.videos()
    plans = [[SamplePlan(video, 0, np.array([[1, 3, 5]]), np.zeros(1), {}, 0.5, 32)] for video in videos]
    return [batch.clips.numpy() for batch in load(plans, 32, workers=workers)]


def test_what_is_served_is_read_as_what_is_on_a_disk(folder, tmp_path):
    local = scanned(folder, tmp_path / "local.sqlite")
    with served(folder) as server:
        index = scanned(f"{server.url}/", tmp_path / "remote.sqlite")
        found = {(Path(video.path).stem.replace("%20", " "), video.label, video.split) for video in index.videos()}
        assert found == {("a", "run", "train"), ("b c", "jump", "train"), ("d", "run", "test")}
        assert all(video.path.startswith(f"{server.url}/") for video in index.videos())
        by_name = {Path(video.path).stem: video for video in local.videos()}
        for video in index.videos():
            other = by_name[Path(video.path).stem.replace("%20", " ")]
            assert (video.info.frames, video.info.fps, video.shots.cuts) == (
                other.info.frames,
                other.info.fps,
                other.shots.cuts,
            )
            assert np.array_equal(video.info.times, other.info.times)
        count = len(server.asked)
        assert count == 3  # each was fetched once
        mine, theirs = batches(index, workers=1), batches(local, workers=1)
        assert all(np.array_equal(one, other) for one, other in zip(mine, theirs, strict=True))
        assert len(server.asked) == count  # and was still there
        CliRunner().invoke(app, ["cache", "clear", "remote"])
        again = batches(index, workers=1)  # a forked worker fetches
        assert all(np.array_equal(one, other) for one, other in zip(again, theirs, strict=True))
        assert len(server.asked) == 2 * count
    video = index.videos(paths=[index.videos()[0].path])[0]  # the server is gone, the copies are not
    assert read_numbers(Video(video.path, video.info).frames([2, 7])) == [2, 7]


def test_a_cleared_cache_is_filled_again_and_a_copy_needs_none(folder, tmp_path, cache):
    with served(folder) as server:
        index = scanned(f"{server.url}/train/run", tmp_path / "i.sqlite")
        assert CliRunner().invoke(app, ["cache", "clear", "remote"]).exit_code == 0
        assert not cache.exists()
        (clip,) = batches(index, workers=0)
        assert write_training_copies(index, tmp_path / "copies", short_side=32, engine="local:1") == 1
    CliRunner().invoke(app, ["cache", "clear", "remote"])
    assert batches(index, workers=0)[0].shape == clip.shape


def test_a_change_at_the_server_is_told(folder, tmp_path):
    with served(folder) as server:
        index = scanned(f"{server.url}/train", tmp_path / "i.sqlite")
        assert not check_files(index)
        write_video(folder / "train/run/a.mp4", numbers(9))
        (folder / "train/jump/b c.mp4").unlink()
        found = check_files(index)
        assert [Path(path).name for path in found.changed] == ["a.mp4"]
        assert [Path(path).name for path in found.gone] == ["b%20c.mp4"]
        CliRunner().invoke(app, ["cache", "clear", "remote"])
        changed = next(video for video in index.videos() if video.label == "run")
        with pytest.raises(VideoError, match="has changed since it was indexed"):
            Video(changed.path, changed.info).frames([0])
        scan_videos([f"{server.url}/train"], index, engine="local:1")
        assert [video.info.frames for video in index.videos()] == [9]


def test_a_file_that_was_only_touched_is_the_same(folder, tmp_path):
    with served(folder) as server:
        index = scanned(f"{server.url}/train/run", tmp_path / "i.sqlite")
        os.utime(folder / "train/run/a.mp4", (1e9, 1e9))
        assert not check_files(index)


def test_a_list_and_any_protocol_of_fsspec(folder, tmp_path):
    (tmp_path / "list.csv").write_text(
        f"path,label,split\nfile://{folder}/train/run/a.mp4,fast,val\nfile:///none.mp4,x,val\n"
    )
    index = scanned(tmp_path / "list.csv", tmp_path / "i.sqlite")
    (video,) = index.videos()
    assert (video.path, video.label, video.split) == (f"file://{folder}/train/run/a.mp4", "fast", "val")
    assert [bad.reason for bad in index.bad()] == ["no such file; check the address"]
    import fsspec

    with fsspec.open("memory://bucket/videos/train/jump/b.mp4", "wb") as file:
        file.write((folder / "train/jump/b c.mp4").read_bytes())
    entry = read_layout("memory://bucket/videos").entries[0]
    assert (entry.label, entry.split) == ("jump", "train")
    assert len(Video(entry.path)) == 14


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "library"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_buckets_are_read_with_the_library_of_each(scheme, library, folder, tmp_path):
    pytest.importorskip(library)
    with bucket_of(folder, "bucket") as url:
        keys = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "word"}
        places = {"FSSPEC_S3_ENDPOINT_URL": url, "STORAGE_EMULATOR_HOST": url, "SSVID_CACHE": str(tmp_path / "own")}

        def called(*words: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "ssvid", *words]
            return subprocess.run(command, env=os.environ | keys | places, capture_output=True, text=True, timeout=120)

        index = tmp_path / "i.sqlite"
        made = called("index", f"{scheme}://bucket/", "-o", str(index))
        assert made.returncode == 0, made.stderr
        found = {(Path(video.path).stem, video.label, video.split) for video in Index(index).videos()}
        assert found == {("a", "run", "train"), ("b c", "jump", "train"), ("d", "run", "test")}
        assert all(video.path.startswith(f"{scheme}://bucket/") for video in Index(index).videos())
        write_video(folder / "train/run/a.mp4", numbers(9))
        checked = called("check-index", str(index))
        assert "3 videos, 1 changed, 0 gone, 0 moved" in checked.stdout
        missing = called("speediness", f"{scheme}://bucket/none.mp4", "--by", "motion")
        assert missing.returncode == 3
        assert f"{scheme}://bucket/none.mp4: no such file; check the address" in missing.stderr


def test_a_single_video_may_be_behind_an_address(folder, tmp_path):
    place = f"file://{folder}/test/run/d.mp4"
    curve = CliRunner().invoke(app, ["speediness", place, "--by", "motion", "--json"])
    assert len(json.loads(curve.stdout)["times"]) == 16
    box, out = ["--box", "2,2,20,20", "--model", "baseline_patches"], str(tmp_path / "t")
    for _ in range(2):  # a second call finds the same video in its folder
        tracked = CliRunner().invoke(app, ["track", place, *box, "-o", out, "--json"])
        assert tracked.exit_code == 0, tracked.output
        assert json.loads(tracked.stdout)["frames"] == 16
    assert json.loads((tmp_path / "t" / "points.json").read_text())["video"] == place
    refused = CliRunner().invoke(app, ["speedup", place, "-o", str(tmp_path / "fast.mp4")])
    assert f"{place}: only a file on this machine can be sped up; fetch it first" in str(refused.exception)


def test_it_is_opened_by_its_address_alone(folder):
    with served(folder) as server:
        index = open_data([f"{server.url}/test/run/d.mp4"])
        assert [video.info.frames for video in index.videos()] == [16]


def test_half_a_file_is_no_file_and_is_fetched_again_later(folder, tmp_path, cache, monkeypatch):
    monkeypatch.setattr("ssvid.video.remote.WAIT", 0.0)
    with served(folder) as server:
        server.cut = 100
        index = scanned(f"{server.url}/train/run", tmp_path / "i.sqlite")
        assert not index.videos()
        assert "cannot be reached" in index.bad()[0].reason
        assert len(server.asked) == 3  # it was tried again
        assert not [path for path in cache.iterdir() if not path.name.startswith(fetched.LOCK)]
        server.cut = 0
        scan_videos([f"{server.url}/train/run"], index, engine="local:1")
        assert len(index.videos()) == 1


def test_errors_name_the_address_and_what_to_do(folder, monkeypatch):
    with served(folder) as server:
        url = server.url
        server.refuse = 403
        with pytest.raises(VideoError, match=f"{url}/train/run/a.mp4: may not be read .*give credentials"):
            Video(f"{url}/train/run/a.mp4").info  # noqa: B018
        server.refuse = 0
        with pytest.raises(VideoError, match=f"{url}/none.mp4: no such file; check the address"):
            Video(f"{url}/none.mp4").info  # noqa: B018
        with pytest.raises(DataError, match=f"{url}/train/run/x: no such file|holds no video"):
            read_layout(f"{url}/train/run/x")
        with pytest.raises(DataError, match="fetch it and name the file"):
            read_layout(f"{url}/train.csv")
    with pytest.raises(
        VideoError, match=f"{url}/train/run/a.mp4: cannot be reached .*check the address and the network"
    ):
        Video(f"{url}/train/run/a.mp4").info  # noqa: B018
    with pytest.raises(VideoError, match="unknown protocol"):
        read_layout("nothing://bucket/videos")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(DataError, match=r"s3://bucket/videos is not on a disk.*pip install 'ssvid\[remote\]'"):
        read_layout("s3://bucket/videos")


def test_what_is_no_video_is_told_by_its_address(tmp_path):
    (tmp_path / "noise.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(VideoError, match=f"file://{tmp_path}/noise.mp4: is not a video"):
        Video(f"file://{tmp_path}/noise.mp4").info  # noqa: B018


def written(size: int):
    return lambda target: target.write_bytes(bytes(size))


def test_the_cache_keeps_its_bound_and_the_least_used_goes_first(cache, monkeypatch):
    monkeypatch.setenv("SSVID_REMOTE_GB", "0.0000035")  # 3500 bytes
    for name in ("one", "two", "three"):
        with fetched.held(name, written(1000)):
            pass
    with fetched.held("one", written(1)):  # used, so younger than two
        pass
    with fetched.held("four", written(1000)):
        assert {path.name for path in cache.iterdir() if path.stat().st_size} == {"one", "three", "four"}
    monkeypatch.setenv("SSVID_REMOTE_GB", "lots")
    with pytest.raises(ConfigError, match="SSVID_REMOTE_GB='lots' is not a number"):
        fetched.limit()


def test_what_is_read_stays_and_goes_afterwards(cache, monkeypatch):
    monkeypatch.setenv("SSVID_REMOTE_GB", "0")
    with fetched.held("one", written(1000)) as one:
        with fetched.held("two", written(1000)) as two:
            assert Path(one).exists()
            assert Path(two).exists()
        with fetched.held("three", written(1000)):
            assert Path(one).exists()
            assert not Path(two).exists()
    fetched.shrink(0)
    assert not Path(one).exists()


def test_clearing_the_cache_leaves_what_is_read(cache):
    with fetched.held("one", written(1000)) as one, fetched.held("two", written(1000)):
        pass
    with fetched.held("one", written(1)):
        freed = json.loads(CliRunner().invoke(app, ["cache", "clear", "remote", "--json"]).stdout)
        assert freed["bytes"] == 1000  # of the other
        assert Path(one).stat().st_size == 1000
    CliRunner().invoke(app, ["cache", "clear"])
    assert not cache.exists()


def fetch_many(source: str, seed: int, results) -> None:
    order = np.random.default_rng(seed).permutation(6)
    for number in [*order, *order]:
        with local_file(f"file://{source}/{number}.mp4") as file:
            results.put(Path(file).read_bytes() == bytes([number]) * 1000)


def test_several_processes_share_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SSVID_REMOTE_GB", "0.000002")  # two of six files
    for number in range(6):
        (tmp_path / f"{number}.mp4").write_bytes(bytes([number]) * 1000)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=fetch_many, args=(str(tmp_path), seed, results)) for seed in range(3)]
    for process in processes:
        process.start()
    assert all(results.get(timeout=30) for _ in range(36))
    for process in processes:
        process.join()
        assert process.exitcode == 0


def test_the_command_shows_the_bound(monkeypatch):
    monkeypatch.setenv("SSVID_REMOTE_GB", "2")
    shown = json.loads(CliRunner().invoke(app, ["cache", "--json"]).output)
    assert shown["remote_limit"] == 2_000_000_000
    assert "remote" in shown["kinds"]


def test_a_collection_is_asked_with_an_address(kept, tmp_path):
    base, collection = f"file://{kept}", str(tmp_path / "collection")
    view = ["--frames", "4", "--size", "32", "--clips", "1"]
    made = CliRunner().invoke(
        app, ["retrieve", "index", base, "--model", "baseline_histogram", "-o", collection, *view]
    )
    assert made.exit_code == 0, made.output
    asked = CliRunner().invoke(app, ["retrieve", "query", collection, f"{base}/train/run/a.mp4", "--json"])
    assert f"{base}/test/run/d.mp4" in asked.stdout
    left = CliRunner().invoke(app, ["retrieve", "remove", collection, f"{base}/test/run/d.mp4", "--json"])
    assert left.exit_code == 0
    asked = CliRunner().invoke(app, ["retrieve", "query", collection, f"{base}/train/run/a.mp4", "--json"])
    assert f"{base}/test/run/d.mp4" not in asked.stdout


def test_a_run_and_a_table_name_it_by_its_address():
    config = absolute(PretrainConfig(data=["s3://bucket/videos", "webdataset:gs://bucket/a.tar"]))
    assert config.data == ["s3://bucket/videos", "webdataset:gs://bucket/a.tar"]
    assert name_of("s3://bucket/videos/") == "videos"
