"""The simple classifiers by hand, and the frozen features they see."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize
from torch import nn

from downstream import probe
from downstream.linear_sgd import class_shares, fit
from ssvid.errors import ConfigError
from tests.labelled import clusters, setting_of
from tests.test_adapter import made_up, scores


def test_votes_by_hand():
    train = np.array([[1.0, 0.0], [0.8, 0.6], [-0.6, 0.8], [-0.8, 0.6]])
    labels = np.array(["east", "west", "west", "west"])
    query = np.array([[1.0, 0.0]])  # cosines 1, 0.8, -0.6, -0.8
    told = partial(probe.votes, train, labels, query, [1, 2, 4], centre=False)
    assert told(temperature=0.07)[:, 0].tolist() == ["east", "east", "east"]  # e^(1/.07) outweighs e^(.8/.07) 17 times
    assert told(temperature=10.0)[:, 0].tolist() == ["east", "east", "west"]  # nearly equal votes


def test_only_directions_from_the_centre_count():
    train = np.array([[11.0, 10.0], [10.9, 10.1], [9.0, 10.1], [9.1, 9.8]])
    labels = np.array(["east", "east", "west", "west"])
    told = probe.votes(train, labels, np.array([[12.0, 10.2], [7.0, 10.1]]), [3], 0.07, True)[0]
    assert told.tolist() == ["east", "west"]


def test_the_number_of_neighbours_is_chosen_on_the_training_videos():
    rng = np.random.default_rng(0)
    angle = np.concatenate([rng.normal(0, 0.5, 40), rng.normal(np.pi, 0.5, 40)])
    train = np.stack([np.cos(angle), np.sin(angle)], 1)
    labels = np.array(["a"] * 40 + ["b"] * 40)
    wrong = rng.choice(80, 16, replace=False)
    labels[wrong] = np.where(labels[wrong] == "a", "b", "a")  # one neighbour alone is misled by these
    test = train[wrong] + 1e-4
    told = partial(probe.vote_of_nearest, train, labels, test, None, 0, temperature=1e3, centre=False)
    truth = np.where(wrong < 40, "a", "b")
    assert (told(neighbours=(1,)) != truth).all()
    assert (told(neighbours=(1, 25)) == truth).all()


@pytest.mark.parametrize("neighbours", [(0, 5), (-1,)])
def test_neighbours_out_of_range_are_told(neighbours, monkeypatch):
    context = setting_of(["a", "b"] * 4, 4, options={"neighbours": neighbours})
    with pytest.raises(ConfigError, match="positive"):
        scores("knn", made_up(monkeypatch, clusters(["a", "b"] * 4)), context)


def test_more_dimensions_than_videos_change_nothing():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(30, 100)), rng.normal(size=(20, 100))
    labels = np.array(["a", "b", "c"] * 10)
    ours = probe._best(LogisticRegression(max_iter=5000, tol=1e-8), train, labels, None, 0, (0.01,))
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=5000, tol=1e-8)).fit(train, labels)
    np.testing.assert_allclose(ours.predict_proba(test), plain.predict_proba(test), atol=1e-4)


def test_strength_is_chosen_on_the_training_videos():
    rng = np.random.default_rng(0)
    train = rng.normal(size=(40, 30))
    labels = np.array(["a", "b"] * 20)
    train[:, 0] += np.where(labels == "a", 0.7, -0.7)
    chosen = probe._best(LogisticRegression(max_iter=5000), train, labels, None, 0, (1e-3, 1e3))
    assert chosen[-1].best_params_ == {"C": 1e-3}  # nearly all is noise
    fixed = probe._best(LogisticRegression(max_iter=5000), train, labels, None, 0, (1e3,))
    assert fixed[-1].C == 1e3


def test_few_is_a_curve_as_far_as_the_training_videos_go(monkeypatch):
    labels = ["a", "b", "c"] * 12
    candidate = made_up(monkeypatch, clusters(labels, spread=5.0))
    found = scores("few", candidate, setting_of(labels, 24, options={"draws": 20}))
    assert list(found) == ["few@1", "few@2", "few@5"]  # eight a class
    assert found["few@1"].value < found["few@5"].value
    assert all(score.predicted == {} and score.chance == pytest.approx(100 / 3) for score in found.values())
    again = scores("few", candidate, setting_of(labels, 24, options={"draws": 20}))
    assert again == found
    assert scores("few", candidate, setting_of(labels, 24, options={"draws": 20}, seed=1)) != found


def test_few_sees_no_label_of_a_test_video(monkeypatch):
    labels = ["a", "b", "c"] * 12
    candidate = made_up(monkeypatch, clusters(labels, spread=5.0))
    values = [
        scores("few", candidate, setting_of([*labels[:24], *[one] * 12], 24, options={"shots": 2, "draws": 3}))["few@2"]
        for one in "abc"
    ]
    assert sum(score.value for score in values) == pytest.approx(100)  # whatever they were, the same was told


def test_few_shows_as_many_labels_as_it_says(monkeypatch):
    shown = []

    class Model(LogisticRegression):
        def fit(self, x, y):
            shown.append(sorted(y))
            return super().fit(x, y)

    monkeypatch.setattr(probe, "LogisticRegression", Model)
    labels = ["a", "b"] * 8
    scores("few", made_up(monkeypatch, clusters(labels)), setting_of(labels, 12, options={"shots": [1, 3], "draws": 2}))
    assert shown == [["a", "b"]] * 2 + [["a"] * 3 + ["b"] * 3] * 2


def test_a_vote_weighs_the_exponential_of_the_similarity():
    # cosines of the query (1, 0): one "near" at 0.96, two "far" at 0.6. At temperature 0.5: e^1.92 = 6.8 against 2 e^1.2 = 6.6
    train = np.array([[0.96, 0.28], [0.6, 0.8], [0.6, -0.8]])
    labels, query = np.array(["near", "far", "far"]), np.array([[1.0, 0.0]])
    assert probe.votes(train, labels, query, [3], 0.5, False)[0, 0] == "near"
    # at 0.55: e^1.745 = 5.7 against 2 e^1.091 = 6.0. Equal votes, and votes of the similarity itself, would say far at both
    assert probe.votes(train, labels, query, [3], 0.55, False)[0, 0] == "far"


def test_blocks_of_videos_vote_as_all_together():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(2 * probe.BLOCK + 9, 8)), rng.normal(size=(probe.BLOCK + 3, 8))
    labels = rng.choice(list("abc"), len(train))
    rows = rng.permutation(len(train))[: 2 * probe.BLOCK]
    vote = KNeighborsClassifier(9, weights=lambda distance: np.exp((1 - distance**2 / 2) / 0.07), algorithm="brute")
    middle = train[rows].mean(0)
    expected = vote.fit(normalize(train[rows] - middle), labels[rows]).predict(normalize(test - middle))
    assert (probe.votes(train, labels, test, [9], 0.07, True, rows)[0] == expected).all()


def test_linear_sgd_takes_the_mean_of_the_clips_probabilities():
    class Logits(nn.Module):
        def forward(self, samples):
            return 10 * samples

    features = np.array([[[2.0, 0.0], [3.0, 4.0]]], np.float32)  # of length one: (1, 0) and (0.6, 0.8)
    first, second = 1 / (1 + np.exp(-10)), 1 / (1 + np.exp(2))
    np.testing.assert_allclose(
        class_shares(Logits(), features), [[(first + second) / 2, 1 - (first + second) / 2]], atol=1e-6
    )


def test_the_rate_of_linear_sgd_falls_to_a_tenth_after_the_shares_of_the_epochs():
    head = nn.Linear(1, 2, bias=False)
    nn.init.zeros_(head.weight)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.5)
    sample, answer = torch.ones(1, 1), torch.zeros(1, dtype=torch.long)
    fit(head, optimizer, sample, answer, torch.Generator(), epochs=5, batch=1, drops=(0.6, 0.8))
    weight = 0.0  # of the right class; that of the other is its negative, so the logits differ by twice as much
    for rate in (0.5, 0.5, 0.5, 0.05, 0.005):  # of five epochs, 3 and 4 are the shares 0.6 and 0.8
        weight += rate * (1 - 1 / (1 + np.exp(-2 * weight)))
    assert head.weight[:, 0].tolist() == pytest.approx([weight, -weight], rel=1e-5)


def test_linear_sgd_knows_only_directions(monkeypatch):
    labels = ["a", "b"] * 20
    features = clusters(labels, clips=2)
    features[24:] *= 50
    context = setting_of(labels, 24, options={"epochs": 30, "lr": 0.1})
    assert scores("linear_sgd", made_up(monkeypatch, features), context)["linear_sgd"].value == 100
