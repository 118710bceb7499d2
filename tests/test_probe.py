"""The probe's numbers by hand, and that nothing it is tested on helps to train it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from downstream import probe
from downstream.transfer import transfer
from ssvid.data.augment import Augment
from ssvid.data.loader import read_square
from ssvid.errors import ConfigError, DataError
from ssvid.evaluation.features import View, extract
from ssvid.evaluation.report import Row, Table, score, write
from ssvid.zoo import create_model
from tests.test_sampling import even


def videos_of(labels, splits=None, groups=None):
    splits, groups = splits or [None] * len(labels), groups or [None] * len(labels)
    return [
        replace(even(8), id=number, label=label, split=split, group=group)
        for number, (label, split, group) in enumerate(zip(labels, splits, groups, strict=True))
    ]


def clusters(labels, spread=0.1, seed=0):
    rng = np.random.default_rng(seed)
    centres = {label: rng.normal(size=6) * 3 for label in sorted(set(labels))}
    return np.stack([centres[label] + rng.normal(size=6) * spread for label in labels])[:, None]


def test_clear_clusters_are_told_and_noise_is_not():
    labels = ["a", "b", "c"] * 10
    videos = videos_of(labels, ["train"] * 18 + ["test"] * 12)
    assert dict(probe.run(clusters(labels), videos)) == {"linear": 100.0, "knn": 100.0}
    noise = np.random.default_rng(0).normal(size=(30, 2, 6))
    assert all(value < 75 for value in dict(probe.run(noise, videos)).values())


def test_every_group_is_left_out_once():
    labels = ["a", "b"] * 4
    groups = ["g1", "g1", "g2", "g2", "g3", "g3", "g4", "g4"]
    folds = list(probe.split(videos_of(labels, groups=groups)))
    assert [test.tolist() for _, test in folds] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    for train, test in folds:
        assert not {groups[k] for k in train} & {groups[k] for k in test}


def test_chance_is_the_most_frequent_training_class():
    videos = videos_of(["a", "a", "a", "b", "a", "b", "b", "b"], ["train"] * 4 + ["test"] * 4)
    assert probe.chance(videos) == 50.0  # guessing one of two classes is better than always "a", which gives 25
    videos = videos_of(["a", "a", "a", "b", "a", "a", "a", "b"], ["train"] * 4 + ["test"] * 4)
    assert probe.chance(videos) == 75.0


def test_nearest_by_hand():
    train = np.array([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.1], [-0.9, -0.2]])
    labels = np.array(["east", "east", "west", "west"])
    assert probe.nearest(train, labels, np.array([[2.0, 0.2], [-3.0, 0.1]]), k=3).tolist() == ["east", "west"]


def test_test_videos_change_nothing_in_training():
    labels = ["a", "b"] * 10
    videos = videos_of(labels, ["train"] * 12 + ["test"] * 8)
    features = clusters(labels, spread=4.0)
    train, test = next(iter(probe.split(videos)))
    vectors = features.mean(1)
    alone = [probe.linear(vectors[train], np.array(labels)[train], vectors[[k]], None)[0] for k in test]
    shifted = vectors.copy()
    shifted[test[1:]] += 1000
    together = probe.linear(vectors[train], np.array(labels)[train], shifted[test], None)
    assert together[0] == alone[0]


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        (videos_of(["a", "b"]), "no way to split"),
        (videos_of(["a", None], ["train", "test"]), "have no label"),
        (videos_of(["a", "b"], ["train", "test"]), "no training video"),
    ],
)
def test_data_that_cannot_be_probed_is_told(videos, message):
    with pytest.raises(DataError, match=message):
        list(probe.split(videos))


VIEW = View(clips=2, frames=8, stride=2, size=32)


def test_frozen_features_move_no_statistic_and_are_cached(world_index, tmp_path):
    videos = world_index.videos("test")[:6]
    torch.manual_seed(0)
    backbone = create_model("s3dg_tiny").train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    told = []
    first = extract(backbone, videos, VIEW, workers=0, cache=tmp_path, progress=lambda *seen: told.append(seen))
    assert first.shape == (6, 2, backbone.info.dim)
    assert told[-1] == (6, 6)
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    again = extract(backbone, videos, VIEW, workers=0, cache=tmp_path, progress=lambda *seen: told.append(seen))
    assert len(told) == 1  # nothing was computed again
    np.testing.assert_array_equal(first, again)
    next(iter(backbone.parameters())).data.add_(1)
    assert not np.allclose(extract(backbone, videos, VIEW, workers=0, cache=tmp_path), first)


def test_a_feature_does_not_depend_on_its_neighbours_in_the_batch(world_index, tmp_path):
    videos = world_index.videos("test")[:5]
    backbone = create_model("r3d_18_tiny")
    one = extract(backbone, videos, VIEW, batch=1, workers=0, cache=tmp_path / "1")
    many = extract(backbone, videos, VIEW, batch=5, workers=0, cache=tmp_path / "5")
    np.testing.assert_allclose(one, many, atol=1e-4)


def test_feature_is_that_of_the_clips_by_hand(world_index, tmp_path):
    video = world_index.videos("test")[0]
    backbone = create_model("r3d_18_tiny").eval()
    feature = extract(backbone, [video], VIEW, workers=0, cache=tmp_path)[0]
    for clip, indices in enumerate(VIEW.indices(video)):
        frames = torch.from_numpy(read_square(video, indices[None], 32)[0]).permute(3, 0, 1, 2).float() / 255
        mean, std = (torch.tensor(value).view(3, 1, 1, 1) for value in (backbone.info.mean, backbone.info.std))
        with torch.no_grad():
            expected = backbone(((frames - mean) / std)[None]).mean((2, 3, 4))[0].numpy()
        np.testing.assert_allclose(feature[clip], expected, atol=1e-4)
    assert Augment(size=32).centre(1, 1)["box"].tolist() == [[[0, 0, 1, 1]]]


def test_transfer_always_has_the_random_row(world_index, tmp_path):
    view = {"clips": 1, "frames": 8, "stride": 2, "size": 32}
    table = transfer(["resnet18_tiny"], str(world_index.path), view=view, seeds=2, workers=0)
    assert [row.name for row in table.rows] == ["random init"]
    assert len(table.rows[0].scores["linear"]) == 2
    assert "1 clips x 8 frames" in table.protocol
    assert [note.split(":")[0].split(",")[0] for note in table.notes] == ["Synthetic data", "Small data"]
    write(table, tmp_path / "t")
    assert "random init" in (tmp_path / "t.md").read_text()
    assert json.loads((tmp_path / "t.json").read_text())["made_with"]["packages"]
    with pytest.raises(ConfigError, match="neither a run folder nor a backbone"):
        transfer(["resnet19"], str(world_index.path))


def test_tables_by_hand():
    table = Table(
        "T",
        "P",
        {"linear": 12.5},
        [Row("a|b", {"steps": "3"}, {"linear": [10.0, 20.0]}), Row("c", {"steps": "0"}, {})],
        ["n"],
    )
    assert score([10.0, 20.0]) == "15.0 ± 7.1"
    assert table.markdown().splitlines() == [
        "### T",
        "",
        "P",
        "",
        "| model | steps | linear (chance 12.5) |",
        "| --- | --- | --- |",
        "| a\\|b | 3 | 15.0 ± 7.1 |",
        "| c | 0 | – |",
        "",
        "- n",
    ]
    assert table.csv().splitlines()[1] == "a|b,3,15.0 ± 7.1"
