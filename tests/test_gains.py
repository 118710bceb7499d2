"""What pretraining adds: paired differences against scipy's bootstrap, which rows are compared, and where that stands."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import bootstrap

from ssvid.evaluation.tables.entries import TableRow
from ssvid.evaluation.tables.gains import Gain, gain_tables, paired_gain
from ssvid.evaluation.tables.table import Kind, Table, write


def right(share, videos, seeds=1, seed=0):
    return (np.random.default_rng(seed).random((seeds, videos)) < share).astype(float)


def test_the_interval_over_videos_is_that_of_scipy():
    row, rival = right(0.7, 200), right(0.5, 200, seed=1)
    gain = paired_gain(row, rival)
    oracle = bootstrap((row[0] - rival[0],), np.mean, method="percentile", n_resamples=5000, rng=3).confidence_interval
    assert gain.points == pytest.approx(100 * (row.mean() - rival.mean()))
    assert (gain.low, gain.high) == pytest.approx((100 * oracle.low, 100 * oracle.high), abs=1.0)


def test_what_is_right_on_the_same_videos_is_paired():
    row = right(0.5, 100)
    rival = row.copy()
    rival[0, np.flatnonzero(row[0])[:5]] = (
        0  # the same but for five videos: unpaired, the interval would be 28 points wide
    )
    gain = paired_gain(row, rival)
    assert gain.points == pytest.approx(5)
    assert gain.low > 0
    assert gain.high < 11
    assert paired_gain(row, row) == Gain(0, 0, 0)


def test_seeds_that_differ_widen_the_interval():
    sure, unsure = np.ones((3, 400)), np.ones((3, 400))
    unsure[0] = 0
    rival = np.zeros((3, 400))
    assert paired_gain(sure, rival) == pytest.approx(Gain(100, 100, 100))
    gain = paired_gain(unsure, rival)
    assert gain.points == pytest.approx(200 / 3)
    assert gain.low < 34
    assert gain.high > 99


def test_other_videos_are_no_pair():
    with pytest.raises(ValueError, match="same videos, not 10 and 9"):
        paired_gain(np.ones((1, 10)), np.ones((1, 9)))


def test_the_text_of_a_gain():
    assert str(Gain(3.25, -1.04, 7.5)) == "+3.2 [−1.0, 7.5]"
    assert str(Gain(-3, -5, -1)) == "−3.0 [−5.0, −1.0]"


def names(*scores, data="d"):
    return {score: (data, score) for score in scores}


def cell(row, values, name="linear", data="d"):
    """A cell of a row whose videos were right or not; values None: a score that predicts no class."""
    score = {"name": name, "value": 0.0, "chance": 0.0}
    if values is not None:
        score |= {"truth": [1] * len(values), "predicted": [int(value) for value in values]}
    return SimpleNamespace(row=row, data=SimpleNamespace(name=data)), {"scores": [score]}


def test_each_row_stands_beside_its_own_network_and_the_best_without_learning():
    run, other = TableRow("task", Kind.PRETRAINED, "a", []), TableRow("task", Kind.PRETRAINED, "b", [])
    random_a, random_b = TableRow("random init", Kind.RANDOM, "a", []), TableRow("random init", Kind.RANDOM, "b", [])
    trained = TableRow("supervised", Kind.SUPERVISED, "a", [])
    weak, strong = TableRow("weak", Kind.FIXED, "weak", []), TableRow("strong", Kind.FIXED, "strong", [])
    cells = [
        *(cell(random_a, [1, 0, 0, 0]), cell(random_b, [1, 1, 1, 1]), cell(trained, [1, 1, 1, 1])),
        *(cell(run, [1, 1, 0, 0]), cell(run, [1, 1, 1, 1]), cell(other, [1, 1, 1, 1])),
        *(cell(weak, [0, 0, 0, 0]), cell(strong, [1, 1, 1, 0])),
        *(cell(trained, [1, 0, 0, 0], "finetune"), cell(run, [1, 1, 1, 1], "finetune")),
        *(cell(run, None, "phase"), cell(random_a, None, "phase")),
    ]
    own, best = gain_tables(cells, names("linear", "finetune", "phase"))
    assert [(row.name, row.facts["backbone"]) for row in own.rows] == [("task", "a"), ("task", "b")]
    assert own.rows[0].facts["linear"].startswith("+50.0 [")  # 75 beside random init's 25, not beside supervised
    assert own.rows[0].facts["finetune"].startswith("+75.0 [")  # where random init has no value: from scratch
    assert own.rows[1].facts["linear"] == "+0.0 [0.0, 0.0]"
    assert best.rows[1].facts["linear"].startswith("+25.0 [")
    assert "linear, strong" in best.protocol
    assert "finetune" not in best.rows[0].facts
    assert all("phase" not in row.facts for row in own.rows)


def test_no_rows_to_compare_give_no_table():
    assert gain_tables([cell(TableRow("task", Kind.PRETRAINED, "a", []), [1, 0])], names("linear")) == []


def test_gains_stand_below_the_table(tmp_path):
    cells = [
        *(
            cell(TableRow("random init", Kind.RANDOM, "a", []), [0, 0]),
            cell(TableRow("task", Kind.PRETRAINED, "a", []), [1, 1]),
        ),
    ]
    write(Table("T", "P", {}, gains=gain_tables(cells, {"d: linear": ("d", "linear")})), tmp_path / "t")
    text = (tmp_path / "t.md").read_text()
    assert (
        text.index("### T")
        < text.index("### What pretraining adds")
        < text.index("| task | a | +100.0 [100.0, 100.0] |")
    )
    assert "| model | backbone | d: linear |" in text  # columns are named as in the table above
    rows = json.loads((tmp_path / "t.json").read_text())["gains"][0]["rows"]
    assert rows[0]["facts"]["d: linear"] == "+100.0 [100.0, 100.0]"
