"""The world of long videos, and what temporal heads make of features of minutes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from ssvid.data.layouts import read_layout
from ssvid.data.long_world import LONG_CLASSES, SUB_ACTIONS, TOGETHER, make_long_world, order_of_plays
from ssvid.errors import ConfigError, DataError
from ssvid.evaluation.sequence_heads import (
    HeadTraining,
    SequenceClassifier,
    head_accuracy,
    train_head,
    training_memory,
    training_time,
)
from ssvid.evaluation.tables.long_videos import LONG_HEADS, LongRequest, long_videos, steps_of
from ssvid.video.reader import Video


@pytest.fixture(scope="module")
def long_world(tmp_path_factory):
    """Two videos a class, of 16 s."""
    folder = tmp_path_factory.mktemp("long") / "world"
    make_long_world(folder, per_class=2, minutes=16 / 60, size=24, test_share=0.5)
    return folder


def test_every_three_sub_actions_are_two_classes_one_the_reverse_of_the_other():
    sets = Counter(frozenset(label.split("-")) for label in LONG_CLASSES)
    assert set(sets.values()) == {2}
    assert {len(one) for one in sets} == {TOGETHER}
    assert {"-".join(label.split("-")[::-1]) for label in LONG_CLASSES} == set(LONG_CLASSES)
    assert set().union(*sets) == set(SUB_ACTIONS)


def test_the_order_is_kept_loosely_and_extents_vary():
    rng = np.random.default_rng(0)
    label = LONG_CLASSES[0]
    actions = label.split("-")
    first, strays, kept = [], [], []
    for _ in range(200):
        plays = order_of_plays(label, 90, rng)
        assert set(plays) <= set(actions)
        places = [np.mean([n for n, play in enumerate(plays) if play == action]) for action in actions]
        kept.append(places == sorted(places))
        first.append(plays.count(actions[0]) / 90)
        strays.append(np.mean([play != actions[0] for play in plays[:10]]))
    assert np.mean(kept) > 0.9
    assert np.std(first) > 0.08  # how long it takes does not tell
    assert 0.05 < np.mean(strays) < 0.3


def test_videos_have_their_length_and_their_parts(long_world):
    listing = read_layout(long_world / "videos.csv")
    assert {entry.label for entry in listing.entries} == set(LONG_CLASSES)
    assert Counter(entry.split for entry in listing.entries) == {"train": 8, "test": 8}
    entry = listing.entries[0]
    assert Video(str(entry.path)).info.frames == 80
    parts = json.loads((long_world / "annotations" / f"{entry.path.stem}.json").read_text())["parts"]
    assert [part["start"] for part in parts] == [0.0, 3.2, 6.4, 9.6, 12.8]
    assert {part["action"] for part in parts} <= set(str(entry.label).split("-"))


def test_a_world_is_completed_and_not_mixed_with_another(long_world):
    before = {path: path.stat().st_mtime_ns for path in long_world.rglob("*.mp4")}
    make_long_world(long_world, per_class=2, minutes=16 / 60, size=24, test_share=0.5)
    assert {path: path.stat().st_mtime_ns for path in long_world.rglob("*.mp4")} == before
    with pytest.raises(ConfigError, match="use its options"):
        make_long_world(long_world, per_class=2, minutes=1)
    with pytest.raises(ConfigError, match="minutes > 0"):
        make_long_world(long_world, minutes=0)


def ordered(count: int = 128, steps: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of vectors in which one event comes before another, or after it; both are in every row."""
    rng = np.random.default_rng(1)
    features, target = 0.1 * rng.normal(size=(count, steps, 8)), np.arange(count) % 2
    for row, order in zip(features, target, strict=True):
        early, late = rng.integers(steps // 2 - 1), rng.integers(steps // 2, steps - 1)
        row[early : early + 2, order] += 3
        row[late : late + 2, 1 - order] += 3
    return torch.tensor(features, dtype=torch.float32), torch.from_numpy(target)


def test_order_is_learnt_by_a_head_that_sees_it_and_by_no_other():
    features, target = ordered()
    training = HeadTraining(steps=100, batch=32, lr=2e-2)

    def accuracy(head):
        model = train_head(head, features[:64], target[:64], 12, 0, training)
        return head_accuracy(model, features[64:], target[64:], 12)

    assert accuracy("lstm") > 0.9
    assert 0.25 < accuracy("late_pooling") < 0.75


@pytest.mark.parametrize("head", LONG_HEADS)
def test_cost_grows_with_the_window_and_not_faster(head):
    model = SequenceClassifier(head, 16, 2)
    few, many = (training_memory(model, 16, steps) for steps in (36, 144))
    assert 2.5 < many / few < 4.5
    assert training_time(model.train(), 16, 9, repeats=1) > 0


def test_a_window_is_as_many_segments_as_its_seconds():
    assert steps_of(60, 300, 187) == 37
    assert steps_of(300.3, 299.6, 187) == 187
    assert steps_of(0.5, 300, 187) == 1
    with pytest.raises(DataError, match="no window of 400 s"):
        steps_of(400, 300, 187)


def test_one_command_writes_the_table_and_computes_nothing_twice(long_world, tmp_path, monkeypatch):
    request = LongRequest(
        str(long_world / "videos.csv"),
        "resnet18_tiny",
        tmp_path / "long",
        heads=("late_pooling", "timeception"),
        seconds=(8, 16),
        size=24,
        seeds=2,
        training=HeadTraining(steps=2),
    )
    table = long_videos(request)
    assert [row.name for row in table.rows] == ["late_pooling", "timeception"]
    assert table.chance == {"8 s": 12.5, "16 s": 12.5}
    assert all(len(values) == 2 for row in table.rows for values in row.scores.values())
    assert "50 %" in table.notes[0]
    assert (tmp_path / "long.png").stat().st_size > 10_000
    lines = (tmp_path / "long.cells.jsonl").read_text()
    assert [row.scores for row in long_videos(request).rows] == [row.scores for row in table.rows]
    assert (tmp_path / "long.cells.jsonl").read_text() == lines
    long_videos(replace(request, training=HeadTraining(steps=1)))
    assert len((tmp_path / "long.cells.jsonl").read_text()) > len(lines)
