"""Inner folds, on which hyper-parameters are chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from downstream import probe
from ssvid.evaluation.inner_folds import groups_of, inner_folds, unvalidated
from tests.labelled import setting_of


def test_groups_stay_together_and_every_class_held_out_is_trained_on():
    labels = np.array(["a", "b"] * 6)
    groups = np.array([f"g{number // 2}" for number in range(12)])
    found = inner_folds(labels, groups)
    assert sorted(np.concatenate([held_out for _, held_out in found])) == list(range(12))
    for train, held_out in found:
        assert not set(groups[train]) & set(groups[held_out])
        assert set(labels[train]) == {"a", "b"}


def test_a_class_of_one_group_is_held_out_nowhere_and_groups_are_still_kept():
    labels = np.array(["a", "b"] * 6 + ["c"] * 3)
    groups = np.array([f"g{number // 4}" for number in range(12)] + ["g9"] * 3)
    found = inner_folds(labels, groups)
    assert sorted(np.concatenate([held_out for _, held_out in found])) == list(range(12))
    assert not any(set(groups[train]) & set(groups[held_out]) for train, held_out in found)


def test_nothing_to_validate_on_gives_no_fold():
    assert inner_folds(np.array(["a", "b"]), None) == []
    assert inner_folds(np.array(["a"] * 4), None) == []
    assert inner_folds(np.repeat(["a", "b", "c"], 4), np.repeat(["g1", "g2", "g3"], 4)) == []
    assert inner_folds(np.array(["a", "b"] * 4), np.array(["g"] * 8)) == []


def test_one_video_of_a_rare_class_ends_no_choice():
    rng = np.random.default_rng(0)
    angle = np.concatenate([rng.normal(0, 0.5, 40), rng.normal(np.pi, 0.5, 40)])
    train, labels = np.stack([np.cos(angle), np.sin(angle)], 1), np.array(["a"] * 40 + ["b"] * 40)
    wrong = rng.choice(80, 16, replace=False)
    labels[wrong] = np.where(labels[wrong] == "a", "b", "a")  # one neighbour alone is misled by these
    settings = {"neighbours": (1, 25), "temperature": 1e3, "centre": False}
    expected = probe.vote_of_nearest(train, labels, train[wrong], None, **settings)
    rare = np.vstack([train, [[0.0, 1.0]]]), np.append(labels, "rare")
    assert (probe.vote_of_nearest(*rare, train[wrong], None, **settings) == expected).all()
    for fit, held_out in inner_folds(rare[1], None):
        assert 80 in fit
        assert 80 not in held_out


def test_a_video_without_a_group_is_a_group_of_its_own():
    videos = [replace(video, group=group) for video, group in zip(setting_of(["a"] * 4, 2).videos, "xx", strict=False)]
    lone = replace(videos[0], group=None)
    groups = groups_of([*videos, lone, lone], np.arange(4))
    assert len(set(groups)) == 3
    assert groups[0] == groups[1]
    assert groups_of([lone, lone], np.arange(2)) is None


def test_what_cannot_be_validated_is_counted():
    context = setting_of(["a", "b"] * 4 + ["rare", "a"], 9)
    assert "on 1 training videos (rare)" in unvalidated(context.videos, context.folds)
    even = setting_of(["a", "b"] * 4, 4)
    assert unvalidated(even.videos, even.folds) == ""
