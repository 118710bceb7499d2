"""`ssvid speedup`: one video or many, what is kept and taken up again, what is told, and the exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ssvid.cli.speedup import seconds
from ssvid.errors import ConfigError
from ssvid.speedup import pipeline
from tests.speedups import shown, tone, write_custom_order, write_film
from tests.test_cli import called


@pytest.fixture
def film(tmp_path):
    return write_film(tmp_path / "a.mp4", frames=60, sounds=[tone(2)])


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("1:30", 90), ("0:01:30.5", 90.5), ("x", None), ("1:2:3:4", None), ("-1", None)]
)
def test_durations(text, expected):
    if expected is None:
        with pytest.raises(ConfigError, match="no duration"):
            seconds(text)
    else:
        assert seconds(text) == expected


def test_one_video(film, tmp_path, monkeypatch, capsys):
    out = tmp_path / "o.mp4"
    timeline, page = tmp_path / "t.json", tmp_path / "p.html"
    code, told, _ = called(
        monkeypatch, capsys, "speedup", str(film), "-o", str(out), "--by", "motion", "--duration", "0:00.8",
        "--json", "--export", str(timeline), "--html", str(page),
    )  # fmt: skip
    assert code == 0
    assert json.loads(told)[0]["result_seconds"] == pytest.approx(0.8)
    assert len(shown(out)) == 60
    assert json.loads(timeline.read_text())["version"] == "1"
    assert "<video" in page.read_text()
    assert (tmp_path / "o.mp4.plan.json").exists()


def test_a_timeline_is_rendered(film, tmp_path, monkeypatch, capsys):
    plan = tmp_path / "t.json"
    plan.write_text(json.dumps({"version": "1", "source": "a.mp4", "chunks": [[0, 30, 1], [30, 45, 3], [45, 60, 0]]}))
    code, _, _ = called(monkeypatch, capsys, "speedup", str(film), "-o", str(tmp_path / "o.mp4"), "--plan", str(plan))
    assert code == 0
    seen = shown(tmp_path / "o.mp4")
    assert [number for _, number in seen] == list(range(45))
    assert seen[-1][0] == pytest.approx(1 + 14 / 90, abs=0.001)


def test_bare_segments_are_rendered(film, tmp_path, monkeypatch, capsys):
    plan = tmp_path / "s.json"
    plan.write_text('{"segments": [[0, 1, 4]]}')
    code, _, _ = called(monkeypatch, capsys, "speedup", str(film), "-o", str(tmp_path / "o.mp4"), "--plan", str(plan))
    assert code == 0
    assert shown(tmp_path / "o.mp4")[-1][0] == pytest.approx(0.25 + 29 / 30, abs=0.001)


def test_evidence_is_computed_once_and_edits_are_kept(film, tmp_path, monkeypatch):
    out, asked = tmp_path / "o.mp4", []
    estimate = pipeline.estimate_curve
    monkeypatch.setattr(
        pipeline, "estimate_curve", lambda *arguments, **named: asked.append(1) or estimate(*arguments, **named)
    )
    first = pipeline.plan_speedup(film, out, pipeline.SpeedupOptions(by="motion"))
    again = pipeline.plan_speedup(film, out, pipeline.SpeedupOptions(by="motion"))
    assert len(asked) == 1
    assert again.edges.tobytes() == first.edges.tobytes()
    other = pipeline.plan_speedup(film, out, pipeline.SpeedupOptions(by="motion", speed=3))
    assert len(asked) == 1, "another speed needs no new evidence"
    assert other.length == pytest.approx(2 / 3)
    stored = json.loads(pipeline.plan_file(out).read_text())
    pipeline.plan_file(out).write_text(json.dumps(stored | {"segments": [[0, 1, 1]]}))
    assert pipeline.plan_speedup(film, out, pipeline.SpeedupOptions(by="motion", speed=3)).speed[0] == 1
    pipeline.plan_speedup(film, out, pipeline.SpeedupOptions(by="constant", speed=3))
    assert len(asked) == 2
    write_film(film, frames=30)
    assert len(pipeline.plan_speedup(film, out, pipeline.SpeedupOptions(by="constant", speed=3)).pace) == 30, (
        "another file is planned anew"
    )


def test_dry_run_renders_nothing_and_an_interruption_is_no_error(film, tmp_path, monkeypatch, capsys):
    arguments = ["speedup", str(film), "-o", str(tmp_path / "o.mp4"), "--by", "constant"]
    code, told, _ = called(monkeypatch, capsys, *arguments, "--dry-run")
    assert code == 0
    assert "2.00" in told
    assert not (tmp_path / "o.mp4").exists()
    assert not (tmp_path / "o.mp4.parts").exists()

    def stopped(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "render_plan", stopped)
    code, _, told = called(monkeypatch, capsys, *arguments)
    assert code == 130
    assert "goes on" in told


def test_one_bad_file_does_not_stop_the_rest(film, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    film.rename(folder / "deep" / "a.mp4")
    (folder / "bad.mp4").write_text("no video")
    (folder / "notes.txt").write_text("no video either")
    code, told, errors = called(
        monkeypatch, capsys, "speedup", str(folder), "-o", str(tmp_path / "out"), "--by", "constant", "--json"
    )
    assert code == 1
    rows = json.loads(told)
    assert ["error" in row for row in rows] == [True, False]
    assert "bad.mp4: is not a video" in errors
    assert len(shown(tmp_path / "out" / "deep" / "a.mp4")) == 60


def test_channels_in_a_custom_order_do_not_end_a_folder(film, tmp_path):
    """In a process of its own, which such a file once ended."""
    folder = tmp_path / "in"
    folder.mkdir()
    write_custom_order(folder / "a.mov")
    film.rename(folder / "b.mp4")
    command = [sys.executable, "-m", "ssvid", "speedup", str(folder), "-o", str(tmp_path / "out"), "--by", "constant"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").glob("*.mp4")) == ["a.mp4", "b.mp4"]


def test_results_never_fall_on_one_another(tmp_path):
    for name in ("a.mp4", "a.avi"):
        (tmp_path / name).write_text("")
    with pytest.raises(ConfigError, match="both become"):
        pipeline.result_paths([tmp_path], tmp_path / "out")
    assert pipeline.result_paths([tmp_path / "a.avi"], None) == [(tmp_path / "a.avi", tmp_path / "a.fast.mp4")]
    (tmp_path / "a.fast.mp4").write_text("")
    (tmp_path / "a.avi").unlink()
    assert [source.name for source, _ in pipeline.result_paths([tmp_path], tmp_path / "out")] == ["a.mp4"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere.mp4"], 3, "no such file"),
        (["a.mp4", "--speed", "50"], 2, "ask for"),
        (["a.mp4", "--by", "magic"], 2, "not one of"),
        (["a.mp4", "--by", "motion", "--fit"], 2, "belong to --by model"),
        (["a.mp4", "-o", "o.avi"], 2, "cannot write this kind"),
        (["a.mp4", "-o", "a.mp4"], 2, "source itself"),
        (["a.mp4", "--plan", "nowhere.json"], 3, "cannot be read"),
    ],
)
def test_errors_have_their_code_and_one_line(arguments, code, message, film, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    how = [] if {"--by", "--plan"} & set(arguments) else ["--by", "constant"]
    found, _, told = called(monkeypatch, capsys, "speedup", *arguments, *how)
    assert found == code
    assert message in told
    assert "Traceback" not in told


def test_evidence_of_a_model_that_was_trained_further_is_not_taken(film, tmp_path, monkeypatch):
    run, asked = tmp_path / "run", []
    run.mkdir()
    (run / "weights").write_text("first")
    constant = pipeline.estimate_curve(film, by="constant")
    monkeypatch.setattr(pipeline, "estimate_curve", lambda *arguments, **named: asked.append(1) or constant)
    options = pipeline.SpeedupOptions(model=str(run))
    for count in (1, 1):
        pipeline.plan_speedup(film, tmp_path / "o.mp4", options)
        assert len(asked) == count
    os.utime(run / "weights", (2e9, 2e9))
    pipeline.plan_speedup(film, tmp_path / "o.mp4", options)
    assert len(asked) == 2


def test_a_folder_on_an_engine_and_what_is_there_is_not_done_again(film, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    film.rename(folder / "a.mp4")
    write_film(folder / "b.mp4", frames=30)
    (folder / "bad.mp4").write_text("no video")

    def results(out: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in out.glob("*.mp4")}

    def rows(out: Path, engine: str) -> list:
        arguments = ["speedup", str(folder), "-o", str(out), "--by", "motion", "--engine", engine, "--json"]
        code, told, errors = called(monkeypatch, capsys, *arguments)
        assert code == 1
        assert "bad.mp4: is not a video" in errors
        return [row.get("result_seconds") for row in json.loads(told)]

    here, there = tmp_path / "here", tmp_path / "there"
    assert rows(there, "local:2") == rows(here, "local:1")
    assert results(there) == results(here)
    assert sorted(results(there)) == ["a.mp4", "b.mp4"]
    states = {path: path.stat().st_mtime_ns for path in there.glob("*.mp4")}
    stored = json.loads(pipeline.plan_file(there / "b.mp4").read_text())
    pipeline.plan_file(there / "b.mp4").write_text(json.dumps(stored | {"segments": [[0, 1, 1]]}))
    rows(there, "local:1")
    assert [path.name for path, state in states.items() if path.stat().st_mtime_ns != state] == ["b.mp4"], "edited"
    assert json.loads(pipeline.plan_file(there / "b.mp4").read_text())["segments"] == [[0, 1, 1]]
    assert not list(there.glob(".*"))


def test_a_result_that_was_changed_or_is_asked_for_otherwise_is_rendered_again(film, tmp_path):
    out, options = tmp_path / "o.mp4", pipeline.SpeedupOptions(by="constant")
    pipeline.speed_up(film, out, options)
    whole = out.read_bytes()
    out.write_bytes(whole[:1000])
    pipeline.speed_up(film, out, options)
    assert out.read_bytes() == whole
    pipeline.speed_up(film, out, replace(options, audio="mute"))
    assert len(out.read_bytes()) < len(whole)
    out.unlink()
    pipeline.speed_up(film, out, options)
    assert out.read_bytes() == whole


def test_two_that_make_one_result_do_no_harm(film, tmp_path):
    out = tmp_path / "o.mp4"
    code = "import sys; from pathlib import Path; from ssvid.training.run_lock import locked_file\n"
    code += "with locked_file(Path(sys.argv[1]), ''): print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path / ".o.mp4.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(ConfigError, match=r"another process is making .*o.mp4"):
            pipeline.speed_up(film, out, pipeline.SpeedupOptions(by="constant"))
        assert not pipeline.plan_file(out).exists()
        other.stdin.close()
