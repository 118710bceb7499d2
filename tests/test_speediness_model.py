"""The network behind the curve: the one in the package, others, and fitting one to a video."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from ssvid.config import PretrainConfig
from ssvid.data.distractors import DISTRACTORS
from ssvid.data.synthetic import render_video
from ssvid.errors import ConfigError, DataError
from ssvid.speedup.adaptation import adapt_to_video
from ssvid.speedup.curve import estimate_curve
from ssvid.speedup.evaluate import agreement, pool_row, write_report
from ssvid.speedup.export_model import export_model
from ssvid.speedup.models import SHIPPED, WEIGHTS, load_card, load_model, save_model
from ssvid.speedup.scores import WindowScores
from ssvid.training.build import build_task
from ssvid.training.run import Run
from ssvid.video.writer import write_video
from tests.speedometer import Speedometer, sweep

SMALL = {"frames": 8, "size": [32, 32], "segment": 2.5}


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "orbit.mp4"
    write_video(path, render_video("orbit", np.random.default_rng(0), frames=60, size=48).frames, fps=30)
    return path


def fresh(task: str = "speednet", **options):
    config = PretrainConfig(task=task, backbone="s3dg_tiny", options=options or SMALL)
    return build_task(config).eval(), config


def test_the_model_in_the_package_is_small_and_scored():
    assert (SHIPPED / WEIGHTS).stat().st_size < 8e6
    scores = load_card()["scores"]
    assert scores
    for found in scores.values():
        assert {"windows", "model single", "model pair", "motion single", "motion pair"} <= found.keys()
    windows = sum(found["windows"] for found in scores.values())
    for name, bar in (("model single", 70), ("model pair", 90)):
        assert sum(found[name] * found["windows"] for found in scores.values()) / windows >= bar


def test_the_model_in_the_package_looks_at_a_video(film):
    curve = estimate_curve(film)
    assert len(curve.rates)
    assert np.isfinite(curve.faster).all()
    assert (curve.faster >= 0).all()
    assert (curve.faster <= 1).all()
    assert curve.faster[-1].mean() > curve.faster[0].mean()


def test_a_model_is_written_and_read(tmp_path):
    task, config = fresh()
    save_model(task, config, tmp_path / "m", {"scores": {}})
    again = load_model(tmp_path / "m")
    clips = torch.randn(1, 2, 3, 8, 32, 32)
    torch.testing.assert_close(again.logits(clips), task.logits(clips))
    assert load_card(tmp_path / "m")["scores"] == {}


def test_what_is_no_speednet_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no SpeedNet"):
        load_model(tmp_path)
    task, config = fresh("arrow_of_time", frames=8, size=32)
    save_model(task, config, tmp_path / "arrow", {})
    with pytest.raises(DataError, match="scored by SpeedNet"):
        load_model(tmp_path / "arrow")


def test_fitting_lowers_the_loss_of_a_copy_the_same_every_time(film, monkeypatch):
    monkeypatch.setattr("ssvid.speedup.adaptation.RATE", 3e-3)  # this one starts from nothing
    task, _ = fresh()
    before = {name: value.clone() for name, value in task.state_dict().items()}
    told: list[tuple[str, int, int]] = []
    losses: list[float] = []
    fitted = adapt_to_video(film, task, steps=30, progress=lambda *line: told.append(line), losses=losses)
    assert np.mean(losses[-8:]) < np.mean(losses[:8]) - 0.02
    assert told[-1] == ("fitting", 30, 30)
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    assert not torch.equal(fitted.head.weight, task.head.weight)
    assert not fitted.training
    runs: list[list[float]] = [[], []]
    for run in runs:
        adapt_to_video(film, task, steps=2, losses=run)
    assert runs[0] == runs[1]


def test_nothing_to_fit_to_is_told(tmp_path):
    path = tmp_path / "short.mp4"
    write_video(path, sweep(np.full(10, 2.0)), fps=30)
    with pytest.raises(DataError, match="leave out --fit"):
        adapt_to_video(path, fresh()[0], steps=1)


def test_scores_of_windows_by_hand():
    asked = WindowScores(
        1, np.array([[-1.0, 2.0], [1.0, 3.0], [-2.0, -3.0]]), np.array([[1.0, 2.0], [3.0, 6.0], [1.0, 5.0]])
    )
    threshold = asked.best_threshold()
    assert threshold == 1.0  # right on two normal and three sped-up windows
    found = asked.scores(threshold)
    assert found["model single"] == pytest.approx(66.7)
    assert found["model pair"] == pytest.approx(66.7)
    assert found["motion single"] == pytest.approx(83.3)
    assert found["motion pair"] == 100


def test_the_report_is_written_by_one_call(tmp_path, monkeypatch):
    monkeypatch.setattr("ssvid.speedup.evaluate.FRAMES", 60)
    monkeypatch.setattr("ssvid.speedup.evaluate.SIZE", 48)
    monkeypatch.setattr("ssvid.speedup.evaluate.load_model", lambda source, device: Speedometer())
    monkeypatch.setattr("ssvid.speedup.evaluate.DISTRACTORS", {"dark": DISTRACTORS["dark"], "slow_motion": None})
    text = write_report(tmp_path / "r" / "speedup", None, 2, 1, None, lambda what, done, total: None, distracted=1)
    assert (tmp_path / "r" / "speedup.md").read_text() == text
    facts = json.loads((tmp_path / "r" / "speedup.json").read_text())
    assert len(facts["world"]) == 2
    assert facts["pool"] is None
    assert "| **mean** |" in text
    assert [row["case"] for row in facts["distractors"]] == ["none", "dark", "slow_motion"]
    first, plain = facts["world"][0], facts["distractors"][0]
    assert (
        plain["motion V"] == first["motion V"] != facts["distractors"][1]["motion V"]
    )  # the same video, with and without
    assert f"| slow motion | {facts['distractors'][2]['both V']:.2f} |" in text
    with pytest.raises(DataError, match="leave out --clips"):
        pool_row(Speedometer(), tmp_path)


def test_agreement_is_of_ranks():
    assert agreement(np.array([1.0, 2.0, 4.0]), np.array([1.0, 10.0, 11.0])) == 1
    assert agreement(np.array([1.0, 2.0, 4.0]), np.array([3.0, 2.0, 1.0])) == -1
    assert agreement(np.ones(3), np.arange(3.0)) == 0


def test_a_model_that_was_not_audited_is_not_shipped(tmp_path):
    (tmp_path / "config.yaml").write_text("task: speednet\n")
    with pytest.raises(ConfigError, match=f"ssvid audit {tmp_path}"):
        export_model(Run(tmp_path), tmp_path / "trained.sqlite", {}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
