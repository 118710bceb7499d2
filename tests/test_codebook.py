"""Fisher vectors and words by hand, and the codebook that test videos have no part in."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from downstream.codebook import BagOfWords, FisherVectors, drawn, separate
from ssvid.errors import ConfigError
from ssvid.evaluation import adapter
from ssvid.evaluation.adapter import Candidate, EvalContext
from ssvid.evaluation.features import View
from ssvid.zoo import create_model
from tests.labelled import clusters, setting_of, stored
from tests.test_adapter import made_up, scores


def blobs(count: int = 400) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0, 0], [4, 0, 1], [0, 5, -1]])
    return centres[rng.integers(3, size=count)] + rng.normal(0, [1, 0.5, 0.3], (count, 3))


def test_a_fisher_vector_is_the_gradient_of_the_likelihood():
    codebook = FisherVectors(3, 2, seed=0)
    codebook.fit(blobs())
    video = blobs(50) + 0.5
    x = codebook.rotation.transform(video) / codebook.scale
    mixture, step, expected = codebook.mixture, 1e-5, np.zeros((3, 5))

    def likelihood(word: int, dim: int, mean: float, deviation: float, weight: float = 0) -> float:
        moved = copy.deepcopy(mixture)
        shares = np.log(mixture.weights_) + weight * (np.arange(3) == word)
        moved.weights_ = np.exp(shares) / np.exp(shares).sum()
        moved.means_[word, dim] += mean
        moved.precisions_cholesky_[word, dim] = 1 / (mixture.covariances_[word, dim] ** 0.5 + deviation)
        return float(moved.score_samples(x).mean())

    for word in range(3):
        for dim in range(2):
            scale = mixture.covariances_[word, dim] ** 0.5 / mixture.weights_[word] ** 0.5
            by_mean = likelihood(word, dim, step, 0) - likelihood(word, dim, -step, 0)
            by_deviation = likelihood(word, dim, 0, step) - likelihood(word, dim, 0, -step)
            expected[word, [1 + dim, 3 + dim]] = np.array([by_mean, by_deviation / 2**0.5]) * scale / (2 * step)
        by_weight = likelihood(word, 0, 0, 0, step) - likelihood(word, 0, 0, 0, -step)
        expected[word, 0] = by_weight / mixture.weights_[word] ** 0.5 / (2 * step)
    rooted = (np.sign(expected) * np.abs(expected) ** 0.5).ravel()
    vector = codebook.encode(video)
    assert vector.shape == (3 * 5,)
    np.testing.assert_allclose(vector, rooted / np.linalg.norm(rooted), atol=1e-4)


def test_words_are_counted_and_their_roots_taken():
    codebook = BagOfWords(3, seed=0)
    codebook.fit(blobs())
    middles = codebook.means.cluster_centers_
    vector = codebook.encode(np.concatenate([middles[[0]]] * 3 + [middles[[2]]]))
    np.testing.assert_allclose(vector, [0.75**0.5, 0, 0.25**0.5])


def test_what_is_few_or_alike_gives_a_small_codebook():
    alike = np.ones((9, 5))
    for codebook in (FisherVectors(64, 64, 0), BagOfWords(1000, 0)):
        codebook.fit(alike)
        assert np.isfinite(codebook.encode(alike)).all()


def test_every_training_video_gives_as_many_descriptors_and_no_other_gives_any():
    cells = np.arange(6 * 2 * 4, dtype=np.float32).reshape(
        6, 1, 8
    )  # two channels of four cells; the channels of a video are 4 apart
    features = stored(cells)
    chosen = drawn(features, [1, 4], 2, 6, seed=0)
    assert chosen.shape == (6, 2)
    np.testing.assert_array_equal(chosen[:, 1] - chosen[:, 0], 4)
    assert sorted(set((chosen[:, 0] // 8).astype(int))) == [1, 4]
    np.testing.assert_array_equal(drawn(features, [4, 1], 2, 6, seed=0)[3:], chosen[:3])
    assert len(drawn(features, range(6), 2, 1, seed=0)) == 6


def test_the_strength_is_chosen_on_the_training_videos():
    train = np.concatenate([np.linspace(-1, -0.1, 20), np.linspace(0.1, 1, 20)])[:, None] * 0.01
    labels = np.array(["a"] * 5 + ["b"] * 35)
    weak = separate(train, labels, train, None, 0, (1e-3,))
    assert (weak == "b").all()
    assert (separate(train, labels, train, None, 0, (1e-3, 1e6)) == labels).mean() > 0.9


@pytest.mark.parametrize("name", ["fisher", "bag_of_words"])
def test_options_out_of_range_are_told(name, monkeypatch):
    labels = ["a", "b"] * 4
    for options, message in (({"words": 0}, "words must be at least 1"), ({"strengths": (0.0,)}, "must be positive")):
        with pytest.raises(ConfigError, match=message):
            scores(name, made_up(monkeypatch, clusters(labels)), setting_of(labels, 4, options=options))


@pytest.mark.parametrize("name", ["fisher", "bag_of_words"])
def test_descriptors_of_videos_are_told_apart(name, world_index):
    videos = [video for video in world_index.videos() if video.label in ("grow", "bounce")]
    splits = np.array([video.split for video in videos])
    folds = [(np.flatnonzero(splits == "train"), np.flatnonzero(splits == "test"))]
    context = EvalContext(videos, folds, View(clips=1, frames=10, stride=1, size=48), workers=0)
    candidate = Candidate("local", lambda: create_model("baseline_local"), False)
    options = {"words": 16, "clips": 1}
    one, again = (next(adapter.run(name, candidate, replace(context, options=options))) for _ in range(2))
    assert one == again
    assert set(one.predicted) == {videos[position].id for position in folds[0][1]}
