"""A collection that changes: taken from without rewriting, fitted anew as it grows, changed by another process while it is open."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from ssvid.bench.search_growth import write_collection
from ssvid.errors import DataError
from ssvid.search import ann, building
from ssvid.search.building import add, build, remove
from ssvid.search.collection import Collection
from ssvid.search.segment_table import SegmentTable
from ssvid.video.writer import write_video
from tests.footage import COUNT, FPS, encoder, make_footage, names, panning


@pytest.fixture(scope="module")
def footage(tmp_path_factory) -> Path:
    """Eight videos in a list, and fourteen more in a folder."""
    folder = tmp_path_factory.mktemp("footage")
    (folder / "more").mkdir()
    for number in range(14):
        write_video(folder / "more" / f"new{number}.mp4", panning(50 + number, 16), fps=FPS)
    return make_footage(folder)


@pytest.fixture(scope="module")
def built(footage, tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("built") / "c", [footage], encoder()).folder


@pytest.fixture
def folder(built, tmp_path) -> Path:
    return shutil.copytree(built, tmp_path / "c")


def opened(folder: Path) -> Collection:
    return Collection(folder, encoder(fps=float(FPS)))


# --- removing ------------------------------------------------------------------------------------------------------------


def test_removing_leaves_the_vectors_where_they_are_and_none_of_the_dead_is_found(footage, folder, monkeypatch):
    monkeypatch.setattr(building, "SMALL", 0)
    collection = opened(folder)
    path, before = footage.parent / "3.mp4", names(collection.query(footage.parent / "3.mp4", k=COUNT))
    file, whole = collection.vectors.path, collection.vectors.path.read_bytes()
    less = remove(collection, [path])
    assert file.read_bytes() == whole  # seven of eight live: nothing is rewritten
    assert (len(less), less.facts().videos, less.facts().rows) == (COUNT - 1,) * 3
    for one in (less, collection, opened(folder)):
        assert names(one.query(path, k=COUNT)) == [name for name in before if name != "3"]
    again = add(opened(folder), [footage])
    assert names(again.query(path, k=COUNT)) == before
    assert len(again) == COUNT
    with pytest.raises(DataError, match=r"nowhere\.mp4 is not in"):
        remove(again, ["nowhere.mp4"])


def test_many_dead_are_written_out_of_the_file(footage, folder, monkeypatch):
    monkeypatch.setattr(building, "SMALL", 0)
    collection = opened(folder)
    before = names(collection.query(footage.parent / "0.mp4", k=COUNT))
    remove(collection, [footage.parent / "3.mp4"])
    assert collection.rows.stamp()[1:3] == (COUNT, 1)
    less = remove(collection, [footage.parent / "5.mp4"])  # a quarter is dead by now
    assert less.rows.stamp()[1:3] == (COUNT - 2, 0)
    assert less.vectors.path.stat().st_size == (COUNT - 2) * less.vectors.dim * 4
    assert names(less.query(footage.parent / "0.mp4", k=COUNT)) == [name for name in before if name not in "35"]
    assert len(list(folder.glob("vectors-*"))) == 1


def test_a_new_video_takes_nothing_over_from_a_dead_one(footage, folder, monkeypatch):
    monkeypatch.setattr(building, "SMALL", 0)
    last = opened(folder).index.videos()[-1]
    more = add(remove(opened(folder), [last.path]), [footage.parent / "more" / "new0.mp4"])
    new = more.record(footage.parent / "more" / "new0.mp4")
    assert more.rows.positions([new.id]).tolist() == [COUNT]
    assert new.id == last.id  # SQLite gives the number out again
    assert names(more.query(new, k=1)) == ["new0"]


@pytest.mark.parametrize("kind", ["hnsw", "ivfpq"])
def test_the_index_stays_valid_beside_the_dead(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "SMALL", 0)
    monkeypatch.setattr(ann, "TRAINABLE", 100)
    monkeypatch.setattr(ann, "LEAST", 100)
    collection = write_collection(tmp_path, 12, 200, dim=16)
    collection.manifest["kind"] = kind
    ann.grow(kind, collection.vectors, tmp_path / f"index-{collection.generation}-{kind}")
    nearest = ann.Nearest(collection.vectors, kind, tmp_path / f"index-{collection.generation}-{kind}")
    query = np.array(collection.vectors.array()[[450]])
    assert nearest.covered == 2400
    assert nearest.search(query, 1)[1].tolist() == [[450]]
    dead = np.arange(400, 600)
    beside = ann.Nearest(collection.vectors, kind, tmp_path / f"index-{collection.generation}-{kind}", dead)
    scores, found = beside.search(query, 5)
    assert not np.isin(found, dead).any()
    truth = ann.exact(collection.vectors.array(), query, 5, dead=dead)
    assert found.tolist() == truth[1].tolist()
    assert scores == pytest.approx(truth[0], abs=1e-5)
    assert beside.search(query, 9999)[1].shape == (1, 2200)


# --- the space -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["centre", "whiten"])
def test_a_space_of_too_few_is_fitted_anew_when_the_collection_has_grown(space, footage, tmp_path):
    more = footage.parent / "more"
    whole = build(tmp_path / "whole", [footage, more], encoder(fps=float(FPS)), space=space)
    small = build(tmp_path / "c", [footage], encoder(fps=float(FPS)), space=space)
    assert not small.space.centre.any()
    assert small.facts().space == "compared as they come, as they are too few"
    told = []
    grown = add(small, [more], progress=lambda what, done, total: told.append(what))
    assert "fitting the space anew, so far of 8 vectors" in told
    assert grown.space.centre == pytest.approx(whole.space.centre, abs=1e-6)
    assert np.asarray(grown.vectors.array()) == pytest.approx(np.asarray(whole.vectors.array()), abs=1e-4)
    assert grown.facts().space == {"centre": "centred", "whiten": "whitened"}[space] + " on 22 of them"
    for video in whole.index.videos()[::7]:
        assert names(grown.query(video, k=3)) == names(whole.query(video, k=3))


def test_removing_from_a_young_collection_keeps_what_its_space_is_fitted_on(footage, folder, tmp_path):
    more = footage.parent / "more"
    less = remove(opened(folder), [footage.parent / "0.mp4"])
    grown = add(less, [more])
    rest = build(tmp_path / "whole", [*(footage.parent / f"{n}.mp4" for n in range(1, COUNT)), more], encoder(fps=30.0))
    assert grown.space.centre == pytest.approx(rest.space.centre, abs=1e-6)


def test_a_settled_space_stays_and_keeps_no_raw_vectors(footage, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "FEW", 4)
    young = build(tmp_path / "young", [footage], encoder(fps=float(FPS)))
    assert len(list((tmp_path / "young").glob("raw-*"))) == 1
    monkeypatch.setattr(building, "SETTLED", 6)
    old = build(tmp_path / "old", [footage], encoder(fps=float(FPS)))
    assert not list((tmp_path / "old").glob("raw-*"))
    centre, more = np.array(old.space.centre), footage.parent / "more"
    assert np.array_equal(add(old, [more]).space.centre, centre)
    assert not np.array_equal(add(young, [more]).space.centre, centre)
    assert not list((tmp_path / "young").glob("raw-*"))  # it has settled now


# --- other processes -----------------------------------------------------------------------------------------------------


def test_what_another_process_changes_is_taken_up(footage, folder):
    mine, path, new = opened(folder), footage.parent / "3.mp4", footage.parent / "more" / "new1.mp4"
    before = names(mine.query(path, k=COUNT))
    remove(opened(folder), [path])  # the file that `mine` has open is gone
    assert names(mine.query(path, k=COUNT)) == [name for name in before if name != "3"]
    add(opened(folder), [new])
    assert names(mine.query(new, k=1)) == ["new1"]
    add(opened(folder), [footage.parent / "more"])  # the space is another one
    assert mine.query(new, k=1)[0].score == pytest.approx(1, abs=1e-5)
    assert mine.facts().rows == len(mine) == COUNT - 1 + 14


def test_positions_that_move_while_a_question_is_answered_are_looked_up_again(footage, folder, monkeypatch):
    mine, search = opened(folder), ann.Nearest.search
    before = names(mine.query(footage.parent / "7.mp4", k=COUNT))

    def interrupted(self, queries, k):
        found = search(self, queries, k)
        monkeypatch.setattr(ann.Nearest, "search", search)
        remove(opened(folder), [footage.parent / "0.mp4"])  # all others move up
        return found

    monkeypatch.setattr(ann.Nearest, "search", interrupted)
    assert names(mine.query(footage.parent / "7.mp4", k=COUNT)) == [name for name in before if name != "0"]


def test_a_collection_that_is_gone_or_another_one_is_told(footage, folder):
    mine, path = opened(folder), footage.parent / "3.mp4"
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="is not a collection"):
        mine.query(np.ones(mine.manifest["dim"]))
    build(folder, [footage], encoder(model="baseline_histogram", fps=float(FPS)))
    with pytest.raises(DataError, match="other weights"):
        mine.query(path)


def test_searching_does_not_wait_for_a_writer(folder):
    mine = opened(folder)
    vector = np.ones(mine.manifest["dim"])
    writer = sqlite3.connect(folder / "rows.sqlite", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")  # what has been written so far is nobody else's business
    writer.execute("DELETE FROM segments")
    assert len(SegmentTable(mine.index)) == COUNT  # a write of its own would wait for a minute, and fail
    assert len(mine.query(vector, k=COUNT)) == COUNT
    writer.execute("ROLLBACK")
    writer.close()


def test_two_do_not_change_a_collection_at_once(footage, folder):
    other = sqlite3.connect(folder / "changing.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for change in (lambda: remove(opened(folder), [footage.parent / "3.mp4"]), lambda: add(opened(folder), [footage])):
        with pytest.raises(DataError, match="being changed by another process"):
            change()
    other.close()
    assert len(remove(opened(folder), [footage.parent / "3.mp4"])) == COUNT - 1
