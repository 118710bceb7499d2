"""Calibration of a SpeedNet: the share of normal video that it calls sped up, where it applies, and what the report says of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssvid.config import PretrainConfig
from ssvid.errors import DataError
from ssvid.files import read_json, write_json
from ssvid.speedup.calibrate_model import calibrate_model
from ssvid.speedup.calibration import Calibration, calibration_of, called_sped_up, cross_checked, fit_calibration
from ssvid.speedup.cam import frame_maps
from ssvid.speedup.curve import estimate_curve
from ssvid.speedup.evaluate import calibration_line
from ssvid.speedup.models import CARD, load_card, load_model, save_model
from ssvid.training.build import build_task
from ssvid.video.scan import scan
from ssvid.video.writer import write_video
from tests.speedometer import Speedometer, sweep


def windows(count: int = 2000, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Logits (W,2) of a network whose log odds are right for a prior of one half, times `scale`, plus 3."""
    sure = np.random.default_rng(seed).normal(
        [-1.0, 1.0], np.sqrt(2), (count, 2)
    )  # log odds of two such bells, means 2 apart
    return scale * sure + 3


def test_a_tenth_of_normal_windows_is_called_sped_up_and_the_logits_are_log_odds():
    logits = windows(scale=2.5)
    fitted = fit_calibration(logits)
    assert called_sped_up(logits, fitted)[0] == pytest.approx(0.1, abs=0.002)
    assert called_sped_up(windows(seed=1, scale=2.5), fitted)[0] == pytest.approx(0.1, abs=0.03)
    assert called_sped_up(logits, Calibration())[0] > 0.5  # biased as they were
    assert fitted.temperature == pytest.approx(2.5, rel=0.1)
    assert called_sped_up(logits, fit_calibration(logits, nominal=0.3))[0] == pytest.approx(0.3, abs=0.002)
    assert fitted.apply(fitted.offset + fitted.temperature) == pytest.approx(1.0)


def test_a_network_at_chance_does_not_become_sure():
    noise = np.random.default_rng(0).normal(size=(500, 2))
    assert fit_calibration(noise).temperature == pytest.approx(10)


def test_too_few_windows_are_told():
    with pytest.raises(DataError, match="19 windows are too few"):
        fit_calibration(windows(19))


def test_the_card_is_told_on_videos_that_were_not_fitted_on():
    low, high = windows(400) - 2, windows(400) + 2  # two kinds of video
    told = cross_checked([low, high])
    assert told["windows"] == 800
    assert told["normal before"] == pytest.approx(100 * (np.concatenate([low, high])[:, 0] > 0).mean(), abs=0.1)
    assert told["nominal"] == 10
    # fitted on the low ones half of the high are called sped up; fitted on the high ones none of the low: not 10
    assert abs(told["normal"] - 10) > 10
    assert cross_checked([windows(seed=1), windows(seed=2)])["normal"] == pytest.approx(10, abs=2)


def test_the_curve_and_the_map_go_by_the_calibration(tmp_path):
    path = tmp_path / "v.mp4"
    write_video(path, sweep(np.full(40, 3.0)), fps=30)
    plain, shifted = Speedometer(), Speedometer()
    shifted.calibration = Calibration(offset=1.5, temperature=2.0)
    before, after = (estimate_curve(path, model=model).faster for model in (plain, shifted))
    moving = (before > 1e-3) & (before < 1 - 1e-3)
    odds = np.log(before / (1 - before))[moving]
    np.testing.assert_allclose(np.log(after / (1 - after))[moving], (odds - 1.5) / 2, atol=1e-3)
    assert moving.any()
    for model in (plain, shifted):
        model.cam = lambda clips: clips.mean(2)
    maps = [frame_maps(model, *scan(path), lambda what, done, total: None) for model in (plain, shifted)]
    np.testing.assert_allclose(maps[1], (maps[0] - 1.5) / 2, atol=1e-5)


def test_a_kept_model_brings_its_calibration_and_the_report_says_its_share(tmp_path):
    config = PretrainConfig(task="speednet", backbone="s3dg_tiny", options={"frames": 8, "size": [32, 32]})
    told = cross_checked([windows(40), windows(40, seed=1)])
    save_model(build_task(config).eval(), config, tmp_path, {"calibration": told})
    model = load_model(tmp_path)
    assert calibration_of(model) == Calibration(told["offset"], told["temperature"])
    line = calibration_line(tmp_path)
    assert f"{told['normal']:g} % of those at normal speed are called sped up (meant are 10;" in line
    write_json(
        tmp_path / CARD, {name: value for name, value in read_json(tmp_path / CARD).items() if name != "calibration"}
    )
    assert calibration_of(load_model(tmp_path)) == Calibration()
    assert "not calibrated" in calibration_line(tmp_path)
    torch.testing.assert_close(Calibration().apply(torch.ones(2)), torch.ones(2))


def test_an_exported_model_is_calibrated_by_one_call(tmp_path, world_index):
    config = PretrainConfig(task="speednet", backbone="s3dg_tiny", options={"frames": 8, "size": [32, 32]})
    save_model(build_task(config).eval(), config, tmp_path, {"scores": {"all": 1}})
    told = calibrate_model(tmp_path, {"world": world_index.path})
    card = load_card(tmp_path)
    assert card["calibration"] == told
    assert card["scores"] == {"all": 1}
    assert told["windows"] >= 20
    assert calibration_of(load_model(tmp_path)).offset == told["offset"]
