"""Collections that are built: killed and gone on with, built again, added to, taken from, and the space their vectors lie in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssvid.data.scanning import open_data
from ssvid.errors import ConfigError, DataError
from ssvid.search.building import add, build, remove
from ssvid.search.collection import Collection
from ssvid.video.writer import write_video
from tests.footage import COUNT, FPS, encoder, make_footage, names, panning


@pytest.fixture(scope="module")
def footage(tmp_path_factory) -> Path:
    return make_footage(tmp_path_factory.mktemp("footage"))


@pytest.fixture(scope="module")
def videos(footage, tmp_path_factory) -> Collection:
    return build(tmp_path_factory.mktemp("videos") / "c", [footage], encoder())


@pytest.fixture(scope="module")
def clips(footage, tmp_path_factory) -> Collection:
    return build(tmp_path_factory.mktemp("clips") / "c", [footage], encoder("clip"))


DYING = """
import os, signal, sys
import torch
from tests.footage import encoder
from ssvid.search.building import build
def print_progress(what, done, total):
    if what == "encoding" and done == 3:
        os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    build(sys.argv[1], [sys.argv[2]], encoder("clip"), progress=print_progress)
"""


def test_killed_while_building_it_goes_on_and_comes_out_the_same(clips, footage, tmp_path):
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(tmp_path / "c"), str(footage)], cwd=root, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    with pytest.raises(DataError, match="not finished"):
        Collection(tmp_path / "c")
    worked = []
    collection = build(
        tmp_path / "c",
        [footage],
        encoder("clip"),
        progress=lambda what, done, total: worked.append((what, done, total)),
    )
    assert [step for step in worked if step[0] == "encoding"][-1] == ("encoding", COUNT - 3, COUNT - 3)
    assert np.array_equal(collection.vectors.array(), clips.vectors.array())
    assert len(list((tmp_path / "c").glob("vectors-*"))) == 1


def test_killed_before_its_row_a_vector_does_not_count(footage, tmp_path, monkeypatch):
    from ssvid.search.segment_table import SegmentTable

    whole_one, enter = build(tmp_path / "whole", [footage], encoder()), SegmentTable.enter

    def dying(self, video, spans, first):
        if first == 2:
            raise KeyboardInterrupt
        enter(self, video, spans, first)

    monkeypatch.setattr(SegmentTable, "enter", dying)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "c", [footage], encoder())
    monkeypatch.setattr(SegmentTable, "enter", enter)
    assert np.array_equal(build(tmp_path / "c", [footage], encoder()).vectors.array(), whole_one.vectors.array())


def test_building_again_does_nothing_and_takes_up_what_changed(footage, tmp_path):
    shutil.copytree(footage.parent, tmp_path / "v")
    collection = build(tmp_path / "c", [tmp_path / "v" / "list.csv"], encoder())
    before = np.array(collection.vectors.array())
    worked = []
    build(tmp_path / "c", [tmp_path / "v" / "list.csv"], encoder(), progress=lambda *step: worked.append(step[0]))
    assert "encoding" not in worked
    write_video(tmp_path / "v" / "0.mp4", panning(50), fps=FPS)
    after = build(tmp_path / "c", [tmp_path / "v" / "list.csv"], encoder())
    assert len(after) == COUNT
    changed = after.rows.positions(after.rows.ids([str(tmp_path / "v" / "0.mp4")]).values())
    assert changed.tolist() == [COUNT - 1]  # what stays moves up, what is new comes last
    assert np.array_equal(after.vectors.array()[:-1], before[1:])
    assert before[0] @ after.vectors.array()[-1] < 0.999


def test_a_file_that_broke_after_its_scan_is_told_and_left_out(footage, tmp_path):
    shutil.copytree(footage.parent, tmp_path / "v")
    open_data([tmp_path / "v" / "list.csv"])
    broken = tmp_path / "v" / "4.mp4"
    stat = broken.stat()
    data = broken.read_bytes()
    broken.write_bytes(data[:100] + bytes(len(data) - 100))
    os.utime(broken, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    collection = build(tmp_path / "c", [tmp_path / "v" / "list.csv"], encoder())
    assert collection.facts().videos == COUNT - 1
    assert [Path(video.path).name for video in collection.index.bad()] == ["4.mp4"]


def test_adding_and_removing(videos, footage, tmp_path):
    shutil.copytree(videos.folder, tmp_path / "c")
    collection, path = Collection(tmp_path / "c", encoder(fps=30.0)), footage.parent / "3.mp4"
    before = names(collection.query(path, k=COUNT))
    less = remove(collection, [path, footage.parent / "7.mp4"])
    assert less.facts().videos == len(less) == COUNT - 2
    assert names(less.query(path, k=COUNT)) == [name for name in before if name not in "37"]
    more = add(less, [footage])
    assert names(more.query(path, k=COUNT)) == before
    assert more.record(path).label == "b"
    with pytest.raises(DataError, match=r"nowhere\.mp4 is not in"):
        remove(more, ["nowhere.mp4"])


def test_the_space_stays_what_it_was(videos, footage, tmp_path):
    shutil.copytree(footage.parent, tmp_path / "v")
    small = build(tmp_path / "c", [tmp_path / "v" / "list.csv"], encoder("clip"))
    centre = np.array(small.space.centre)
    assert np.linalg.norm(centre) > 0.1
    write_video(tmp_path / "v" / "new.mp4", panning(70), fps=FPS)
    more = add(small, [tmp_path / "v" / "new.mp4"])
    assert np.array_equal(more.space.centre, centre)
    assert names(more.query(tmp_path / "v" / "new.mp4", k=1)) == ["new"]
    assert not videos.space.centre.any()  # eight rows are too few for one


def test_a_collection_that_began_too_small_gets_its_space_when_it_has_grown(tmp_path):
    for number in range(17):
        write_video(tmp_path / "v" / f"{number:02}.mp4", panning(number, 20, 32, 40), fps=FPS)
    videos = sorted((tmp_path / "v").iterdir())
    grown = build(tmp_path / "grown", videos[:9], encoder())
    assert not grown.space.centre.any()
    grown = add(grown, videos[9:12])
    assert not grown.space.centre.any()
    grown = add(grown, videos[12:])
    whole = build(tmp_path / "whole", videos, encoder())
    np.testing.assert_allclose(grown.space.centre, whole.space.centre, atol=1e-6)
    np.testing.assert_allclose(grown.vectors.array(), whole.vectors.array(), atol=1e-6)
    assert len(grown) == len(whole) == 17
    centre = np.array(grown.space.centre)
    assert np.array_equal(add(grown, videos).space.centre, centre)


def test_a_collection_that_another_process_changed_is_opened_anew(footage, tmp_path):
    shutil.copytree(footage.parent, tmp_path / "v")
    ours = build(tmp_path / "c", [tmp_path / "v" / "list.csv"], encoder())
    path = tmp_path / "v" / "3.mp4"
    assert names(ours.query(path, k=1)) == ["3"]
    theirs = Collection(tmp_path / "c", ours.encoder)
    theirs = remove(theirs, [path])
    assert "3" not in names(ours.query(path, k=COUNT))
    assert len(ours.query(path, k=COUNT)) == COUNT - 1
    add(theirs, [path])
    assert names(ours.query(path, k=1)) == ["3"]


def test_a_whitened_collection_is_gone_on_with_in_its_space(footage, tmp_path):
    shutil.copytree(footage.parent, tmp_path / "v")
    small = build(tmp_path / "c", [tmp_path / "v" / "list.csv"], encoder("clip"), space="whiten")
    array = np.asarray(small.vectors.array(), np.float64)
    raw = np.concatenate([vectors for _, vectors, _ in encoder("clip", fps=30.0).encode(small.index.videos())])
    assert array == pytest.approx(small.space(raw), abs=1e-5)
    axes = np.array(small.space.axes)
    write_video(tmp_path / "v" / "new.mp4", panning(70), fps=FPS)
    more = add(small, [tmp_path / "v" / "new.mp4"])
    assert np.array_equal(more.space.axes, axes)
    assert [names(more.query(tmp_path / "v" / f"{name}.mp4", k=1)) for name in ("new", "5")] == [["new"], ["5"]]


def test_what_cannot_be_whitened_is_told_before_it_is_encoded(footage, tmp_path, monkeypatch):
    monkeypatch.setattr("ssvid.search.whitening.LONGEST", 4)
    with pytest.raises(ConfigError, match="too long to be whitened"):
        build(tmp_path / "c", [footage], encoder("clip"), space="whiten")
    assert not (tmp_path / "c").exists()
