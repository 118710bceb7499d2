"""Vectors on disk: what counts is what the owner says, and memory is that of a block."""

from __future__ import annotations

import numpy as np
import pytest

from ssvid.errors import DataError
from ssvid.search import store
from ssvid.search.store import Vectors, unit


def drawn(rows: int, dim: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


def test_what_is_appended_is_read_back_in_blocks_and_by_map(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "BLOCK", 4 * 5 * 7)  # seven vectors
    written, vectors = drawn(40), Vectors(tmp_path / "v.f32", 5)
    for start in range(0, 40, 11):
        vectors.append(written[start : start + 11])
    assert np.array_equal(vectors.array(), written)
    blocks = list(vectors.blocks())
    assert [first for first, _ in blocks] == [0, 7, 14, 21, 28, 35]
    assert np.array_equal(np.concatenate([block for _, block in blocks]), written)
    assert np.array_equal(np.concatenate([block for _, block in vectors.blocks(9, 25)]), written[9:25])
    sample = vectors.sample(12, np.random.default_rng(1))
    assert len({tuple(row) for row in sample} & {tuple(row) for row in written}) == 12
    assert np.array_equal(vectors.sample(99, np.random.default_rng(1)), written)


def test_what_a_killed_writer_left_does_not_count_and_is_overwritten(tmp_path):
    first, second = drawn(6), drawn(3, seed=1)
    Vectors(tmp_path / "v.f32", 5).append(first)
    with (tmp_path / "v.f32").open("ab") as file:
        file.write(b"half a vec")
    again = Vectors(tmp_path / "v.f32", 5, 4)  # its owner knows of four
    assert np.array_equal(again.array(), first[:4])
    again.append(second)
    assert np.array_equal(again.array(), np.concatenate([first[:4], second]))
    assert (tmp_path / "v.f32").stat().st_size == 7 * 5 * 4


def test_a_file_that_lost_vectors_is_told(tmp_path):
    Vectors(tmp_path / "v.f32", 5).append(drawn(3))
    with pytest.raises(DataError, match="holds 3 vectors of 4"):
        Vectors(tmp_path / "v.f32", 5, 4)


@pytest.mark.parametrize(("rows", "words"), [(np.zeros((2, 4)), "do not fit"), (np.full((1, 5), np.nan), "not finite")])
def test_what_is_no_vector_is_refused(rows, words, tmp_path):
    vectors = Vectors(tmp_path / "v.f32", 5)
    with pytest.raises(DataError, match=words):
        vectors.append(rows)
    assert len(vectors) == 0
    assert vectors.array().shape == (0, 5)


def test_unit_length():
    assert np.allclose(np.linalg.norm(unit(drawn(4)), axis=1), 1)
    assert not unit(np.zeros((1, 3))).any()
