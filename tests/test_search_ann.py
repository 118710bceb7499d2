"""Every kind of index against brute force; growing, killed and gone on with; the vectors it does not hold yet."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from ssvid.errors import ConfigError
from ssvid.search import ann
from ssvid.search.store import Vectors, unit

DIM = 16
APPROXIMATE = ["hnsw", "ivfpq"]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, value in {"SHARD": 1500, "SAMPLE": 2000, "BLOCK": 1000, "QUERIES": 7, "LEAST": 100}.items():
        monkeypatch.setattr(ann, name, value)


def clustered(rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(50, DIM))
    return unit(centres[rng.integers(0, 50, rows)] + 0.5 * rng.normal(size=(rows, DIM)))


def stored(tmp_path, rows: np.ndarray) -> Vectors:
    vectors = Vectors(tmp_path / "v.f32", DIM)
    vectors.append(rows)
    return vectors


def brute(rows: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    return NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(rows).kneighbors(queries)[1]


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([len(set(some) & set(right)) / len(right) for some, right in zip(found, truth, strict=True)]))


def test_exact_equals_brute_force_and_faiss(tmp_path):
    rows, queries = clustered(4500), clustered(20, seed=1)
    scores, places = ann.Nearest(stored(tmp_path, rows)).search(queries, 12)
    assert np.array_equal(places, brute(rows, queries, 12))
    theirs, there = ann.faiss.knn(queries, rows, 12, metric=ann.faiss.METRIC_INNER_PRODUCT)
    assert np.array_equal(places, there)
    assert np.allclose(scores, theirs, atol=1e-5)


def test_equal_scores_come_in_the_order_of_the_file(tmp_path):
    rows = np.repeat(unit(np.eye(2, DIM)), [3, 4], 0)
    scores, places = ann.Nearest(stored(tmp_path, rows)).search(rows[:1], 99)
    assert places.tolist() == [[0, 1, 2, 3, 4, 5, 6]]
    assert scores.tolist() == [[1, 1, 1, 0, 0, 0, 0]]


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_approximate_kinds_find_nearly_all_with_exact_scores(kind, tmp_path):
    rows, queries = clustered(6000), clustered(40, seed=1)
    vectors = stored(tmp_path, rows)
    ann.grow(kind, vectors, tmp_path / "made")
    shutil.move(tmp_path / "made", tmp_path / "index")  # it is searched where it lies, so it may be moved
    nearest = ann.Nearest(vectors, kind, tmp_path / "index")
    assert nearest.covered == 6000
    scores, places = nearest.search(queries, 10)
    assert recall(places, brute(rows, queries, 10)) >= 0.95
    assert np.allclose(scores, (rows[places] * queries[:, None]).sum(2), atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_vectors_outside_the_index_are_found_too(kind, tmp_path):
    rows = clustered(4000)
    vectors = stored(tmp_path, rows[:3000])
    ann.grow(kind, vectors, tmp_path / "index")
    vectors.append(rows[3000:])
    assert ann.Nearest(vectors, kind, tmp_path / "index").covered == 3000
    for covered in (3000, 4000):
        nearest = ann.Nearest(vectors, kind, tmp_path / "index")
        assert nearest.covered == covered
        assert (nearest.search(rows[3990:], 3)[1][:, 0] == np.arange(3990, 4000)).all()
        ann.grow(kind, vectors, tmp_path / "index")


def test_lists_that_were_stopped_go_on_and_come_out_the_same(tmp_path, monkeypatch):
    rows, queries = clustered(6000), clustered(10, seed=1)
    vectors = stored(tmp_path, rows)
    ann.grow("ivfpq", vectors, tmp_path / "whole")
    write, written = ann._write, []

    def dying(index, path):
        if len(written) == 3:
            raise KeyboardInterrupt
        write(index, path)
        written.append(path.name)

    monkeypatch.setattr(ann, "_write", dying)
    with pytest.raises(KeyboardInterrupt):
        ann.grow("ivfpq", vectors, tmp_path / "stopped")
    assert written == ["trained.faiss", "0-1500.faiss", "1500-3000.faiss"]
    monkeypatch.setattr(ann, "_write", lambda index, path: (write(index, path), written.append(path.name)))
    ann.grow("ivfpq", vectors, tmp_path / "stopped")
    assert written[3:] == ["3000-4500.faiss", "4500-6000.faiss"]
    for one, other in zip(
        ann.Nearest(vectors, "ivfpq", tmp_path / "stopped").search(queries, 10),
        ann.Nearest(vectors, "ivfpq", tmp_path / "whole").search(queries, 10),
        strict=True,
    ):
        assert np.array_equal(one, other)


def test_lists_are_trained_again_when_they_have_become_too_few(tmp_path):
    rows = clustered(24000)
    vectors = stored(tmp_path, rows[:1500])
    ann.grow("ivfpq", vectors, tmp_path / "index")
    vectors.append(rows[1500:])
    ann.grow("ivfpq", vectors, tmp_path / "index")
    index = ann.faiss.read_index(str(tmp_path / "index" / "trained.faiss"))
    assert index.nlist == ann.lists_for(24000)
    assert ann.Nearest(vectors, "ivfpq", tmp_path / "index").covered == 24000
    repeated = (tmp_path / "index" / "trained.faiss").stat().st_size  # in each of the sixteen shards
    assert ann.size_on_disk(tmp_path / "index") < 24000 * (DIM + 8) + 17 * 1.1 * repeated  # a code and an id each


def test_the_kind_goes_by_size():
    assert [ann.kind_for(count) for count in (10, 100_000, 100_001, 1_000_000)] == ["exact", "exact", "hnsw", "ivfpq"]
    assert ann.kind_for(5000, "ivfpq") == "ivfpq"
    assert ann.kind_for(50, "ivfpq") == "exact"  # too few to train on
    with pytest.raises(ConfigError, match="exact, hnsw, ivfpq"):
        ann.checked_kind("flat")
