"""R@k and mAP by hand and against scikit-learn; what every protocol compares with what; the table."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from downstream import retrieval
from downstream.retrieval import Ranking, Unpooled, precision_by_chance, ranked, ranking_scores
from ssvid.errors import ConfigError, DataError
from ssvid.evaluation import adapter
from ssvid.evaluation.adapter import Candidate
from ssvid.evaluation.metrics import KS
from ssvid.evaluation.tables.cells import CellFile
from ssvid.evaluation.tables.request import TableRequest
from ssvid.evaluation.tables.retrieval import retrieval as retrieval_table
from ssvid.zoo import create_model
from tests.footage import make_footage
from tests.labelled import clusters, setting_of
from tests.test_adapter import made_up
from tests.test_adapter import scores as run


def test_recall_and_precision_by_hand():
    labels = list("aabbab")  # the last two ask the first four
    context = setting_of(labels, 4, protocol="video")
    order = np.array([[2, 0, 3, 1], [3, 2, 1, 0]])  # a: b a b a; b: b b a a
    told = {score.name: score for score in ranking_scores(context, [Ranking(order, np.array([4, 5]))])}
    assert set(told) == {"video R@1", "video mAP"}  # four videos are no five
    assert told["video R@1"].value == 50
    assert told["video R@1"].predicted == {4: "b", 5: "b"}
    assert told["video R@1"].chance == pytest.approx(50)
    assert told["video mAP"].value == pytest.approx(100 * ((1 / 2 + 2 / 4) / 2 + 1) / 2)


def test_recall_and_precision_equal_scikit_learn(monkeypatch):
    rng = np.random.default_rng(0)
    labels = [str(label) for label in rng.integers(0, 6, 160)]
    features = clusters(labels, spread=6.0, clips=3, dim=8)
    context = setting_of(labels, 90)
    found = run("video", made_up(monkeypatch, features), context)
    vectors, names = features.mean(1), np.array(labels)
    vectors = vectors - vectors[:90].mean(0)
    similarity = cosine_similarity(vectors[90:], vectors[:90])
    right = names[:90] == names[90:, None]
    order = np.argsort(-similarity, 1)
    for k in KS:
        share = np.take_along_axis(right, order[:, :k], 1).any(1).mean()
        assert found[f"video R@{k}"].value == pytest.approx(100 * share)
    precision = [average_precision_score(truth, row) for truth, row in zip(right, similarity, strict=True)]
    assert found["video mAP"].value == pytest.approx(100 * np.mean(precision))


def test_chance_is_the_mean_over_all_orders():
    relevant = np.array([True, True, False, False, False])
    precision = [
        np.mean([(np.cumsum(row) / np.arange(1, 6))[i] for i in np.flatnonzero(row)])
        for order in permutations(range(5))
        for row in [relevant[list(order)]]
    ]
    assert precision_by_chance(np.array([2]), np.array([5])) == pytest.approx(100 * np.mean(precision))
    assert precision_by_chance(np.array([2, 0]), np.array([5, 5])) == pytest.approx(100 * np.mean(precision))
    assert precision_by_chance(np.array([1]), np.array([1])) == 100


def test_random_features_are_at_chance(monkeypatch):
    rng = np.random.default_rng(0)
    labels = [str(label) for label in rng.integers(0, 5, 800)]
    noise = rng.normal(size=(800, 1, 16)).astype(np.float32)
    for score in run("video", made_up(monkeypatch, noise), setting_of(labels, 400)).values():
        assert score.value == pytest.approx(score.chance, abs=7)
    assert run("video", made_up(monkeypatch, noise), setting_of(labels, 400))["video R@20"].chance > 98


def test_every_video_asks_all_others_or_those_of_other_groups(monkeypatch):
    labels, groups = list("aabb"), ["x", "y", "x", "y"]
    features = np.array([[1.0, 0], [0.9, 0.3], [0.95, 0.1], [0, 1.0]], np.float32)[:, None]
    context = setting_of(labels, 2, groups=groups, options={"space": "raw"})
    candidate = made_up(monkeypatch, features)
    assert run("loo", candidate, context)["loo R@1"].predicted == {0: "b", 1: "b", 2: "a", 3: "a"}
    apart = replace(context, options={"space": "raw", "leave_out_group": True})
    told = run("loo", candidate, apart)["loo R@1"]
    assert told.predicted == {0: "a", 1: "b", 2: "a", 3: "b"}
    assert told.value == 50
    nobody = replace(setting_of(labels, 2, options={"leave_out_group": True}))
    with pytest.raises(DataError, match="no group"):
        run("loo", candidate, nobody)
    alone = setting_of(labels, 2, groups=["x"] * 4, options={"leave_out_group": True})
    with pytest.raises(DataError, match="no video left"):
        run("loo", candidate, alone)


def test_each_split_is_centred_on_its_own_mean_in_coclr(monkeypatch):
    labels = ["a", "b"] * 6
    rows = clusters(labels, spread=0.1)[:, 0]
    rows[8:] += 50  # the test videos lie elsewhere, as under another light
    monkeypatch.setattr(retrieval, "_window_means", lambda backbone, context: rows)
    candidate = Candidate("x", lambda: None, False)
    assert run("coclr", candidate, setting_of(labels, 8))["coclr R@1"].value == 100
    assert run("video", made_up(monkeypatch, rows[:, None]), setting_of(labels, 8))["video R@1"].value == 50


def test_vcop_takes_the_maximum_over_cells_and_keeps_the_rest(monkeypatch):
    backbone = create_model("resnet18_tiny").eval()
    clip = torch.randn(1, 3, 2, 128, 128)
    with torch.inference_mode():
        whole, pooled = backbone(clip), Unpooled.of(backbone)(clip)
    assert pooled.shape == (*whole.shape[:3], whole.shape[3] // 2, whole.shape[4] // 2)
    assert pooled[0, 3, 1, 0, 0] == whole[0, 3, 1, :2, :2].max()
    with torch.inference_mode():
        one = create_model("baseline_histogram")  # a map of one cell stays as it is
        assert torch.equal(Unpooled.of(one)(clip), one(clip))
    seen = []
    monkeypatch.setattr(
        retrieval,
        "vectors_by_fold",
        lambda candidate, context, view: seen.append(view) or iter([(np.eye(4, 6), np.eye(2, 6))]),
    )
    run("vcop", Candidate("x", lambda: backbone, False), setting_of(list("ababab"), 4))
    assert (seen[0].clips, seen[0].stride, seen[0].pool) == (10, 1, "none")


def test_order_is_that_of_the_cosine():
    gallery = np.array([[5.0, 5.0], [0.1, 0.0], [-3.0, 1.0]])
    assert ranked(np.array([[1.0, 0.0], [0.0, 2.0]]), gallery).tolist() == [[1, 0, 2], [0, 2, 1]]


@pytest.mark.parametrize(
    ("protocol", "options"), [("vcop", {"clips": 0}), ("copy", {"crop": 1.5}), ("video", {"space": "round"})]
)
def test_options_out_of_range_are_told(protocol, options, monkeypatch):
    candidate = made_up(monkeypatch, clusters(["a", "b"] * 4))
    with pytest.raises(ConfigError):
        list(adapter.run(protocol, candidate, setting_of(["a", "b"] * 4, 4, options=options)))


def test_the_table_has_random_init_and_chance_and_no_trained_row(tmp_path):
    request = TableRequest(
        ["baseline_mean_frame", "resnet18_tiny"],
        [str(make_footage(tmp_path))],
        protocols=["video", "copy"],
        view={"clips": 1, "frames": 8, "stride": 2, "size": 32},
        seeds=2,
        out=tmp_path / "out",
        workers=0,
        device="cpu",
    )
    table = retrieval_table(request)
    assert [(row.name, len(row.scores["video R@1"])) for row in table.rows] == [
        ("baseline_mean_frame", 1),
        ("random init", 2),
    ]
    assert table.chance["video R@1"] == pytest.approx(25)
    assert table.chance["copy R@1"] == pytest.approx(12.5)
    assert table.rows[0].scores["copy R@1"] == [100.0]
    assert "R@k and mAP in percent" in table.protocol
    assert table.rows[0].cells["video R@1"][0] in CellFile(tmp_path / "out.cells.jsonl").read()
    lines = []
    retrieval_table(replace(request, protocols=["video"]), log=lines.append)
    assert lines == [f"3 of 3 cells are there already in {tmp_path / 'out.cells.jsonl'}"]


def test_copies_need_no_labels_and_other_protocols_do(tmp_path):
    make_footage(tmp_path)
    (tmp_path / "list.csv").unlink()
    view = {"clips": 1, "frames": 4, "stride": 2, "size": 32}
    request = TableRequest(["baseline_mean_frame"], [str(tmp_path)], view=view, workers=0, device="cpu")
    table = retrieval_table(replace(request, protocols=["copy"]))
    assert table.rows[0].scores["copy R@1"] == [100.0]
    with pytest.raises(DataError, match="label"):
        retrieval_table(request)
    with pytest.raises(ConfigError, match="no protocol of retrieval"):
        retrieval_table(replace(request, protocols=["knn"]))
