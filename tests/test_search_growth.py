"""What grows with the number of videos, answers or pairs: counted in memory and in rows read, never in seconds."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from downstream import retrieval
from downstream.retrieval import Ranking, ranked, ranking_scores
from ssvid.evaluation.metrics import mean_average_precision, recall_at
from ssvid.search import ann
from ssvid.search.store import unit
from ssvid.training import sampler
from tests.labelled import clusters, setting_of, videos_of
from tests.test_adapter import made_up
from tests.test_adapter import scores as run


def drawn_labels(count: int, classes: int = 6) -> list[str]:
    return [str(label) for label in np.random.default_rng(0).integers(0, classes, count)]


# --- retrieval evaluation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["video", "loo"])
def test_scores_in_blocks_are_those_of_the_plain_formulas_bit_for_bit(protocol, monkeypatch):
    labels = drawn_labels(700)
    features = clusters(labels, spread=6.0, clips=2)
    context = setting_of(labels, 400)
    found = run(protocol, made_up(monkeypatch, features), context)
    names, means = np.array(labels), features.mean(1)
    train, test = (context.folds[0]) if protocol == "video" else (np.arange(700), np.arange(700))
    move = retrieval.space_of(means[train], "centre")
    order = train[ranked(move(means[test]), move(means[train]))]
    if protocol == "loo":
        order = np.stack([row[row != query] for query, row in enumerate(order)])
    relevant = names[order] == names[test][:, None]
    if protocol == "loo":
        relevant = np.pad(relevant, ((0, 0), (0, 1)))
    for k, value in recall_at(relevant).items():
        assert found[f"{protocol} R@{k}"].value == value
    assert found[f"{protocol} mAP"].value == mean_average_precision(relevant)
    assert found[f"{protocol} R@1"].predicted == dict(zip(test.tolist(), names[order[:, 0]].tolist(), strict=True))


def test_folds_of_other_sizes_are_pooled():
    context = setting_of(list("ababab"), 4, protocol="video")
    wide, narrow = Ranking(np.array([[1, 0, 2, 3]]), np.array([4])), Ranking(np.array([[0, -1, -1]]), np.array([2]))
    told = {score.name: score.value for score in ranking_scores(context, [wide, narrow])}
    assert told == {"video R@1": 50, "video mAP": 100 * np.mean([(1 / 2 + 2 / 3) / 2, 1])}


@pytest.mark.parametrize("protocol", ["video", "loo"])
def test_no_order_of_all_pairs_is_held(protocol, monkeypatch):
    monkeypatch.setattr(retrieval, "QUERIES", 32)
    labels = drawn_labels(1200)
    context, candidate = setting_of(labels, 600), made_up(monkeypatch, clusters(labels, spread=6.0))
    tracemalloc.start()
    try:
        run(protocol, candidate, context)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    queries, gallery = (600, 600) if protocol == "video" else (1200, 1200)
    assert peak < queries * gallery * 4  # one number a pair would be more


# --- pairs of one label --------------------------------------------------------------------------------------------------


class Counted(str):
    """A label that counts how often labels are compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        type(self).compared += 1
        return str.__eq__(self, other)  # type: ignore[arg-type]

    __hash__ = str.__hash__


def test_the_videos_of_each_label_are_found_in_one_look():
    labels = [Counted(number // 2) for number in range(2000)]
    videos = [replace(video, label=label) for video, label in zip(videos_of(labels), labels, strict=True)]
    Counted.compared = 0

    class Paired:
        pairs = True

    order = sampler.PlanSampler(Paired(), videos, None)  # type: ignore[arg-type]
    companions = order.by_label
    assert {label: rows.tolist() for label, rows in companions.items()} == {
        str(label): [2 * label, 2 * label + 1] for label in range(1000)
    }
    assert Counted.compared < 10 * len(videos)
