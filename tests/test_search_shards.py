"""A collection made in shards: the same on every engine, and what was made before a stop is not made again."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssvid.data.scanning import open_data
from ssvid.errors import ConfigError, DataError, SsvidError
from ssvid.search.building import build
from ssvid.search.collection import Collection
from ssvid.search.shards import Shard, encode_in_shards, read_shard, write_shard
from tests.footage import COUNT, encoder, make_footage
from tests.test_cli import called
from tests.test_engine import cluster, needs_ray  # noqa: F401  a fixture
from tests.test_retrieve_cli import MODEL

SIZE = 3  # ids a shard, so that eight videos are several
TOY = (Path(__file__).parent / "toy.py").read_text().replace("def build(", "def toy(")
DEADLY = """
import os, signal
from pathlib import Path

class Deadly(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, clips):
        marks = Path(__file__).with_name("marks")
        if os.getpid() == int(Path(__file__).with_name("caller").read_text()):
            return self.net(clips)
        number = len(list(marks.iterdir()))
        (marks / f"{number}-{os.getpid()}").touch()
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.net(clips)

def build(name):
    return Deadly(toy(name))
"""


@pytest.fixture(scope="module")
def footage(tmp_path_factory) -> Path:
    return make_footage(tmp_path_factory.mktemp("footage"))


def damaged(footage: Path, folder: Path) -> list[str]:
    """An index of the footage in which one video cannot be decoded any more."""
    copied = shutil.copytree(footage.parent, folder / "v")
    source = str(open_data([copied / "list.csv"]).path)
    broken = copied / "4.mp4"
    stat, data = broken.stat(), broken.read_bytes()
    broken.write_bytes(data[:100] + bytes(len(data) - 100))
    os.utime(broken, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return [source]


def contents(collection: Collection) -> tuple:
    with collection.index.database() as database:
        rows = database.execute("SELECT position, video, start, end FROM segments ORDER BY position").fetchall()
    bad = [(one.path, one.reason) for one in collection.index.bad()]
    return collection.vectors.array().tobytes(), rows, bad


@pytest.mark.parametrize("unit", ["video", "clip"])
def test_two_processes_make_the_same_collection(footage, tmp_path, unit):
    data = damaged(footage, tmp_path)
    here = build(tmp_path / "here", data, encoder(unit), shard=SIZE)
    there = build(tmp_path / "there", data, encoder(unit), shard=SIZE, engine="local:2")
    assert contents(there) == contents(here)
    assert len(contents(here)[2]) == 1
    assert not (tmp_path / "there" / "shards").exists()


@needs_ray
def test_a_ray_cluster_makes_the_same_collection(footage, tmp_path, cluster):  # noqa: F811
    here = build(tmp_path / "here", [footage], encoder("clip"), shard=SIZE)
    there = build(tmp_path / "there", [footage], encoder("clip"), shard=SIZE, engine="ray")
    assert contents(there) == contents(here)


@pytest.fixture
def deadly(tmp_path) -> str:
    """A backbone that kills its process once, in the middle of the videos; not that of the caller, who tries it as he begins."""
    (tmp_path / "marks").mkdir()
    (tmp_path / "caller").write_text(str(os.getpid()))
    (tmp_path / "deadly.py").write_text(TOY + DEADLY)
    return f"{tmp_path / 'deadly.py'}:toy"


def test_a_killed_process_costs_its_shard_and_the_same_call_goes_on(footage, tmp_path, deadly):
    made = encoder("clip", deadly)
    with pytest.raises(SsvidError, match=r"ended from outside.*the same command goes on"):
        build(tmp_path / "c", [footage], made, shard=1, engine="local:2")
    done = list((tmp_path / "c" / "shards").glob("[0-9]*.npz"))  # and not what was being written
    before = len(list((tmp_path / "marks").iterdir()))
    again = build(tmp_path / "c", [footage], made, shard=1, engine="local:2")
    assert done
    assert len(list((tmp_path / "marks").iterdir())) - before == COUNT - len(done)
    assert contents(again) == contents(build(tmp_path / "whole", [footage], made, shard=1))


@needs_ray
def test_a_killed_worker_of_ray_costs_its_shard(footage, tmp_path, deadly, cluster):  # noqa: F811
    made = encoder("clip", deadly)
    killed = build(tmp_path / "c", [footage], made, shard=2, engine="ray")
    assert contents(killed) == contents(build(tmp_path / "whole", [footage], made, shard=2))


def test_the_command_takes_an_engine(footage, tmp_path, monkeypatch, capsys):
    found = []
    for engine in ("local:1", "local:2"):
        folder = tmp_path / engine
        code, _, err = called(
            monkeypatch, capsys, "retrieve", "index", str(footage), "-o", str(folder), *MODEL, "--engine", engine
        )
        assert code == 0, err
        found.append(contents(Collection(folder)))
    assert found[0] == found[1]
    assert called(monkeypatch, capsys, "retrieve", "index", "v", "-o", "c", *MODEL, "--engine", "dask")[0] == 2


def shard_of(folder: Path, footage: Path, key: str | None = None) -> Shard:
    made, videos = encoder(), open_data([footage]).videos()
    first = [video for video in videos if video.id // SIZE == videos[0].id // SIZE]
    path = folder / "shards" / f"{first[0].id // SIZE}-{made.key}.npz"
    return Shard(path, first, made.model, made.unit, made.view, made.device, made.workers, key or made.key)


def test_what_is_there_is_not_made_again(footage, tmp_path):
    shard = shard_of(tmp_path, footage)
    write_shard(shard)
    before = os.stat(shard.path)
    write_shard(shard)  # as a second worker would
    assert os.stat(shard.path).st_ino == before.st_ino
    with np.load(shard.path) as file:
        held = dict(file)
    held["vectors"] = held["vectors"] + 1  # to be told from what would be made now
    np.savez(shard.path, **held)
    for engine in ("local:1", "local:2"):
        kept = shutil.copytree(tmp_path / "shards", tmp_path / engine / "shards").parent
        found = list(encode_in_shards(encoder(), open_data([footage]).videos(), kept, engine, SIZE))
        assert [one.video.id for one in found] == sorted(one.video.id for one in found)
        assert len(found) == COUNT
        assert np.array_equal(np.concatenate([one.vectors for one in found[: len(shard.videos)]]), held["vectors"])


def test_a_shard_of_another_state_of_its_videos_or_a_damaged_one_does_not_count(footage, tmp_path):
    shard = shard_of(tmp_path, footage)
    write_shard(shard)
    fewer = replace(shard, videos=shard.videos[1:])
    assert [one.video.id for one in read_shard(fewer)] == [video.id for video in fewer.videos]
    changed = replace(shard.videos[0], info=replace(shard.videos[0].info, identity="other"))
    masked = replace(shard.videos[0], hidden=np.ones((2, 2), bool))
    assert read_shard(replace(shard, videos=[changed])) is None
    assert read_shard(replace(shard, videos=[masked])) is None
    shard.path.write_bytes(shard.path.read_bytes()[:100])
    assert read_shard(shard) is None


def test_other_weights_in_a_worker_are_refused(footage, tmp_path):
    with pytest.raises(DataError, match="other weights"):
        write_shard(shard_of(tmp_path, footage, key="0" * 16))


def test_an_engine_that_does_not_exist_is_told_first(footage, tmp_path):
    with pytest.raises(ConfigError, match="no engine"):
        build(tmp_path / "c", [footage], encoder(), engine="dask")
    assert not (tmp_path / "c").exists()
