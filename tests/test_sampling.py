"""Windows never cross a cut, leave the video or repeat a frame; clocks are even in seconds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretext.speednet import NORMAL, SPED_UP, skip_frames
from ssvid.data.sampling import Window, clock, epoch_order, even_views, window_starts
from ssvid.data.video_record import VideoRecord
from ssvid.video.info import VideoInfo
from ssvid.video.shots import Shots


def record(
    times: np.ndarray, cuts: tuple[int, ...] = (), motion: np.ndarray | None = None, variable: bool = False
) -> VideoRecord:
    frames = len(times)
    fps = (frames - 1) / times[-1] if frames > 1 else 25.0
    info = VideoInfo("v.mp4", frames, fps, times[-1] + 1 / fps, 64, 48, "h264", "mp4", 0, False, True, variable, times)
    motion = np.ones(frames, np.float32) if motion is None else motion
    return VideoRecord(1, info, Shots(motion=motion, cuts=cuts, bars=(0, 0, 0, 0), static=0.0))


def even(frames: int, fps: float = 25.0, **kwargs) -> VideoRecord:
    return record(np.arange(frames) / fps, **kwargs)


@given(
    st.integers(2, 120),
    st.integers(1, 40),
    st.lists(st.integers(1, 119), max_size=4),
    st.sampled_from([None, 5.0, 12.5, 25.0]),
)
def test_windows_stay_in_one_shot(frames, window_length, cuts, fps):
    video = even(frames, cuts=tuple(sorted({cut for cut in cuts if cut < frames})))
    ticks = clock(video, fps)
    assert ((ticks >= 0) & (ticks < frames)).all()
    for start in window_starts(video, ticks, window_length):
        window = ticks[start : start + window_length]
        assert len(window) == window_length
        assert len(set(window)) == window_length  # nothing padded, wrapped or repeated
        assert not any(window[0] < cut <= window[-1] for cut in video.shots.cuts)


def test_every_whole_window_is_offered():
    video = even(20, cuts=(8,))
    assert window_starts(video, clock(video), 5).tolist() == [0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15]


def test_static_windows_are_left_out():
    motion = np.zeros(20, np.float32)
    motion[15:] = 4
    video = even(20, motion=motion)
    starts = window_starts(video, clock(video), 5, min_motion=1.0)
    assert starts.tolist() == [11, 12, 13, 14, 15]  # the four steps from frame 11 move by 0, 0, 0, 4: a mean of 1
    assert Window(5, min_motion=1.0).why_unusable(even(20, motion=np.zeros(20, np.float32))) == "no motion"


@pytest.mark.parametrize("fps", [10.0, 12.5])
def test_clock_is_even_in_seconds_on_a_variable_rate(fps):
    rng = np.random.default_rng(0)
    times = np.concatenate([[0], np.cumsum(rng.choice([1, 2, 3], 199) / 60)])
    video = record(times, variable=True)
    ticks = clock(video, fps)
    on_screen = times[ticks]
    asked = np.arange(len(ticks)) / fps
    assert (on_screen <= asked + 1e-5).all()
    assert (asked - on_screen).max() < 3 / 60  # never an older frame than the one on screen
    assert len(ticks) == pytest.approx(times[-1] * fps, abs=1.5)


def test_reasons_are_told():
    assert Window(11).why_unusable(even(10)) == "shorter than 11 frames"
    assert Window(11).why_unusable(even(20, cuts=(10,))) == "no shot of 11 frames"
    assert Window(11, fps=25.0).why_unusable(even(50, fps=10)) == "its rate is below 25 fps"
    assert Window(11).why_unusable(even(20)) is None


@given(st.integers(1, 200), st.integers(1, 10), st.integers(1, 32), st.integers(1, 8))
def test_views_cover_every_video(frames, clips, length, stride):
    views = even_views(frames, clips, length, stride)
    assert views.shape == (clips, length)
    assert (np.diff(views, axis=1) >= 0).all()
    assert views.min() >= 0
    assert views.max() <= frames - 1
    if clips > 1:
        assert views[0, 0] == 0
        assert views[-1, -1] == frames - 1
    if (length - 1) * stride <= frames - 1:
        assert (np.diff(views, axis=1) == stride).all()


def test_an_epoch_holds_every_video_once_whatever_the_batch():
    order = epoch_order(7, seed=3, position=np.arange(21))
    for epoch in range(3):
        assert sorted(order[7 * epoch : 7 * epoch + 7]) == list(range(7))
    assert order[:7].tolist() != order[7:14].tolist()
    assert (epoch_order(7, 3, np.arange(5, 12)) == order[5:12]).all()


def test_skips_are_irregular_and_have_the_stated_rate():
    rng = np.random.default_rng(0)
    for low, high in (NORMAL, SPED_UP):
        rates, gaps = [], set()
        for _ in range(400):
            rate = rng.uniform(low, high)
            picked = skip_frames(192, 64, rate, rng)
            assert len(picked) == 64
            assert (np.diff(picked) > 0).all()
            rates.append((picked[-1] - picked[0]) / 63)
            gaps |= set(np.diff(picked).tolist())
        assert np.mean(rates) == pytest.approx((low + high) / 2, rel=0.03)
        assert len(gaps) > 2  # no fixed period that a codec's pattern could be read from


def test_a_draw_that_leaves_too_few_frames_still_gives_all_of_them():
    rng = np.random.default_rng(0)
    for _ in range(50):
        picked = skip_frames(18, 16, 2.2, rng)  # 18 / 2.2 is about 8
        assert len(picked) == 16
        assert (np.diff(picked) > 0).all()
