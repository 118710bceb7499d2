"""Training copies that share a file: the same bits as those with a file each, written again where they were lost."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import ssvid
from ssvid.cli import app
from ssvid.config import PretrainConfig, resume_config
from ssvid.data.index import Index
from ssvid.data.index_files import move_index
from ssvid.data.loader import load
from ssvid.data.scanning import scan_videos, write_training_copies
from ssvid.errors import SsvidError, VideoError
from ssvid.training.build import build_task
from ssvid.training.fit import pretrain
from ssvid.training.sampler import PlanSampler
from ssvid.training.videos import training_videos
from ssvid.video import location
from ssvid.video.reader import Video
from ssvid.video.writer import write_video
from tests.footage import panning
from tests.videos import numbers, read_numbers

TOY = str(Path(__file__).parent / "toy.py:toy")


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """An index of five videos of 20 to 24 frames, and these."""
    folder = tmp_path_factory.mktemp("kept")
    for count in range(20, 25):
        write_video(folder / "videos" / f"{count}.mp4", numbers(count))
    scan_videos([folder / "videos"], Index(folder / "i.sqlite", create=True), engine="local:1")
    return folder


@pytest.fixture
def index(kept, tmp_path) -> Index:
    """The same at a place of its own."""
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    index = Index(tmp_path / "i.sqlite")
    move_index(index, kept, tmp_path)
    return index


def write(index: Index, folder: Path, **settings: object) -> int:
    return write_training_copies(index, folder, short_side=32, engine="local:1", **settings)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("raw", [True, False])
def test_frames_are_those_of_single_files(index, tmp_path, monkeypatch, raw):
    asked = [np.array([0, 7, 8, 19]), np.array([19])]

    def frames() -> list[np.ndarray]:
        return [Video(video.source.path, video.source).frames(some, 32) for video in index.videos() for some in asked]

    assert write(index, tmp_path / "single", raw=raw) == 5
    single = frames()
    shutil.rmtree(tmp_path / "single")
    assert write(index, tmp_path / "shards", raw=raw, shard=2) == 5
    assert write(index, tmp_path / "shards", raw=raw, shard=2) == 0
    assert len(digests(tmp_path / "shards")) == 3
    monkeypatch.setenv("SSVID_CACHE", str(tmp_path / "cache"))
    assert all(np.array_equal(one, other) for one, other in zip(frames(), single, strict=True))
    assert not list((tmp_path / "cache" / "remote").glob("*.mp4"))  # they were read in their place
    shutil.rmtree(tmp_path / "videos")
    assert read_numbers(Video(index.videos()[4].source.path, index.videos()[4].source).frames([23])) == [23]


def training_batches(config: PretrainConfig, start: int = 0) -> list[np.ndarray]:
    """What the training steps from `start` on are given."""
    task = build_task(config)
    videos, _ = training_videos(task, Index(config.data[0]), config.split)
    plans = PlanSampler(task, videos, config, start)
    return [batch.clips.numpy() for batch in load(plans, task.augment.decode_size)]


@pytest.mark.parametrize("raw", [True, False])
def test_training_sees_the_same_bits_also_when_it_is_resumed(tmp_path, raw):
    for seed in range(4):
        write_video(tmp_path / "films" / f"{seed}.mp4", panning(seed, 20, 32, 48))
    index = Index(tmp_path / "films.sqlite", create=True)
    scan_videos([tmp_path / "films"], index, engine="local:1")
    write(index, tmp_path / "single", raw=raw)
    settings = {"steps": 4, "batch": 2, "log_every": 1, "save_every": 1, "frames": 6, "size": (24, 32), "workers": 0}
    first = ssvid.pretrain("speednet", index.path, backbone=TOY, out=str(tmp_path / "one"), **settings)
    single = training_batches(first.config)
    shutil.rmtree(tmp_path / "single")
    write(index, tmp_path / "shards", raw=raw, shard=2)

    def stop(line: dict[str, object]) -> None:
        if line.get("step") == 2:
            signal.raise_signal(signal.SIGTERM)

    config = replace(first.config, out=str(tmp_path / "two"))
    with pytest.raises(SsvidError, match="--resume"):
        pretrain(config, report=stop)
    second = pretrain(resume_config(tmp_path / "two"), resume=True)
    shards = training_batches(second.config), training_batches(second.config, start=2)
    assert len(single) == 4
    assert all(np.array_equal(one, other) for one, other in zip(single, shards[0], strict=True))
    assert all(np.array_equal(one, other) for one, other in zip(single[2:], shards[1], strict=True))
    # sums of floats in one process depend on where its memory lies
    losses = [[line["loss"] for line in run.metrics()] for run in (first, second)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)


def test_a_lost_tar_is_written_again_bit_by_bit(index, tmp_path):
    folder = tmp_path / "shards"
    assert write(index, folder, shard=2) == 5
    before = digests(folder)
    lost = sorted(folder.iterdir())[0]
    with tarfile.open(lost) as tar:
        count = len(tar.getnames())
    lost.unlink()
    assert write(index, folder, shard=2) == count
    assert digests(folder) == before


def test_a_stop_loses_no_tar_and_leaves_no_part(index, tmp_path):
    def stop(what: str, done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(index, tmp_path / "shards", shard=2, progress=stop)
    before = digests(tmp_path / "shards")
    assert {Path(name).suffix for name in before} == {".tar"}
    done = sum(video.copy is not None for video in index.videos())
    assert 0 < done < 5
    assert write(index, tmp_path / "shards", shard=2) == 5 - done
    after = digests(tmp_path / "shards")
    assert len(after) == 3
    assert before.items() <= after.items()


def test_a_copy_that_fails_leaves_the_others(index, tmp_path, caplog):
    write_video(tmp_path / "videos" / "21.mp4", numbers(9))  # another video than the one that was scanned
    assert write(index, tmp_path / "shards", shard=5) == 4
    assert "21.mp4: has no training copy" in caplog.text


def test_another_tar_under_the_same_name_is_told(index, tmp_path):
    write(index, tmp_path / "shards", shard=5)
    video = index.videos()[0].source
    tar, member = video.path.rsplit("/", 1)
    with tarfile.open(tar, "w") as out:
        write_video(tmp_path / "else.mp4", numbers(20))
        out.add(tmp_path / "else.mp4", member)
    with pytest.raises(VideoError, match="has changed since it was indexed"):
        Video(video.path, video).frames([0])


def test_they_move_with_an_index(index, tmp_path):
    write(index, tmp_path / "shards", raw=True, shard=5)
    before = Video(index.videos()[0].source.path, index.videos()[0].source).frames([3], 32)
    (tmp_path / "there").mkdir()
    for name in ("videos", "shards"):
        (tmp_path / name).rename(tmp_path / "there" / name)
    move_index(index, tmp_path, tmp_path / "there")
    source = index.videos()[0].source
    assert location.local_range(source.path).file.startswith(str(tmp_path / "there"))
    assert np.array_equal(Video(source.path, source).frames([3], 32), before)


def test_the_command_writes_them(index, tmp_path):
    words = ["index", str(tmp_path / "videos"), "-o", str(index.path), "--engine", "local:1", "--json"]
    refused = CliRunner().invoke(app, [*words, "--shard", "3"])
    assert "--transcode" in str(refused.exception)
    result = CliRunner().invoke(app, [*words, "--transcode", str(tmp_path / "shards"), "--raw", "--shard", "3"])
    assert json.loads(result.stdout)["copies"] == 5
    assert len(list((tmp_path / "shards").glob("*.tar"))) == 2
