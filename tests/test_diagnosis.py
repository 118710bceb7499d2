"""Each cause of a run at chance is named by its number, and by no other's; end to end on runs that fail on purpose."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ssvid.audit.controls import CONTROLS
from ssvid.audit.reencodings import REENCODINGS
from ssvid.training.diagnosis import REMEDIES, RunFacts, diagnose
from ssvid.training.run import Run
from tests.test_cli import called

FINE = RunFacts(
    chance=0.5,
    trained=0.8,
    samples=4000,
    videos=1000,
    steps=1000,
    batch=16,
    lr=1e-3,
    losses=[0.7, 0.5, 0.4],
    weight_change=0.4,
    motion=3.0,
    seconds=1.0,
    spread=0.8,
    batch_norm=True,
    options=("frames", "stride", "min_motion"),
    held_out=0.75,
    held_out_videos=64,
)
STUCK = replace(FINE, trained=0.503, losses=[0.70, 0.693, 0.693], held_out=None)
UNSEEN = replace(FINE, held_out=0.52, evaluated=0.8)


def test_a_run_above_chance_without_shortcuts_needs_no_word():
    assert diagnose(FINE) == []
    assert diagnose(replace(FINE, held_out=None)) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"losses": [0.7, 2.5, 0.9]}, "The loss rose from 0.7 up to 2.5: lower lr, as lr=0.0001."),
        ({"weight_change": 0.0003, "lr": 1e-6}, "The weights changed by 0.03% only (loss 0.700 to 0.693, lr=1e-06): raise lr, as lr=0.001"),
        ({"steps": 60}, "60 steps of 16 videos are few (loss 0.700 to 0.693, lr=0.001): raise steps, as steps=600."),
        ({"spread": 0.001}, "All clips get nearly the same features (spread 0.001)"),
        ({"batch": 4}, "Batch statistics over 4 videos are mostly noise: raise batch to 8 or more."),
        ({"motion": 0.2}, "by less than 0.20 grey levels a frame, and coding noise alone makes up to 0.3: set min_motion=1"),
        ({"motion": 0.2, "options": ("frames",)}, "up to 0.3: set a larger stride"),
        ({"seconds": 0.13}, "Clips are short, 0.13 s: raise stride or frames."),
        ({}, "Nothing measured stands out (loss 0.700 to 0.693, lr=0.001): try lr=0.003 and lr=0.00033"),
    ],
)  # fmt: skip
def test_each_cause_of_learning_nothing_is_named_by_its_number(change, says):
    first, *causes = diagnose(replace(STUCK, **change))
    assert first == "At chance on its training videos: 50.3 % right over the last 4000 samples, chance is 50.0 %."
    assert len(causes) == 1
    assert says in causes[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"evaluated": 0.51}, "right on 51.0 % only, once batch norm uses its running statistics"),
        ({"videos": 40}, "Too few videos: 40, each seen 400 times, for a question with 2 answers"),
        ({"videos": 250, "steps": 100, "chance": 1 / 6, "held_out": 0.17}, "each seen 6 times, for a question with 6 answers"),
        ({"held_out_videos": 9}, "9 held-out videos tell no accuracy below 100.0 % from chance"),
        ({"motion": 0.2}, "Windows are too still"),
        ({"seconds": 0.1}, "Clips are short"),
        ({}, "Its training videos differ from the held-out ones"),
    ],
)  # fmt: skip
def test_each_cause_of_learning_by_heart_is_named_by_its_number(change, says):
    first, *causes = diagnose(replace(UNSEEN, **change))
    assert first.startswith("At chance on held-out videos: ")
    assert "in training 80.0 %" in first
    assert len(causes) == 1
    assert says in causes[0]


def test_a_run_that_ends_at_the_audit_gets_a_remedy_for_every_shortcut():
    first, *remedies = diagnose(
        replace(FINE, shortcuts=("overlay", "padding"), padding="padded clips by class: 0%, 40%")
    )
    assert first == "Ends at the audit, with the shortcuts overlay, padding."
    assert "overlays=mask" in remedies[0]
    assert "(padded clips by class: 0%, 40%)" in remedies[1]
    assert set(REMEDIES) == {*CONTROLS, *REENCODINGS, "padding"}


def test_chance_is_told_by_its_error_and_by_what_there_is_to_gain():
    assert diagnose(replace(FINE, trained=0.56, samples=100))[0].startswith("At chance on its training")
    assert diagnose(replace(FINE, trained=0.56, samples=1000, held_out=None)) == []
    assert diagnose(replace(FINE, trained=0.505, samples=10**8))[0].startswith("At chance on its training")


PARROT = """
from ssvid.training.task import Augment, Clips, PretextTask, Window
import numpy as np

class Parrot(PretextTask):
    '''Answers videos of the training split, and guesses on others, as one that knows them by heart.'''
    chance = 0.5

    def __init__(self, backbone):
        super().__init__(backbone, Augment(size=16), Window(4))

    def sample(self, video, rng, training=True):
        return Clips(self.window(video, rng, training)[None], np.array(video.split == "train"))

    def forward(self, clips, target):
        level = self.backbone(clips[:, 0]).mean()
        return {"loss": level.square(), "accuracy": 0.5 + 0.5 * target.float()}
"""


def pretrained(tmp_path, index, monkeypatch, capsys, *words):
    arguments = ["--data", str(index.path), "--backbone", "tests/toy.py:toy", "-o", str(tmp_path / "run"), *words]
    code, _, log = called(monkeypatch, capsys, "pretrain", *arguments, "workers=0")
    assert code == 0
    return Run(tmp_path / "run"), log


def test_a_rate_that_moves_no_weight_is_named_by_pretrain_and_by_audit(tmp_path, world_index, monkeypatch, capsys):
    settings = ["arrow_of_time", "steps=30", "batch=2", "lr=1e-9", "frames=4", "stride=1", "size=24", "log_every=5"]
    run, log = pretrained(tmp_path, world_index, monkeypatch, capsys, *settings)
    told = run.card["diagnosis"]
    assert told[0].startswith("At chance on its training videos: ")
    assert any("The weights changed by 0.00% only" in line and "lr=0.001" in line for line in told)
    assert any("Clips are short, 0.10 s: raise stride or frames." in line for line in told)
    assert all(line in log for line in told)
    _, printed, log = called(monkeypatch, capsys, "audit", str(run.path), "--videos", "8", "--json")
    report = json.loads(printed)
    assert report["diagnosis"][:3] == told[:3]
    assert all(line in log for line in report["diagnosis"])
    text = (run.path / "audit" / "audit.md").read_text()
    assert all(f"- {line}" in text for line in report["diagnosis"])


def test_videos_known_by_heart_are_told_from_held_out_ones(tmp_path, world_index, monkeypatch, capsys):
    (tmp_path / "parrot.py").write_text(PARROT)
    run, log = pretrained(
        tmp_path, world_index, monkeypatch, capsys, str(tmp_path / "parrot.py"), "steps=20", "batch=2"
    )
    told = run.card["diagnosis"]
    assert told[0] == "At chance on held-out videos: 50.0 % right on 13, chance is 50.0 %; in training 100.0 %."
    assert told[1].startswith("Too few videos: 39, each seen 1 times, for a question with 2 answers")
    assert "13 held-out videos tell no accuracy below 91.6 % from chance" in told[2]
    assert all(line in log for line in told)
