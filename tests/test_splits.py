"""How labelled videos are split and named, and what is said of them and of the rows measured on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ssvid.evaluation.splits import Labelled, folds, name_of, open_labelled
from ssvid.evaluation.tables import captions
from ssvid.evaluation.tables.table import Kind, Row, Table
from tests.labelled import videos_of


def test_every_group_is_left_out_once_where_there_is_no_split():
    found = folds(videos_of(["a", "b"] * 3, groups=["g1", "g1", "g2", "g2", "g3", "g3"]))
    assert [(train.tolist(), test.tolist()) for train, test in found] == [
        ([2, 3, 4, 5], [0, 1]),
        ([0, 1, 4, 5], [2, 3]),
        ([0, 1, 2, 3], [4, 5]),
    ]


def test_the_own_split_comes_first_and_test_before_val():
    (fold,) = folds(videos_of(["a"] * 4, ["g1", "g2", "g3", "g4"], ["train", "val", "test", "train"]))
    assert [part.tolist() for part in fold] == [[0, 3], [2]]
    (fold,) = folds(videos_of(["a"] * 3, splits=["train", "val", "train"]))
    assert [part.tolist() for part in fold] == [[0, 2], [1]]


def test_data_sets_are_named_by_what_the_user_named(world_index, tmp_path):
    (tmp_path / "ucf").mkdir()
    assert name_of(f"ucf101@2:{tmp_path / 'ucf'}") == "ucf101 2"
    assert name_of(f"ut_interaction:{tmp_path / 'ucf'}") == "ut_interaction"
    assert name_of(f"davis@2016,lists={tmp_path / 'car.txt'}:{tmp_path / 'ucf'}") == "davis 2016,lists=car.txt"
    assert name_of(tmp_path / "ucf") == "ucf"
    data = open_labelled(str(world_index.path))
    assert (data.name, data.tested, data.synthetic, len(data.classes)) == ("world", 13, True, 13)


def test_findings_are_said_plainly():
    rows = [
        Row("random init", {}, {"c": [30.0, 32.0]}, kind=Kind.RANDOM),
        Row("supervised", {}, {"c": [40.0]}, kind=Kind.SUPERVISED),
        Row("baseline_histogram", {}, {"c": [16.7]}, kind=Kind.FIXED),
        Row("baseline_difference", {}, {"c": [78.3]}, kind=Kind.FIXED),
        Row("speednet", {}, {"c": [39.9, 40.1]}),
        Row("pace", {}, {"c": [20.0]}),
        Row("theirs", {}, {"c": [99.0]}, kind=Kind.PUBLISHED, source="s"),
    ]
    table = Table("T", "P", {"c": 16.7}, rows)
    assert captions.findings(table, {"c": ("d", "linear")}) == [
        "Best pretrained row of c: speednet, 40.0 ± 0.1; 9.0 above random init (31.0), no better than supervised, 38.3 below "
        "baseline_difference (78.3), 59.0 below theirs, published (99.0). Beside random init of the same backbone, by more than the "
        "spread, higher: speednet by 9.0; lower: none."
    ]


def test_every_row_is_compared_with_its_own_backbone():
    def row(name, backbone, linear, finetune):
        kind = {"random init": Kind.RANDOM, "supervised": Kind.SUPERVISED}.get(name, Kind.PRETRAINED)
        return Row(name, {"backbone": backbone}, {"a": linear, "b": finetune}, kind=kind)

    rows = [
        row("random init", "x", [10.0, 12.0], []),
        row("random init", "y", [50.0, 52.0], []),
        row("supervised", "x", [30.0, 32.0], [30.0, 32.0]),
        row("supervised", "y", [70.0, 72.0], [70.0, 72.0]),
        row("speednet", "x", [20.0, 22.0], [30.0, 34.0]),
        row("pace", "y", [20.0, 22.0], [80.0, 82.0]),
    ]
    columns = {"a": ("d", "linear"), "b": ("d", "finetune")}
    frozen, tuned = captions.findings(Table("T", "P", dict.fromkeys(columns), rows), columns)
    assert frozen.startswith("Best pretrained row of a: speednet on x, 21.0 ± 1.4; 30.0 below random init (51.0)")
    assert frozen.endswith(
        "of the same backbone, by more than the spread, higher: speednet by 10.0; lower: pace by 30.0."
    )
    assert tuned == (
        "Best pretrained row of b: pace on y, 81.0 ± 1.4; 10.0 above supervised (71.0). Beside supervised of the same backbone, "
        "by more than the spread, higher: pace by 10.0; lower: none."
    )


def test_one_data_set_alone_is_not_enough():
    data = Labelled(
        "d",
        "d",
        videos_of(["a", "b"] * 50, splits=["train", "train", "test", "test"] * 25),
        [(np.arange(50), np.arange(50, 100))],
    )
    alone, both = captions.data_notes([data]), captions.data_notes([data, replace(data, name="e")])
    assert (
        alone[0]
        == "d: own split, 50 train, 50 test, 2 classes. Small data: an accuracy near 50 % has a standard error of 7.1 points."
    )
    assert alone[1] == captions.ONE_SET
    assert captions.ONE_SET not in both
