from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ssvid.video.guard import Guard
from ssvid.video.scan import scan
from ssvid.video.shots import Shots
from ssvid.video.writer import write_video
from tests.videos import texture


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with Guard() as guard:
        yield guard


def shots_of(guard: Guard, folder: Path, frames: list[np.ndarray], **options: object) -> Shots:
    write_video(folder / "a.mp4", frames, crf=12, **options)
    return scan(folder / "a.mp4", guard=guard)[1]


def panning(seed: int, count: int, speed: int = 2) -> list[np.ndarray]:
    """A window that slides over one large picture."""
    picture = texture(seed, 128, 160 + speed * count + 8)
    return [picture[:, speed * number : speed * number + 160] for number in range(count)]


def test_cuts_are_found_to_the_frame(guard: Guard, tmp_path: Path) -> None:
    frames = panning(1, 17) + panning(2, 31) + panning(3, 12)
    assert shots_of(guard, tmp_path, frames).cuts == (17, 48)


def test_cuts_between_still_shots_are_found(guard: Guard, tmp_path: Path) -> None:
    frames = [texture(1, 128)] * 10 + [texture(2, 128)] * 10 + [texture(3, 128)] * 2
    assert shots_of(guard, tmp_path, frames).cuts == (10, 20)


@pytest.mark.parametrize("speed", [0, 2, 12])
def test_one_shot_has_no_cut(guard: Guard, tmp_path: Path, speed: int) -> None:
    assert shots_of(guard, tmp_path, panning(4, 40, speed)).cuts == ()


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_is_no_cut(guard: Guard, tmp_path: Path, length: int) -> None:
    frames = panning(5, 40, speed=0)
    for number in range(20, 20 + length):
        frames[number] = np.full_like(frames[0], 250)
    assert shots_of(guard, tmp_path, frames).cuts == ()


def test_a_fade_is_no_cut(guard: Guard, tmp_path: Path) -> None:
    frames = [(frame * min(1, number / 20)).astype(np.uint8) for number, frame in enumerate(panning(6, 40))]
    assert shots_of(guard, tmp_path, frames).cuts == ()


def test_motion_is_the_mean_grey_difference(guard: Guard, tmp_path: Path) -> None:
    levels = [60, 60, 100, 100, 90]
    frames = [np.full((128, 160, 3), level, np.uint8) for level in levels]
    motion = shots_of(guard, tmp_path, frames).motion
    assert motion.dtype == np.float32
    np.testing.assert_allclose(motion, [0, 0, 40, 0, 10], atol=2.5)


def test_static_share(guard: Guard, tmp_path: Path) -> None:
    moving = panning(7, 11, speed=8)
    shots = shots_of(guard, tmp_path, moving + [moving[-1]] * 10)
    assert shots.static == pytest.approx(0.5, abs=0.11)
    assert shots_of(guard, tmp_path, [moving[0]] * 20).static == 1.0
    assert shots_of(guard, tmp_path, moving).static == 0.0
    assert shots_of(guard, tmp_path, moving[:1]).static == 0.0


@pytest.mark.parametrize(
    ("rotation", "bars"), [(0, (16, 16, 8, 8)), (90, (8, 8, 16, 16)), (180, (16, 16, 8, 8)), (270, (8, 8, 16, 16))]
)
def test_bars_are_measured_as_shown(guard: Guard, tmp_path: Path, rotation: int, bars: tuple[int, ...]) -> None:
    frames = [np.maximum(frame, 60) for frame in panning(8, 25)]
    for frame in frames:
        frame[:16] = frame[-16:] = frame[:, :8] = frame[:, -8:] = 0
    found = shots_of(guard, tmp_path, frames, rotation=rotation).bars
    np.testing.assert_allclose(found, bars, atol=1)


def test_unequal_bars_keep_their_sides(guard: Guard, tmp_path: Path) -> None:
    frames = [np.maximum(frame, 60) for frame in panning(8, 25)]
    for frame in frames:
        frame[:24], frame[-16:] = 0, 0
    np.testing.assert_allclose(shots_of(guard, tmp_path, frames, rotation=0).bars, (24, 16, 0, 0), atol=1)
    turned = shots_of(guard, tmp_path, frames, rotation=90).bars  # what was on top is at the right
    np.testing.assert_allclose(turned, (0, 0, 16, 24), atol=1)


def test_dark_pictures_are_no_bars(guard: Guard, tmp_path: Path) -> None:
    assert shots_of(guard, tmp_path, [np.zeros((128, 160, 3), np.uint8)] * 5).bars == (0, 0, 0, 0)
    one_sided = [np.maximum(frame, 60) for frame in panning(9, 25)]
    for frame in one_sided:
        frame[:, :60] = 0
    assert shots_of(guard, tmp_path, one_sided).bars == (0, 0, 0, 0)
    bright_once = [frame.copy() for frame in panning(9, 30)]
    for number, frame in enumerate(bright_once):
        frame[:16] = frame[-16:] = 0 if number != 20 else 200
    assert shots_of(guard, tmp_path, bright_once).bars == (0, 0, 0, 0)
