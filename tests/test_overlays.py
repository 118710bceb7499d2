"""Overlays are found where all videos have them, whatever their clock, and a run masks them in training and in tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ssvid.config import load_config
from ssvid.data.loader import GREY, hidden_square, read_square
from ssvid.data.overlays import find_overlay, hide
from ssvid.errors import ConfigError, DataError
from ssvid.training.fit import pretrain
from ssvid.training.run import Run
from ssvid.video.writer import write_video
from tests.burned import clock, make_burned, mark, nothing, progress_bar, wall_clock

SIZE = 64


@pytest.fixture(scope="module")
def burned(tmp_path_factory):
    """The index of twelve videos with an overlay, made once for each overlay."""
    made = {}

    def index(draw):
        if draw not in made:
            made[draw] = make_burned(tmp_path_factory.mktemp("burned") / "b", draw, count=12, frames=24, size=SIZE)
        return made[draw]

    return index


@pytest.mark.parametrize(
    ("draw", "rows", "columns", "changes"),
    [
        (progress_bar, (60, 64), (0, 64), True),
        (clock, (3, 11), (4, 30), True),
        (wall_clock, (2, 14), (2, 30), True),
        (mark, (6, 15), (49, 58), False),
    ],
)
def test_an_overlay_is_found_where_it_is(draw, rows, columns, changes, burned):
    found = find_overlay(burned(draw).videos())
    assert found.changes is changes
    assert ("changing alike" if changes else "the same") in found.describe()
    scale = found.mask.shape[0] / SIZE
    there = np.s_[
        round(rows[0] * scale) : round(rows[1] * scale), round(columns[0] * scale) : round(columns[1] * scale)
    ]
    assert found.mask[there].mean() > 0.95
    elsewhere = found.mask.copy()
    top, bottom, left, right = (round(n * scale) for n in (rows[0] - 9, rows[1] + 9, columns[0] - 9, columns[1] + 20))
    elsewhere[max(0, top) : bottom, max(0, left) : right] = False
    assert not elsewhere.any()


def test_bare_videos_have_none_and_few_videos_say_nothing(burned):
    videos = burned(nothing).videos()
    assert find_overlay(videos) is None
    with pytest.raises(DataError, match="7 videos of different groups are too few"):
        find_overlay(videos[:7])
    with pytest.raises(DataError, match="1 videos of different groups"):
        find_overlay([replace(video, group="one scene") for video in videos])


def test_a_fixed_camera_is_no_overlay_but_its_clock_is(tmp_path, burned):
    scene = read_square(burned(nothing).videos()[0], np.array([[0]]), SIZE)[0, 0]
    for with_clock in (False, True):
        videos = []
        for number, video in enumerate(burned(nothing).videos()):
            frames = np.repeat(scene[None], 24, 0)
            for at, frame in enumerate(frames):
                x = (5 * number + 2 * at) % 40
                frame[30:50, x : x + 16] = 40 * (number % 6)  # somebody walks through
                if with_clock:
                    progress_bar(frame, at, 24, number)
            path = tmp_path / f"{with_clock}{number}.mp4"
            write_video(path, frames, fps=30.0)
            videos.append(replace(video, info=replace(video.info, path=str(path), identity="")))
        found = find_overlay(videos)
        if with_clock:
            assert found.changes
            assert found.mask[-6:].mean() > 0.9
            assert not found.mask[:60].any()
        else:
            assert found is None


def test_what_is_hidden_is_one_grey_wherever_the_square_lies(tmp_path, burned):
    frames = np.random.default_rng(0).integers(0, 255, (6, 40, 80, 3), np.uint8)
    write_video(tmp_path / "wide.mp4", frames, fps=30.0)
    video = burned(nothing).videos()[0]
    wide = replace(
        video, info=replace(video.info, path=str(tmp_path / "wide.mp4"), identity="", width=80, height=40, frames=6)
    )
    mask = np.zeros((4, 8), bool)
    mask[3, 6:] = True  # the right quarter of the lowest quarter
    for offset, columns in ((0.0, []), (0.5, []), (1.0, range(20, 40)), (0.75, range(30, 40))):
        (hidden,) = hide([wide], mask)
        plain, covered = (read_square(one, np.array([[0, 3]]), 40, offset) for one in (wide, hidden))
        there = hidden_square(hidden, 40, offset)
        assert np.flatnonzero(there.any(0)).tolist() == list(columns)
        assert (covered[..., there, :] == GREY).all()
        assert (covered[..., ~there, :] == plain[..., ~there, :]).all()
    assert hide([wide], None) == [wide]


def settings(index, out, **changes):
    values = {"task": "arrow_of_time", "backbone": "tests/toy.py:toy", "data": [str(index.path)], "out": str(out)}
    words = [
        "steps=1",
        "batch=2",
        "workers=0",
        "frames=6",
        "size=24",
        *(f"{key}={value}" for key, value in changes.items()),
    ]
    return load_config(None, words, values)


def test_a_run_masks_in_training_and_in_tests_only_where_asked(tmp_path, burned):
    index, lines = burned(progress_bar), []
    kept = pretrain(settings(index, tmp_path / "kept"))
    assert kept.masked(index.videos())[0].hidden is None
    run = pretrain(settings(index, tmp_path / "run", overlays="mask"), report=lines.append)
    assert any("overlays masked" in name and "bottom" in name for line in lines for name in line)
    video = Run(run.path).masked(index.videos("test"))[0]
    bottom = read_square(video, np.array([[0, 23]]), SIZE)[:, :, -4:]
    assert (bottom == GREY).all()
    bare = pretrain(settings(burned(nothing), tmp_path / "run", overlays="mask"), overwrite=True)
    assert bare.masked(index.videos())[0].hidden is None  # the mask of the run it replaces is gone
    with pytest.raises(ConfigError, match="overlays='crop' is not one of keep, mask"):
        settings(index, tmp_path / "x", overlays="crop")
