"""What grows with the number of videos, answers or pairs: counted in memory and in rows read, never in seconds."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from downstream import retrieval
from downstream.retrieval import Ranking, ranked, ranking_scores
from ssvid.bench.search_growth import write_collection
from ssvid.evaluation.metrics import mean_average_precision, recall_at
from ssvid.search.segment_table import SegmentTable
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


# --- questions -----------------------------------------------------------------------------------------------------------


def calls(act: Callable[[], object]) -> int:
    """How many functions are called, those of Python's own included."""
    counted = 0

    def count(frame, event, argument):
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
    return counted


def test_many_hits_cost_in_proportion(tmp_path):
    collection = write_collection(
        tmp_path, 1, 1600, dim=8
    )  # all in one video, where each hit has to be beside all others
    vector = np.ones(8)
    assert len(collection.query(vector, k=1600)) == 1600
    few, many = (calls(lambda: collection.query(vector, k=k)) for k in (200, 1600))  # noqa: B023
    assert many < 12 * few


def test_hits_keep_apart_as_if_each_were_compared_with_all_others(tmp_path):
    collection = write_collection(tmp_path, 3, 40, dim=8)
    with collection.index.database() as database:
        database.execute("UPDATE segments SET start = start * 0.4, end = start * 0.4 + 1")  # they overlap
    scores = np.asarray(collection.vectors.array()) @ np.ones(8, np.float32)
    expected = []
    for position in np.argsort(-scores, kind="stable"):
        video, middle = position // 40, position % 40 * 0.4 + 0.5
        if all(video != other or abs(middle - taken) >= 0.99 for other, taken in expected):
            expected.append((video, middle))
    found = [(int(hit.path.split("/")[-1][0]), (hit.start + hit.end) / 2) for hit in collection.query(np.ones(8), k=99)]
    assert found == [(video, pytest.approx(middle)) for video, middle in expected]


def test_a_row_is_read_once_for_a_question(tmp_path, monkeypatch):
    collection = write_collection(tmp_path, 1, 400, dim=8)
    with collection.index.database() as database:
        database.execute(
            "UPDATE segments SET start = 0, end = 1 WHERE position != 7"
        )  # two places: it has to look again
    asked, places = [], SegmentTable.places
    monkeypatch.setattr(SegmentTable, "places", lambda self, wanted: asked.extend(wanted) or places(self, wanted))
    assert len(collection.query(np.ones(8), k=10)) == 2
    assert sorted(asked) == list(range(400))


def test_a_known_video_is_one_row_and_not_all_of_them(tmp_path):
    collection = write_collection(tmp_path, 600, 1, dim=8)
    path = collection.index.videos()[300].path
    tracemalloc.start()
    try:
        record = collection.record(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (record.path, record.id) == (path, 301)
    assert peak < 100 * record.info.times.nbytes  # of 600 videos


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
