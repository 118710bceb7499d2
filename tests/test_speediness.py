"""The speediness curve: windows of a stream, V from answers, and a video whose true speed a made-up network can read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ssvid.cli import app
from ssvid.errors import ConfigError
from ssvid.speedup.curve import MAX_RATE, Curve, estimate_curve, motion_speed
from ssvid.speedup.natural_speed import fastest_natural, fill_gaps, largest_below, spread_over_frames
from ssvid.speedup.windows import WindowCutter
from ssvid.video.scan import scan
from ssvid.video.writer import write_video
from tests.speedometer import HEIGHT, LIMIT, Speedometer, bar, sweep
from tests.videos import texture, uneven_times

RATES = np.array([1.0, 1.25, 1.5625])


def cut_windows(times, durations, cuts, rates, clock, length, hop):
    return list(WindowCutter(times, durations, cuts, rates, clock, length, hop).cut(iter(range(len(times)))))


def even(count: int, fps: float) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(count) / fps, np.full(count, 1 / fps)


def test_windows_show_every_frame_at_rate_one_and_every_other_at_two():
    windows = cut_windows(*even(20, 10), (), [1.0, 2.0], 10.0, 4, 2)
    at_one = [window.frames for window in windows if window.rate == 0]
    assert at_one == [tuple(range(start, start + 4)) for start in range(0, 17, 2)]
    at_two = [window.frames for window in windows if window.rate == 1]
    assert at_two == [(s, s + 2, s + 4, s + 6) for s in (0, 4, 8, 12)]
    assert windows[0].centre == pytest.approx(0.15)
    assert [window.numbers for window in windows] == [window.frames for window in windows]


def test_the_last_window_ends_where_the_shot_ends_and_none_crosses_a_cut():
    windows = cut_windows(*even(23, 10), (9, 11), [1.0, 2.0], 10.0, 4, 4)
    shots = [(0, 9), (9, 11), (11, 23)]
    assert {window.shot for window in windows} == {0, 2}  # the middle one is shorter than a window
    for window in windows:
        start, end = shots[window.shot]
        assert start <= window.frames[0]
        assert window.frames[-1] < end
    assert [window.frames[-1] for window in windows if window.shot == 0 and window.rate == 0] == [3, 7, 8]


def test_windows_count_seconds_not_frames():
    times = uneven_times(60)
    durations = np.diff(times, append=times[-1] + 1 / 30)
    for window in cut_windows(times, durations, (), [1.0, 1.25], 12.0, 5, 3):
        step = (1.0, 1.25)[window.rate] / 12
        ticks = window.centre + step * (np.arange(5) - 2)
        shown = np.searchsorted(times, ticks + 1e-6, side="right") - 1
        assert window.frames == tuple(shown)


def test_what_is_held_does_not_grow_with_the_length():
    held = []
    for count in (100, 2000):
        cutter = WindowCutter(*even(count, 10), (), [1.0, 4.0], 10.0, 6, 3)
        most = 0
        for _ in cutter.cut(iter(range(count))):
            most = max(most, sum(len(recent) for recent in cutter.recent))
        held.append(most)
    assert held == [12, 12]


def test_a_clean_step_gives_the_rate_where_it_lies_and_a_slope_its_mean():
    step = np.array([[0.0], [0.0], [1.0]])
    assert fastest_natural(step, RATES) == pytest.approx(1.25 * 1.25**0.5)
    assert largest_below(step, RATES) == pytest.approx(1.25)
    never, always = np.zeros((3, 1)), np.ones((3, 1))
    assert fastest_natural(never, RATES) == pytest.approx(1.5625)
    assert fastest_natural(always, RATES) == pytest.approx(1.0)
    assert largest_below(always, RATES) == pytest.approx(1.0)
    assert fastest_natural(np.full((3, 1), 0.5), RATES) == pytest.approx(1.25)
    more, less = np.array([[0.2], [0.5], [0.9]]), np.array([[0.2], [0.4], [0.9]])
    assert fastest_natural(less, RATES) > fastest_natural(more, RATES)


def test_answers_are_spread_within_their_shot():
    spread = spread_over_frames([[[1.0, 3.0], []]], [[[0.0, 2.0], []]], times=np.arange(7.0), starts=(0, 5))
    assert spread[0, :5].tolist() == [0.0, 0.0, 1.0, 2.0, 2.0]
    assert np.isnan(spread[0, 5:]).all()


def test_gaps_are_filled_as_the_others_are():
    known = np.array([[1.0, 3.0, np.nan, 5.0], [2.0, 6.0, np.nan, np.nan]])
    filled = fill_gaps(known)
    assert filled[0].tolist() == [1, 3, 3, 5]  # the third is as the mean of 1, 3, 5
    assert filled[1].tolist() == [2, 6, 5, 7]  # from one rate to the next the others rose by 1 and 3


def test_a_video_gets_the_speed_that_a_network_knows(tmp_path):
    path = tmp_path / "v.mp4"
    pace = np.repeat([1.0, 2.0], 60)
    write_video(path, sweep(pace), fps=30)
    told = []
    curve = estimate_curve(path, model=Speedometer(), progress=lambda *line: told.append(line))
    assert curve.by == "model"
    assert curve.faster.shape == (len(curve.rates), 120)
    assert curve.rates[0] == 1
    assert max(curve.rates) <= MAX_RATE
    assert np.median(curve.network[8:45]) == pytest.approx(LIMIT, rel=0.12)
    assert np.median(curve.network[75:112]) == pytest.approx(LIMIT / 2, rel=0.12)
    motion = estimate_curve(path, by="motion").natural
    np.testing.assert_allclose(curve.natural, np.sqrt(curve.network * motion))
    assert told[-1] == ("scoring", 120, 120)


def test_asking_in_batches_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "v.mp4"
    write_video(path, sweep(np.repeat([1.0, 2.0], 30)), fps=30)
    curves = []
    for batch in (1, 1000):
        monkeypatch.setattr("ssvid.speedup.curve.BATCH", batch)
        curves.append(estimate_curve(path, model=Speedometer()).faster)
    np.testing.assert_allclose(*curves, atol=1e-5)


def test_an_uneven_frame_rate_changes_nothing(tmp_path):
    path = tmp_path / "v.mp4"
    times = uneven_times(90)
    frames = (bar(30 * second) for second in times)
    write_video(path, frames, times=times)
    curve = estimate_curve(path, model=Speedometer(fps=10.0))
    assert np.median(curve.network) == pytest.approx(LIMIT / 3, rel=0.15)  # 3 px a tick of 1/10 s
    assert curve.durations.sum() == pytest.approx(scan(path)[0].duration)


def test_what_stands_still_may_run(tmp_path):
    path = tmp_path / "v.mp4"
    write_video(path, [bar(40.0)] * 60, fps=30)
    curve = estimate_curve(path, model=Speedometer())
    assert (curve.network > 0.9 * max(curve.rates)).all()


def test_shots_are_judged_apart_and_a_short_one_as_the_others(tmp_path):
    path = tmp_path / "v.mp4"
    warm, cold = np.array([1.0, 0.3, 0.3]), np.array([0.3, 0.3, 1.0])
    slow = [(frame * warm).astype(np.uint8) for frame in sweep(np.full(50, 1.0))]
    fast = [(frame * cold).astype(np.uint8) for frame in sweep(np.full(50, 2.0))]
    write_video(path, [*slow, *[texture(3)[:HEIGHT]] * 5, *fast], fps=30)
    curve = estimate_curve(path, model=Speedometer())
    assert curve.cuts == (50, 55)
    assert curve.network[:50].min() > curve.network[55:].max()
    assert curve.network[55:].min() < curve.network[50:55].mean() < curve.network[:50].max()


@pytest.mark.parametrize("count", [1, 2, 7])
def test_less_than_a_window_is_no_evidence(tmp_path, count):
    path = tmp_path / "v.mp4"
    write_video(path, sweep(np.full(count, 3.0)), fps=30)
    curve = estimate_curve(path, model=Speedometer())
    assert curve.rates == ()
    assert curve.faster.shape == (0, count)
    assert curve.natural.tolist() == [1.0] * count
    again = estimate_curve(path, by="motion")
    assert np.isfinite(again.natural).all()
    assert len(again.natural) == count


def test_motion_is_taken_by_the_second_and_not_over_a_cut():
    motion = np.concatenate([np.full(50, 2.0), [90.0], np.full(49, 4.0)]).astype(np.float32)
    natural = motion_speed(motion, np.full(100, 1 / 30), (50,))
    assert natural[20] == pytest.approx(2 * natural[80], rel=1e-3)
    assert natural[49] == pytest.approx(natural[20], rel=1e-3)
    assert natural[50] == pytest.approx(1.0)
    slower = motion_speed(np.full(100, 2.0), np.repeat([1 / 30, 1 / 15], 50), ())
    assert slower[80] == pytest.approx(2 * slower[20], rel=1e-2)


def test_constant_knows_nothing_and_other_words_are_refused(tmp_path):
    path = tmp_path / "v.mp4"
    write_video(path, sweep(np.full(20, 3.0)), fps=30)
    assert set(estimate_curve(path, by="constant").natural) == {1.0}
    with pytest.raises(ConfigError, match="model, motion, constant"):
        estimate_curve(path, by="magic")


def test_a_curve_survives_json(tmp_path):
    path = tmp_path / "v.mp4"
    write_video(path, sweep(np.full(40, 3.0)), fps=30)
    for by in ("model", "constant"):
        curve = estimate_curve(path, by=by, model=Speedometer())
        again = Curve.from_dict(json.loads(json.dumps(curve.to_dict())))
        np.testing.assert_allclose(again.times, curve.times, atol=1e-6)
        np.testing.assert_allclose(again.faster, curve.faster, atol=1e-4)
        assert (again.by, again.cuts, again.rates) == (curve.by, curve.cuts, curve.rates)
        assert again.faster.shape == curve.faster.shape


def test_the_command_prints_and_draws(tmp_path):
    path = tmp_path / "v.mp4"
    write_video(path, sweep(np.full(40, 3.0)), fps=30)
    runner = CliRunner()
    result = runner.invoke(app, ["speediness", str(path), "--json", "--plot", str(tmp_path / "c.png")])
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["natural"]) == 40
    assert (tmp_path / "c.png").stat().st_size > 1000
    text = runner.invoke(app, ["speediness", str(path), "--by", "motion"]).stdout
    assert text.splitlines()[0].split("\t")[:2] == ["seconds", "speed"]
    assert len(text.splitlines()) == 14
    refused = runner.invoke(app, ["speediness", str(path), "--plot", str(tmp_path / "c.xyz")])
    assert isinstance(refused.exception, ConfigError)
