"""Distractors of the motion world: the clock stays, apparent motion does not, and what is known of a video stays true of its pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from ssvid.data.camera import CameraPath, look
from ssvid.data.distractors import DISTRACTORS, MARGIN, STEADY, shot_starts, slowed_positions, strength_over
from ssvid.data.rendering import render_video
from ssvid.data.synthetic import make_world
from ssvid.errors import ConfigError

FRAMES, SIZE = 90, 32


def film(distractor: str | None, seed: int = 3, varying_speed: bool = True, label: str = "orbit"):
    rng = np.random.default_rng([seed, 0])
    return render_video(label, rng, frames=FRAMES, size=SIZE, varying_speed=varying_speed, distractor=distractor)


def apparent(video) -> np.ndarray:
    """Mean motion (T-1,) of the pictures."""
    return np.abs(np.diff(video.frames.astype(int), axis=0)).mean((1, 2, 3))


@pytest.fixture(scope="module")
def plain():
    return film(None)


@pytest.mark.parametrize("case", DISTRACTORS)
def test_the_clock_stays_and_the_pictures_change_the_same_way_every_time(plain, case):
    video, again = film(case), film(case)
    np.testing.assert_array_equal(video.frames, again.frames)
    assert video.frames.shape == plain.frames.shape
    assert video.masks.shape == plain.masks.shape
    assert np.abs(video.frames.astype(int) - plain.frames).mean() > 0.5
    if case == "slow_motion":
        assert (video.speed <= plain.speed.max()).all()
        assert video.speed.sum() < plain.speed.sum()
    else:
        np.testing.assert_array_equal(video.speed, plain.speed)


@pytest.mark.parametrize("case", ["shake", "pan", "zoom", "lights", "dark"])
def test_what_is_added_moves_though_the_world_stands_still(case, monkeypatch):
    """With the clock stopped all motion is the distractor's, and it follows the distractor's own strength."""
    monkeypatch.setattr("ssvid.data.rendering.world_clock", lambda rng, frames, fps, varying: (np.zeros(frames),) * 2)
    strengths = np.linspace(0, 1, FRAMES)
    monkeypatch.setattr("ssvid.data.rendering.strength_over", lambda rng, frames, fps: strengths)
    assert apparent(film(None)).max() == 0
    moved = apparent(film(case))
    thirds = [part.mean() for part in np.array_split(moved, 3)]
    assert thirds[0] < thirds[1] < thirds[2]


def test_strength_has_nothing_to_do_with_the_clock():
    found = []
    for seed in range(60):
        rng = np.random.default_rng([seed, 0])
        clock = render_video("orbit", rng, frames=FRAMES, size=16, varying_speed=True).speed
        strength = strength_over(np.random.default_rng(seed), FRAMES, 30.0)
        assert strength.min() >= 0
        assert strength.max() <= 1
        found.append(spearmanr(clock, strength)[0])
    assert abs(np.mean(found)) < 0.2


def test_near_objects_are_larger_and_move_more_pixels(monkeypatch):
    monkeypatch.setattr(
        "ssvid.data.rendering.strength_over", lambda rng, frames, fps: np.repeat([0.0, 1.0], frames // 2)
    )
    video = film("depth", varying_speed=False, label="rotate_left")
    shown = (video.masks > 0).sum((1, 2))
    assert shown[FRAMES // 2 :].min() > 1.5 * shown[: FRAMES // 2].max()


def test_a_crowd_comes_and_goes_and_moves_by_the_worlds_clock(monkeypatch):
    monkeypatch.setattr("ssvid.data.rendering.strength_over", lambda rng, frames, fps: np.linspace(0, 1, frames))
    video = film("crowd", varying_speed=False)
    walkers = np.isfinite(video.centres[:, -12:, 0]).sum(1)
    assert walkers[0] == 0
    assert walkers[-1] >= 8
    monkeypatch.setattr("ssvid.data.rendering.world_clock", lambda rng, frames, fps, varying: (np.zeros(frames),) * 2)
    monkeypatch.setattr("ssvid.data.rendering.strength_over", lambda rng, frames, fps: np.ones(frames))
    assert apparent(film("crowd")).max() == 0


def test_shots_show_other_scenes_of_the_same_class():
    starts = shot_starts(np.random.default_rng(0), 300, 30.0)
    assert starts[0] == 0
    assert all(24 <= gap <= 60 for gap in np.diff(starts))
    change = apparent(film("cuts"))
    assert change.max() > 5 * np.median(change)


def test_slow_motion_repeats_or_blends_and_its_speed_says_so(plain):
    kinds = set()
    for seed in range(6):
        video = film("slow_motion", seed)
        full = film(None, seed)
        repeated = (apparent(video) == 0).mean()
        kinds.add(bool(repeated > 0.1))
        # the way that the world has gone is the way that its speed adds up to
        assert video.speed.sum() < full.speed.sum()
    assert kinds == {True, False}
    position, pace = slowed_positions(np.random.default_rng(0), np.array([0.0, 0.0, 0.9, 0.9, 0.9, 0.0]))
    assert pace[0] == pace[5] == 1
    assert position.tolist()[:3] == [0, 1, 2]
    assert position[4] == pytest.approx(2 + 2 * pace[2])


def test_a_camera_that_does_not_move_shows_the_middle_pixel_by_pixel():
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (2, 48, 48, 3), np.uint8)
    masks = np.zeros((2, 48, 48), np.uint8)
    masks[:, 20, 12] = 1
    centres = np.full((2, 1, 2), (12.0, 20.0), np.float32)
    still = CameraPath(np.zeros(2), np.zeros(2), np.ones(2))
    pictures, cover, moved = look(still, wide, masks, centres, 32)
    np.testing.assert_array_equal(pictures, wide[:, 8:40, 8:40])
    assert np.argwhere(cover[0]).tolist() == [[12, 4]]
    assert moved[0, 0].tolist() == [4, 12]
    aside = CameraPath(np.full(2, 0.25), np.zeros(2), np.ones(2))  # 8 px to the right: the object has left the frame
    assert np.isnan(look(aside, wide, masks, centres, 32)[2]).all()
    closer = CameraPath(np.zeros(2), np.zeros(2), np.full(2, 2.0))
    masks[:, 16:24, 16:24] = 1
    shown = look(closer, wide, masks, centres, 32)[1]
    assert (shown[0] > 0).sum() == 256  # 8 px are 16 now


@pytest.mark.parametrize("case", ["shake", "pan", "zoom"])
def test_masks_and_centres_move_with_the_camera(case):
    video = film(case, label="translate")
    off = []
    for mask, centres in zip(video.masks[::10], video.centres[::10], strict=True):
        for number, centre in enumerate(centres, 1):
            rows, columns = np.nonzero(mask == number)
            if len(rows) > 4 and min(rows.min(), columns.min()) > 0 and max(rows.max(), columns.max()) < SIZE - 1:
                off.append(np.hypot(columns.mean() - centre[0], rows.mean() - centre[1]))
    assert len(off) > 20
    assert np.median(off) < 1  # some are covered in part


def test_a_camera_never_sees_beyond_what_is_drawn():
    for case in ("shake", "pan", "zoom"):
        for seed in range(20):
            rng = np.random.default_rng(seed)
            path = DISTRACTORS[case].camera(np.arange(300) / 30, rng.uniform(0, 1, 300), rng)
            reach = np.maximum(np.abs(path.x), np.abs(path.y)) + 0.5 / path.scale
            assert reach.max() <= 0.5 + MARGIN + 1e-9


def test_an_unknown_distractor_is_refused():
    with pytest.raises(ConfigError, match=r"no distractor 'fog'.*depth, crowd"):
        film("fog")


def test_a_world_with_distractors_has_them_in_its_scenes_and_no_slow_motion_at_a_steady_clock(tmp_path):
    options = {"per_class": 3, "frames": 4, "size": 16, "engine": "local:1"}
    table = make_world(tmp_path / "w", distractors=1.0, seed=2, **options)
    notes = [json.loads(path.read_text()) for path in sorted((table.parent / "annotations").iterdir())]
    cases = {note["group"]: note["distractor"] for note in notes}
    assert all(note["distractor"] == cases[note["group"]] for note in notes)  # a scene has one, whatever its class
    assert set(cases.values()) <= set(STEADY)
    assert "slow_motion" not in STEADY
    with pytest.raises(ConfigError, match=r"distractors=1\.0, asked 0\.0"):
        make_world(tmp_path / "w", seed=2, **options)
    with pytest.raises(ConfigError, match="0 <= distractors <= 1"):
        make_world(tmp_path / "x", distractors=2.0)
    plain = make_world(tmp_path / "p", seed=2, **options)
    note = json.loads((plain.parent / "annotations" / "orbit_0001.json").read_text())
    assert note["distractor"] is None
