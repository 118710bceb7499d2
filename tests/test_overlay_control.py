"""A task that reads a clock or a progress bar is found out where the videos have one, and cannot learn it where the run masks it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssvid.audit.auditor import BIASED, CHANCE, SHORTCUT, Auditor
from ssvid.audit.controls import ControlSpec, make_videos
from ssvid.config import load_config
from ssvid.data.loader import read_square
from ssvid.data.overlays import find_overlay
from ssvid.training.fit import pretrain
from ssvid.training.validate import trained_task
from tests.burned import make_burned, mark, progress_bar
from tests.test_audit import ALPHA, ArrowFrom, Coin

STEPS = 100


def filling(clip: np.ndarray) -> float:
    """How much brighter the lowest rows get: grey (T,H,W) -> float."""
    bottom = clip[:, -2:].mean((1, 2))
    return bottom[-1] - bottom[0]


def examined(task, videos, overlay, count=36):
    return Auditor(task, videos, count, alpha=ALPHA, overlay=overlay).check("overlay")


@pytest.fixture(scope="module")
def burned(tmp_path_factory):
    return make_burned(tmp_path_factory.mktemp("burned") / "bar", progress_bar, count=32, frames=24, size=48)


def test_reading_a_progress_bar_is_a_shortcut_where_the_videos_have_one(burned, world_index):
    videos, plain = burned.videos()[:10], world_index.videos()[:10]
    overlay = find_overlay(videos)
    found = examined(ArrowFrom(filling), videos, overlay)
    assert found.verdict == SHORTCUT
    assert found.sides["running forward"].accuracy > 0.9
    assert found.sides["running backward"].high < 0.5
    assert "bottom" in found.reason
    assert "overlays=mask" in found.reason
    assert examined(Coin(), videos, overlay).verdict == CHANCE
    # reading it the other way round explains no accuracy on these videos
    assert examined(ArrowFrom(lambda clip: -filling(clip)), videos, overlay).verdict == BIASED
    # nor does reading what no video has
    drawn = examined(ArrowFrom(filling), plain, None)
    assert drawn.verdict in (BIASED, CHANCE)


def test_an_overlay_that_never_changes_gives_nothing_away(tmp_path):
    videos = make_burned(tmp_path / "mark", mark, count=8, frames=24, size=48).videos()
    auditor = Auditor(Coin(), videos, 4, alpha=ALPHA, overlay=find_overlay(videos))
    assert auditor.overlay is not None
    assert auditor.spec.overlay is None


def test_the_control_shows_the_overlay_of_the_data_in_both_directions(burned):
    videos = burned.videos()[:8]
    mask = find_overlay(videos).mask
    spec = ControlSpec(20, 30.0, 48, videos, mask)
    forward, backward = make_videos("overlay", spec, 2)
    ends = np.array([[0, 19]])
    bottom = [read_square(video, ends, 48)[0, :, -2:, :, 0].mean((1, 2)) for video in (forward, backward, videos[0])]
    assert bottom[0][1] > bottom[0][0] + 50
    assert bottom[1] == pytest.approx(bottom[0][::-1], abs=8)
    still = read_square(forward, ends, 48)[0, :, :36].astype(float)
    assert np.abs(still[1] - still[0]).mean() < 15  # but for the noise of a sensor
    drawn = make_videos("overlay", ControlSpec(20, 30.0, 48, videos), 1)
    assert drawn[0].path != forward.path


def test_a_drawn_overlay_runs_backward_in_half_of_the_videos():
    changed = []
    for video in make_videos("overlay", ControlSpec(20, 30.0, 64), 16):
        frames = read_square(video, np.array([[1, 18]]), 64)[0].astype(float)
        changed.append(np.abs(frames[1] - frames[0]).mean(-1).max())
    assert np.mean(np.array(changed) > 60) > 0.3  # the slowest do not move within a second


@pytest.fixture
def one_thread():
    """Threads of so small a network would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("overlays", ["keep", "mask"])
def test_arrow_of_time_learns_a_progress_bar_and_cannot_where_it_is_masked(overlays, burned, tmp_path):
    values = {
        "task": "arrow_of_time",
        "backbone": "r3d_18_tiny",
        "data": [str(burned.path)],
        "out": str(tmp_path / "run"),
    }
    words = [f"steps={STEPS}", "batch=8", "workers=0", "lr=0.003", "frames=8", "size=32", f"overlays={overlays}"]
    run = pretrain(load_config(None, words, values))
    videos = burned.videos("test")
    auditor = Auditor(trained_task(run), run.masked(videos), 36, alpha=ALPHA, overlay=find_overlay(burned.videos()))
    held_out, check = auditor.held_out_accuracy, auditor.check("overlay")
    if overlays == "keep":
        assert held_out.accuracy > 0.9
        assert check.verdict == SHORTCUT
    else:
        assert held_out.accuracy < 0.7
        assert check.verdict == CHANCE
