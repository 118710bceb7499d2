"""What holds of every protocol: how it is listed, that its options are checked, that a frozen one moves and learns nothing it must not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from ssvid.cli.catalogue import catalogue
from ssvid.errors import ConfigError
from ssvid.evaluation import adapter, folds
from ssvid.evaluation.adapter import Candidate, EvalContext, Score, find_protocol, protocols
from ssvid.evaluation.features import View
from ssvid.zoo import create_model
from tests.labelled import clusters, setting_of, stored

FROZEN = sorted(
    name for name, protocol in protocols().items() if protocol.trains != "all" and protocol.takes == "videos"
)
RANKED = {name for name, protocol in protocols().items() if protocol.ranks}  # predict no class
CLASSIFIERS = [name for name in FROZEN if not name.startswith(("few", "alignment")) and name not in RANKED]
QUICK = {  # the same protocols, on a few small features
    "linear_sgd": {"epochs": 20, "lr": 0.1},
    "attentive": {"epochs": 5, "heads": 2},
    "attentive_vjepa2": {"epochs": 2, "heads": 2, "depth": 2, "rates": 1e-3, "decays": 0.01},
    "alignment": {"moments": 4},
    "fisher": {"words": 4, "dims": 4},
    "bag_of_words": {"words": 8},
}


class Nothing:
    """Stands for a backbone whose features are made up."""

    info = create_model("r3d_18_tiny").info


def made_up(monkeypatch: pytest.MonkeyPatch, features: np.ndarray) -> Candidate:
    """A candidate whose features (N,clips,D) are these, by the videos' ids."""

    def extract(backbone, videos, view, positions, **settings):
        found = features[[video.id for video in videos]]
        if view.pool == "none":  # two tokens of the promised width
            found = np.repeat(np.tile(found, (1, 1, Nothing.info.dim // features.shape[2]))[..., None], 2, -1)
            found = found.reshape(*found.shape[:2], -1)
        return stored(found, positions)

    monkeypatch.setattr(folds, "extract", extract)
    return Candidate("made up", Nothing, pretrained=False)


def scores(name: str, candidate: Candidate, context: EvalContext) -> dict[str, Score]:
    context = replace(context, options=QUICK.get(name, {}) | dict(context.options))
    return {score.name: score for score in adapter.run(name, candidate, context)}


# --- listing and options ------------------------------------------------------------------------------------------------


def test_the_protocols_of_the_field_are_there():
    wanted = {"finetune", "linear", "linear_sgd", "knn", "svm", "attentive", "few", "alignment", "finetune_vcop"}
    assert wanted <= set(protocols())
    for name, protocol in protocols().items():
        assert protocol.name == name
        assert protocol.summary
        assert protocol.after
        assert protocol.differs
        assert protocol.trains in ("head", "all", "nothing")


def test_listing_imports_neither_torch_nor_an_adapter():
    code = (
        "import sys; from ssvid.cli.catalogue import catalogue; assert catalogue('protocols', 'knn*')['protocols'];"
        "assert not {'torch', 'sklearn', 'downstream.probe'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    listed = {row["name"]: row for row in catalogue("protocols")["protocols"]}
    assert listed["finetune_vcop"]["options"]["batch"]["default"] == 8
    assert listed["finetune_vcop"]["options"]["clips"]["default"] == 10  # shared by all


def test_options_are_checked():
    knn = find_protocol("knn")
    assert knn.settings() == {"neighbours": (1, 2, 5, 10, 20, 50, 100, 200), "temperature": 0.07, "centre": True}
    assert find_protocol("knn_dino").settings() == knn.settings() | {"neighbours": (10, 20, 100, 200), "centre": False}
    assert knn.settings({"neighbours": [3], "temperature": 1})["neighbours"] == (3,)
    assert knn.settings({"neighbours": 7})["neighbours"] == (7,)
    assert type(knn.settings({"temperature": 1})["temperature"]) is float
    for changes, message in (
        ({"neighbors": 3}, "no option 'neighbors'. Did you mean neighbours"),
        ({"neighbours": 0.5}, r"\[0.5\] is not tuple"),
        ({"neighbours": []}, "at least one value"),
        ({"centre": "maybe"}, "'maybe' is not bool"),
        ({"temperature": True}, "True is not float"),
        ({"temperature": "warm"}, "'warm' is not float"),
    ):
        with pytest.raises(ConfigError, match=message):
            knn.settings(changes)
    with pytest.raises(ConfigError, match="Did you mean linear"):
        find_protocol("linaer")


@pytest.mark.parametrize("name", FROZEN)
def test_an_unknown_option_is_told_before_anything_is_computed(name):
    def make():
        raise AssertionError("not needed yet")

    context = setting_of(["a", "b"] * 4, 4, options={"no_such": 1})
    with pytest.raises(ConfigError, match="no option 'no_such'"):
        next(adapter.run(name, Candidate("x", make, False), context))


# --- frozen -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FROZEN)
def test_nothing_of_a_frozen_backbone_moves(name, world_index):
    videos = [video for video in world_index.videos() if video.label in ("grow", "bounce")]
    splits = np.array([video.split for video in videos])
    folds = [(np.flatnonzero(splits == "train"), np.flatnonzero(splits == "test"))] * 2
    torch.manual_seed(1)
    backbone = create_model("r3d_18_tiny").train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    context = EvalContext(videos, folds, View(clips=1, frames=8, stride=1, size=32), workers=0)
    if name == "alignment":  # needs two test videos of an action
        context = replace(context, folds=[(np.arange(len(videos)), np.arange(len(videos)))])
    assert scores(name, Candidate("x", lambda: backbone, False), context)
    after = backbone.state_dict()
    assert any("running" in key for key in before)
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_labels_of_test_videos_have_no_influence(name, monkeypatch):
    labels = ["a", "b", "c"] * 12
    candidate = made_up(monkeypatch, clusters(labels, spread=4.0))
    shuffled = [*labels[:24], *np.random.default_rng(0).permutation(labels[24:])]
    assert shuffled != labels
    told, again = (scores(name, candidate, setting_of(row, 24))[name] for row in (labels, shuffled))
    assert told.predicted == again.predicted
    assert set(told.predicted) == set(range(24, 36))
    right = np.mean([told.predicted[number] == labels[number] for number in range(24, 36)])
    assert told.value == pytest.approx(100 * right)
    assert told.chance == pytest.approx(100 / 3)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_other_test_videos_have_no_influence(name, monkeypatch):
    labels = ["a", "b"] * 10
    features = clusters(labels, spread=4.0)
    moved = features.copy()
    moved[13:] += 100
    one = scores(name, made_up(monkeypatch, features), setting_of(labels, 12))[name].predicted
    other = scores(name, made_up(monkeypatch, moved), setting_of(labels, 12))[name].predicted
    assert one[12] == other[12]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_clear_clusters_are_told_and_noise_is_not(name, monkeypatch):
    labels = ["a", "b", "c"] * 20
    clear = scores(name, made_up(monkeypatch, clusters(labels, clips=2)), setting_of(labels, 30))[name]
    assert clear.value == 100
    noise = np.random.default_rng(0).normal(size=(60, 2, 8)).astype(np.float32)
    assert scores(name, made_up(monkeypatch, noise), setting_of(labels, 30))[name].value < 65


def test_a_subject_of_a_fold_is_asked_for_each_fold(monkeypatch):
    asked = []

    def extract(backbone, videos, view, positions, **settings):
        return stored(np.full((len(videos), 1, 2), backbone, np.float32), positions)

    def make(fold):
        asked.append(fold)
        return fold

    monkeypatch.setattr(folds, "extract", extract)
    context = setting_of(["a", "b"] * 3, 4)
    context = replace(context, folds=[(np.arange(2), np.arange(2, 4)), (np.arange(3), np.arange(4, 6))])
    first, second = folds.features_by_fold(Candidate("x", make, False, per_fold=True), context)
    assert asked == [0, 1]
    assert (first[np.arange(4)] == 0).all()
    assert (second[[0, 1, 2, 4, 5]] == 1).all()
    with pytest.raises(KeyError):
        second[[3]]  # videos of no concern to the fold cannot slip in
    vectors = list(folds.vectors_by_fold(Candidate("x", make, False, per_fold=True), context))
    assert [(len(train), len(test)) for train, test in vectors] == [(2, 2), (3, 2)]
    assert all((part == fold).all() for fold, parts in enumerate(vectors) for part in parts)


def test_chance_is_the_most_frequent_training_class():
    guess = {}
    for row in ("aaababbb", "aaabaaab"):
        context = setting_of(list(row), 4)
        guess[row] = folds.chance(context.videos, context.folds)
    assert guess == {"aaababbb": 50.0, "aaabaaab": 75.0}  # one of two classes at random is better than always a: 25


def test_folds_are_pooled():
    context = replace(
        setting_of(list("aabb"), 2), folds=[(np.array([0, 2]), np.array([1])), (np.arange(2), np.arange(1, 4))]
    )
    score = folds.accuracy("x", context, lambda fold, train, test: np.array(["a"] * len(test)))
    assert score.value == 50  # two of four
    assert score.predicted == {1: "a", 2: "a", 3: "a"}
