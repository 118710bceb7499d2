"""The plan is the optimum of its problem, lasts as long as asked, and is what common sense wants in the simple cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from ssvid.errors import ConfigError
from ssvid.speedup.solver import paper_speed, plan_pace


def problem(natural, durations, length, smooth, cuts):
    target = 1 / natural
    target = target * length / (durations * target).sum()
    weight = smooth**2 / ((durations[1:] + durations[:-1]) / 2)
    weight[[cut - 1 for cut in cuts]] = 0
    return lambda pace: (durations * (pace - target) ** 2).sum() + (weight * np.diff(pace) ** 2).sum()


@pytest.mark.parametrize("trial", range(12))
def test_it_is_the_minimum_that_a_general_solver_finds(trial):
    rng = np.random.default_rng(trial)
    T = int(rng.integers(3, 25))
    natural, durations = np.exp(rng.uniform(0, 2, T)), rng.uniform(0.5, 1.5, T) / 30
    smooth, cuts = float(rng.choice([0, 0.01, 0.1, 1])), [T // 2] if trial % 2 else []
    length = durations.sum() / rng.uniform(1.1, 7)
    pace = plan_pace(natural, durations, length, smooth=smooth, cuts=cuts)
    assert (durations * pace).sum() == pytest.approx(length, rel=1e-8)
    assert pace.min() >= 1 / 8
    assert pace.max() <= 1
    value = problem(natural, durations, length, smooth, cuts)
    other = minimize(
        value,
        np.full(T, length / durations.sum()),
        bounds=[(1 / 8, 1)] * T,
        constraints={"type": "eq", "fun": lambda x: (durations * x).sum() - length},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 2000},
    )
    assert value(pace) <= other.fun + 1e-7


def test_constant_evidence_gives_constant_speed():
    durations = np.random.default_rng(0).uniform(0.02, 0.06, 300)  # a variable frame rate
    pace = plan_pace(np.full(300, 3.0), durations, durations.sum() / 2.5)
    assert np.allclose(pace, 1 / 2.5)


def test_speed_one_is_the_identity_and_the_fastest_speed_is_the_fastest_everywhere():
    natural, durations = np.random.default_rng(0).uniform(1, 8, 100), np.full(100, 1 / 30)
    assert np.allclose(plan_pace(natural, durations, durations.sum()), 1)
    assert np.allclose(plan_pace(natural, durations, durations.sum() / 8), 1 / 8)


def test_what_may_play_faster_plays_faster():
    natural = np.repeat([1.0, 4.0], 150)
    durations = np.full(300, 1 / 30)
    sharp = plan_pace(natural, durations, 5.0, smooth=0)
    assert np.allclose(sharp[:150] / sharp[150:], 4)  # the ratio of the evidence, where no bound is met
    soft = plan_pace(natural, durations, 5.0, smooth=1.0)
    assert np.abs(np.diff(soft)).max() < np.abs(np.diff(sharp)).max() / 10
    cut = plan_pace(natural, durations, 5.0, smooth=1.0, cuts=[150])
    assert np.allclose(cut, sharp)


def test_a_length_that_cannot_be_met_is_refused_with_what_can():
    with pytest.raises(ConfigError, match=r"ask for 0\.50 to 4\.00 s"):
        plan_pace(np.ones(40), np.full(40, 0.1), 0.4)


def test_the_recalled_objective_has_the_mean_that_follows_from_it():
    natural = np.random.default_rng(0).uniform(1, 8, 50)
    norm = (natural - natural.min()) / np.ptp(natural)
    speed = paper_speed(natural, 2.0, alpha=3.0, beta=1e3)
    assert speed.mean() == pytest.approx(2.0 - (1 - norm).sum() / 2e3)

    def value(s):
        return ((1 - norm) * s).sum() + 1e3 * (s.mean() - 2) ** 2 + 3.0 * (np.diff(s) ** 2).sum()

    for bump in np.eye(50) * 1e-3:
        assert value(speed + bump) > value(speed)
        assert value(speed - bump) > value(speed)
