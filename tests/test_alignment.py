"""Phase classification, phase progression and Kendall's tau on made-up features whose answers are known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from downstream import alignment
from downstream.alignment import alignment_tau, annotated, classify, kendall, progression, read_phase
from ssvid.data.synthetic import CLASSES
from ssvid.errors import ConfigError, DataError
from ssvid.evaluation import folds
from ssvid.evaluation.adapter import Candidate, EvalContext, run
from ssvid.evaluation.features import View
from tests.labelled import stored
from tests.test_sampling import even

ACTIONS = {"grow", "shrink", "bounce", "collide_scatter", "diffuse"}  # those of the motion world that have an end


def moments(phase: np.ndarray) -> np.ndarray:
    """Features (...,3) that know the phase."""
    return np.stack([phase, phase**2, np.ones_like(phase)], -1)


def test_tau_of_the_literature():
    ten, five = np.arange(10.0)[:, None], np.arange(5.0)[:, None]
    assert alignment_tau(ten, ten) == pytest.approx(1)
    assert alignment_tau(ten, ten[::-1]) == pytest.approx(-1)
    assert alignment_tau(ten / 2, five) == pytest.approx(0.9428, abs=1e-4)  # tau-b: ties count, tau-a would be 0.89
    assert np.isnan(alignment_tau(ten, np.zeros((4, 1))))


def test_tau_over_all_ordered_pairs():
    ten = np.arange(10.0)[:, None]
    assert kendall(np.stack([ten, ten, ten[::-1]])) == pytest.approx((2 - 4) / 6)
    still = np.zeros((10, 1))
    assert kendall(np.stack([ten, ten + 0.1, still])) == pytest.approx(
        1
    )  # pairs with a still one as `other` say nothing
    assert kendall(np.stack([still, still])) == 0


def test_phases_are_told_where_features_know_them():
    rng = np.random.default_rng(0)
    phase, truth = np.sort(rng.random((8, 12))), np.sort(rng.random((4, 12)))
    told, guess = classify(moments(phase), phase, moments(truth), truth, 4, 100.0)
    assert told > 90
    assert guess < 50
    assert progression(moments(phase), phase, moments(truth), truth) > 0.99
    noise, other = rng.normal(size=(8, 12, 3)), rng.normal(size=(4, 12, 3))
    assert classify(noise, phase, other, truth, 4, 100.0)[0] < 50
    assert progression(noise, phase, other, truth) < 0.1


def test_one_phase_alone_is_told_for_all():
    phase, truth = np.full((3, 4), 0.1), np.array([[0.0, 0.2, 0.6, 1.0]])
    assert classify(moments(phase), phase, moments(truth), truth, 4, 1.0) == (50.0, 50.0)


def test_true_phases_of_test_videos_have_no_influence():
    rng = np.random.default_rng(0)
    phase, features, other = rng.random((8, 12)), rng.normal(size=(8, 12, 3)), rng.normal(size=(4, 12, 3))
    told = [classify(features, phase, other, np.full((4, 12), part / 4), 4, 1.0)[0] for part in range(4)]
    assert sum(told) == pytest.approx(100)  # the same answers, whatever was right


def test_phases_of_the_motion_world(world_index):
    videos = world_index.videos()
    found = annotated(videos)
    assert {videos[number].label for number in found} == ACTIONS
    assert set(CLASSES) > ACTIONS  # a motion without an end has no phase but the time
    for number, phase in found.items():
        assert phase.shape == (videos[number].info.frames,)
        assert (phase >= 0).all()
        assert (phase <= 1).all()


def perfect(monkeypatch, videos, knowing=True):
    """A candidate whose features know the phase of the frame in the middle of each window, or nothing."""
    phases = {video.id: read_phase(video)[0] for video in videos}

    def extract(backbone, videos, view, positions, **settings):
        phase = np.stack([phases[video.id][view.indices(video)[:, view.frames // 2]] for video in videos])
        rng = np.random.default_rng(0)
        return stored(moments(phase) if knowing else rng.normal(size=(*phase.shape, 3)), positions)

    monkeypatch.setattr(folds, "extract", extract)
    return Candidate("made up", lambda: None, False)


def world_setting(world_index, **changes) -> EvalContext:
    videos = world_index.videos()
    half = np.array([int(video.group[-4:]) % 2 for video in videos])
    return EvalContext(videos, [(np.flatnonzero(half == 0), np.flatnonzero(half == 1))], View(size=32), **changes)


def test_features_that_know_the_phase_get_all(world_index, monkeypatch):
    context = world_setting(world_index, options={"strength": 1000.0})
    found = {score.name: score for score in run("alignment", perfect(monkeypatch, context.videos), context)}
    assert list(found) == ["phase@10", "phase@50", "phase@100", "progress R2", "tau"]
    assert found["phase@100"].value > 85
    assert found["progress R2"].value > 0.95
    assert found["tau"].value > 0.8
    assert 25 <= found["phase@100"].chance < 70
    assert found["tau"].chance == 0
    noise = {
        score.name: score.value for score in run("alignment", perfect(monkeypatch, context.videos, False), context)
    }
    assert noise["phase@100"] < 60
    assert noise["progress R2"] < 0.1
    assert abs(noise["tau"]) < 0.3


def test_data_without_phases_is_told(world_index, tmp_path):
    context = world_setting(world_index)
    candidate = Candidate("x", lambda: None, False)
    plain = replace(context, videos=[replace(even(40), label="a") for _ in context.videos])
    with pytest.raises(DataError, match="no video has annotated phases"):
        next(run("alignment", candidate, plain))
    with pytest.raises(ConfigError, match="moments and phases"):
        next(run("alignment", candidate, replace(context, options={"phases": 1})))


def test_one_test_video_an_action_is_told(world_index, monkeypatch):
    context = world_setting(world_index)
    groups = np.array([video.group for video in context.videos])
    folds = [(np.flatnonzero(groups != group), np.flatnonzero(groups == group)) for group in sorted(set(groups))]
    with pytest.raises(DataError, match="no fold tests two of them"):
        list(run("alignment", perfect(monkeypatch, context.videos), replace(context, folds=folds)))


def test_annotations_that_do_not_fit_are_told(tmp_path):
    video = even(8)
    video = replace(video, info=replace(video.info, path=str(tmp_path / "videos" / "a" / "x.mp4")))
    assert read_phase(video) is None
    note = tmp_path / "annotations" / "x.json"
    note.parent.mkdir()
    assert alignment.phase_file(video) == note
    for text, message in (
        ("{}", "is not an annotation"),
        ("nothing", "is not an annotation"),
        (json.dumps({"phase": [0.5] * 7}), "annotates 7 frames"),
    ):
        note.write_text(text)
        with pytest.raises(DataError, match=message):
            read_phase(video)
    note.write_text(json.dumps({"phase": [0.0] * 4 + [1.0] * 4}))
    phase, clock = read_phase(video)
    assert phase.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    np.testing.assert_allclose(clock, np.linspace(0, 1, 8))
