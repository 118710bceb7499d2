"""The spaces in which vectors are compared: centred and whitened ones by hand, whichever way they are computed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ssvid.errors import ConfigError, DataError
from ssvid.search import whitening
from ssvid.search.collection import read_manifest
from ssvid.search.whitening import Whitening

SQUARE = np.array([[3.0, 1.0], [-1.0, 1.0], [1.0, 1.5], [1.0, 0.5]], np.float32)  # around (1, 1): wide 4, high 1


def fitted(vectors: np.ndarray, how: str, blocks: int = 2) -> Whitening:
    return Whitening.fit(np.array_split(vectors, blocks), *vectors.shape, how)


def test_each_space_by_hand():
    query = np.array([[3.0, 1.5]])
    assert fitted(SQUARE, "raw")(query) == pytest.approx(query / np.hypot(3, 1.5))
    assert fitted(SQUARE, "centre")(query) == pytest.approx(np.array([[2, 0.5]]) / np.hypot(2, 0.5))
    assert fitted(SQUARE, "whiten")(query) == pytest.approx(np.full((1, 2), 0.5**0.5), abs=2e-3)
    assert np.array_equal(fitted(SQUARE, "centre")(np.ones((1, 2))), np.zeros((1, 2)))


@pytest.mark.parametrize(("rows", "dim"), [(300, 6), (5, 40)])
def test_whitened_vectors_vary_alike_in_every_direction_they_take(rows, dim):
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(rows, dim)) @ np.diag(np.linspace(0.3, 3, dim)) + rng.normal(size=dim)
    found = fitted(mixed.astype(np.float32), "whiten", blocks=3)
    axes = found.axes / np.linalg.norm(found.axes, axis=1, keepdims=True)
    moved = (mixed - found.centre) @ found.axes.T @ axes
    spread = np.linalg.eigvalsh(np.cov(moved.T, bias=True))[::-1]
    taken = min(dim, rows - 1)
    assert spread[:taken] == pytest.approx(1, abs=0.02)
    assert spread[taken:] == pytest.approx(0, abs=1e-4)  # no direction is made up
    assert np.linalg.norm(found(mixed), axis=1) == pytest.approx(1)


def test_both_ways_of_computing_it_agree():
    rng = np.random.default_rng(1)
    vectors = (rng.normal(size=(30, 8)) @ rng.normal(size=(8, 8))).astype(np.float32)
    few, many = (way([vectors[:20], vectors[20:]], 30, 8) for way in (whitening._of_few, whitening._of_many))
    assert few(vectors) == pytest.approx(many(vectors), abs=1e-4)


def test_a_direction_in_which_nothing_varies_is_no_direction():
    vectors = np.c_[SQUARE, np.full(4, 7.0), np.zeros(4)].astype(np.float32)
    found = fitted(vectors, "whiten")
    assert found(np.array([[3.0, 1.5, -50.0, 9.0]]))[0, 2:] == pytest.approx(0, abs=1e-4)
    same = fitted(np.ones((5, 3), np.float32), "whiten")
    assert np.array_equal(same(np.ones((1, 3))), np.zeros((1, 3)))


def test_small_differences_are_heard_in_a_whitened_space():
    rng = np.random.default_rng(2)
    loud, faint = rng.normal(size=(200, 2)) * 100, rng.normal(size=(200, 6))
    videos = np.concatenate([loud, faint], 1)
    copies = videos + np.concatenate([rng.normal(size=(200, 2)) * 30, np.zeros((200, 6))], 1)  # loud ones change
    right = {}
    for how in ("centre", "whiten"):
        move = fitted(videos, how)
        right[how] = ((move(copies) @ move(videos).T).argmax(1) == np.arange(200)).mean()
    assert right["centre"] < 0.5 < 0.9 < right["whiten"]


def test_what_cannot_be_whitened_is_told(monkeypatch):
    with pytest.raises(ConfigError, match="raw, centre, whiten"):
        fitted(SQUARE, "round")
    monkeypatch.setattr(whitening, "LONGEST", 1)
    with pytest.raises(ConfigError, match="too long to be whitened"):
        fitted(SQUARE, "whiten")


def test_a_collection_of_the_old_unit_is_refused_with_the_command_that_builds_it_again(tmp_path):
    manifest = {"version": 2, "unit": "sequence", "model": "r3d_18_tiny"}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"called concat now.*--model r3d_18_tiny --unit concat"):
        read_manifest(tmp_path)
