"""Which templates and which motions only the order of frames tells apart, and that a data set can be cut down to them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ssvid.data.layouts import read_layout
from ssvid.data.layouts.templates import order_pairs, verb_of
from ssvid.data.motions import ORDER_PAIRS, move, set_stage
from ssvid.errors import DataError

TEMPLATES = [
    "Moving something up",
    "Moving something down",
    "Pushing something from left to right",
    "Pushing something from right to left",
    "Pushing something off of something",
    "Turning the camera left while filming something",
    "Turning the camera right while filming something",
    "Turning the camera upwards while filming something",
    "Covering something with something",
    "Uncovering something",
    "Something falling like a rock",
    "Picking something up",
]


def test_pairs_differ_in_a_word_and_its_opposite():
    assert order_pairs(TEMPLATES) == [
        ("Covering something with something", "Uncovering something"),
        ("Moving something down", "Moving something up"),
        ("Pushing something from left to right", "Pushing something from right to left"),
        ("Turning the camera left while filming something", "Turning the camera right while filming something"),
    ]
    assert order_pairs(["Uploading something", "Downloading something"]) == []  # words, not parts of them


@pytest.mark.parametrize(
    ("template", "verb"),
    [
        (TEMPLATES[2], "pushing"),
        ("Something falling like a rock", "falling"),
        ("Trying but failing", "trying"),
        ("Poke", "poke"),
    ],
)
def test_the_verb_is_what_is_done(template, verb):
    assert verb_of(template) == verb


def something(folder):
    """Two templates of a pair and one without, in the official files."""
    used = [TEMPLATES[0], TEMPLATES[1], TEMPLATES[4]]
    files = {
        "labels": {template: str(n) for n, template in enumerate(used)},
        "train": [{"id": str(n), "template": t.replace("something", "[something]")} for n, t in enumerate(used)],
        "validation": [],
    }
    for name, content in files.items():
        (folder / f"something-something-v2-{name}.json").write_text(json.dumps(content))
    for n in range(3):
        (folder / f"{n}.webm").touch()
    return folder


def test_ssv2_can_be_cut_down_to_its_pairs(tmp_path):
    listing = read_layout(f"ssv2@order_pairs:{something(tmp_path)}")
    assert [(entry.label, entry.split) for entry in listing.entries] == [
        (TEMPLATES[0], "train"),
        (TEMPLATES[1], "train"),
        (None, "unused"),
    ]
    assert listing.title == "Something-Something v2, order_pairs"


def test_ssv2_can_be_grouped_by_verb(tmp_path):
    listing = read_layout(f"ssv2@groups=verbs:{something(tmp_path)}")
    assert [entry.label for entry in listing.entries] == ["moving", "moving", "pushing"]


def test_the_motion_world_can_be_cut_down_to_its_pairs(world, tmp_path):
    listing = read_layout(f"motion_world@order_pairs:{world.parent}")
    assert {entry.label for entry in listing.entries} == {name for pair in ORDER_PAIRS for name in pair}
    assert {entry.split for entry in listing.entries} == {"train", "test"}
    assert not listing.flip
    assert len(read_layout(f"motion_world:{world.parent}").entries) == 13 * 4
    with pytest.raises(DataError, match="make-world"):
        read_layout(f"motion_world:{tmp_path}")


@pytest.mark.parametrize("pair", ORDER_PAIRS, ids="-".join)
def test_one_of_a_pair_is_the_other_played_backward(pair):
    stage, time = set_stage(np.random.default_rng(3)), np.linspace(0, 1, 9)
    ahead, back = (move(label, stage, time, np.random.default_rng(7))[0] for label in pair)
    for one, other in ((ahead.angle, back.angle), (ahead.radius, back.radius)):
        change, reverse = np.diff(one, axis=0), np.diff(other[::-1], axis=0)
        assert np.sign(np.round(change, 9)).tolist() == np.sign(np.round(reverse, 9)).tolist()
    assert np.allclose(ahead.xy, back.xy)
