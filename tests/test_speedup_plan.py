"""The plan in seconds: its length, its map of time, its file, hands that edit it, and the editors' timeline."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from ssvid.errors import ConfigError, DataError
from ssvid.speedup.plan import file_identity, make_plan, read_plan, write_plan
from ssvid.speedup.schedule import schedule
from ssvid.speedup.timeline import CUT, average_rate, chunks, segments, write_timeline
from tests.speedups import curve_of, uneven, uneven_plan
from tests.videos import uneven_times


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "v.mp4"
    path.write_bytes(bytes(range(256)) * 20)
    return path


@pytest.mark.parametrize("asked", [{"speed": 2.0}, {"speed": 3.7}, {"duration": 4.0}, {"speed": 1.0}, {}])
@pytest.mark.parametrize("variable", [False, True])
def test_length_is_met_in_ticks(video, asked, variable):
    times = uneven_times(300) if variable else np.arange(300) / 30
    curve = curve_of(times, np.exp(np.sin(times)))
    total = curve.durations.sum()
    plan = make_plan(video, curve, **asked)
    length = asked.get("duration", total / asked.get("speed", 2.0))
    for suffix in (".mp4", ".webm"):
        frames = schedule(plan, suffix)
        assert float(frames.ticks[-1] * frames.tick) == pytest.approx(length, abs=0.51 * float(frames.tick))
        assert frames.frames.tolist() == list(range(300)), "no frame is dropped at a variable rate"
        assert (np.diff(frames.ticks) > 0).all()


def test_speed_one_keeps_every_time(video):
    times = uneven_times(100)
    plan = make_plan(video, curve_of(times, np.exp(np.sin(times))), speed=1)
    frames = schedule(plan, ".mp4")
    assert frames.ticks[:-1] * float(frames.tick) == pytest.approx(times, abs=1e-5)


def test_constant_rate_shows_what_the_plan_shows_at_that_moment(video):
    plan = uneven_plan(video, 300)
    frames = schedule(plan, ".mp4", 24)
    assert len(frames.frames) == round(plan.length * 24)
    for k in (0, 1, 17, 60, len(frames.frames) - 1):
        moment = k / 24
        expected = max(t for t in range(300) if plan.edges[t] <= moment + 1e-6)
        assert frames.frames[k] == expected
    assert float(frames.ticks[-1] * frames.tick) == pytest.approx(plan.length, abs=0.5 / 24)


def test_map_of_time_is_its_own_inverse(video):
    plan = uneven_plan(video, 300)
    moments = np.linspace(0, plan.length, 500)
    assert plan.to_result(plan.to_source(moments)) == pytest.approx(moments, abs=1e-9)
    assert plan.to_source(np.array([0, plan.length])) == pytest.approx([0, 10])
    assert (np.diff(plan.to_source(moments)) > 0).all()


def test_paper_objective_keeps_to_the_bounds_and_misses_the_length(video):
    plan = make_plan(video, uneven(300), speed=2, objective="paper")
    assert plan.pace.min() >= 1 / 8
    assert plan.pace.max() <= 1
    assert abs(plan.length - 5) > 0.02


def test_file_and_back(video, tmp_path):
    plan = uneven_plan(video, 300)
    write_plan(plan, tmp_path / "p.json")
    back = read_plan(tmp_path / "p.json")
    assert back.identity == file_identity(video)
    assert back.edges == pytest.approx(plan.edges, abs=1e-6)
    write_plan(back, tmp_path / "q.json")
    assert read_plan(tmp_path / "q.json").edges.tobytes() == back.edges.tobytes(), "a second reading changes nothing"


def test_a_hand_edits_the_file(video, tmp_path):
    plan = make_plan(video, curve_of(np.arange(300) / 30), speed=2)
    write_plan(plan, tmp_path / "p.json")
    stored = json.loads((tmp_path / "p.json").read_text())
    stored["segments"] = [[2, 4, 1], [4, 5, 0]]
    (tmp_path / "p.json").write_text(json.dumps(stored))
    edited = read_plan(tmp_path / "p.json")
    assert edited.length == pytest.approx(1 + 2 + 0 + 2.5)
    assert edited.to_result(np.array([2, 4, 5, 10])) == pytest.approx([1, 3, 3, 5.5])
    assert edited.to_source(np.array([2.999, 3.001])) == pytest.approx([3.999, 5.002])
    frames = schedule(edited, ".mp4")
    assert not set(range(120, 150)) & set(frames.frames.tolist())
    assert len(frames.frames) == 270


@pytest.mark.parametrize("row", [[1, 2], [2, 1, 1], [0, 1, -1], [0, 1, "x"], 5])
def test_wrong_segments_are_told(video, row):
    plan = uneven_plan(video, 30)
    with pytest.raises(ConfigError, match="segment"):
        plan.with_segments([row])


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ("[]", "holds no plan"), ("{}", "no plan of ssvid"), (None, "cannot be read")],
)
def test_files_that_are_no_plan(tmp_path, text, message):
    if text is not None:
        (tmp_path / "p.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_plan(tmp_path / "p.json")


def test_a_damaged_plan_is_told(video, tmp_path):
    write_plan(uneven_plan(video, 30), tmp_path / "p.json")
    stored = json.loads((tmp_path / "p.json").read_text())
    stored["pace"] = stored["pace"][:-1]
    (tmp_path / "p.json").write_text(json.dumps(stored))
    with pytest.raises(DataError, match="damaged"):
        read_plan(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"speed": 2, "duration": 3}, "one of"),
        ({"speed": 0}, "above 0"),
        ({"speed": 20}, "ask for"),
        ({"objective": "magic"}, "no objective"),
        ({"min_speed": 4, "max_speed": 2}, "min <= max"),
        ({"smooth": -1}, "smooth"),
    ],
)
def test_wishes_that_cannot_be(video, asked, message):
    with pytest.raises(ConfigError, match=message):
        make_plan(video, uneven(60), **asked)


def test_timeline_has_auto_editors_form(video, tmp_path):
    plan = uneven_plan(video, 300)
    write_timeline(plan, tmp_path / "t.json")
    stored = json.loads((tmp_path / "t.json").read_text())
    assert stored["version"] == "1"
    assert stored["source"] == str(video)
    rows = stored["chunks"]
    assert rows[0][0] == 0
    assert rows[-1][1] == 300
    assert all(isinstance(edge, int) for row in rows for edge in row[:2])
    assert all(before[1] == after[0] for before, after in itertools.pairwise(rows))
    assert sum((stop - start) / 30 / speed for start, stop, speed in rows) == pytest.approx(plan.length, abs=1e-4)
    assert len(rows) < 150


def test_timeline_and_back(video):
    plan = uneven_plan(video, 300).with_segments([(3, 4, 0)])
    stored = {"version": "1", "source": "v.mp4", "chunks": chunks(plan)}
    assert [row[2] for row in stored["chunks"]].count(CUT) == 1
    plain = make_plan(video, plan.curve, speed=1)
    back = plain.with_segments(segments(stored, average_rate(plain.source_edges), "t.json"))
    assert back.length == pytest.approx(plan.length, abs=1e-4)
    assert np.abs(back.edges - plan.edges).max() < 0.02
    assert ((back.pace == 0) == (plan.pace == 0)).all()


def test_timeline_of_a_constant_speed_is_one_chunk(video):
    assert chunks(make_plan(video, curve_of(np.arange(300) / 30), speed=2)) == [[0, 300, 2.0]]


@pytest.mark.parametrize("rows", [[[1, 2, 1]], [[0, 5, 1], [6, 7, 1]], [[0, 0, 1]], [[0, 5, -1]], [[0, 5]], "x"])
def test_broken_timelines_are_told(rows):
    with pytest.raises(DataError, match=r"chunk"):
        segments({"version": "1", "chunks": rows}, 30, "t.json")
