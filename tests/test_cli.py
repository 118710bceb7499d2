"""The command line: help with an example everywhere, JSON for programs, exit codes, and nothing drawn when piped."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ssvid.cli import app, main
from ssvid.cli.catalogue import task_facts
from ssvid.cli.console import log_text
from ssvid.compute import resolve_device
from ssvid.errors import ConfigError
from ssvid.files import CACHE_KINDS
from tests.test_index import noise

COMMANDS = [
    "index",
    "make-world",
    "pretrain",
    "audit",
    "survey",
    "transfer",
    "retrieve",
    "speedup",
    "list",
    "show",
    "doctor",
    "demo",
    "bench",
    "cache",
]
runner = CliRunner()
ROOT = Path(__file__).parents[1]


def called(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `ssvid ARGUMENTS`, in this process."""
    monkeypatch.setattr(sys, "argv", ["ssvid", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capsys.readouterr()
    return int(stopped.value.code or 0), out, err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    for flag in ("-h", "--help"):
        result = runner.invoke(app, [command, flag])
        assert result.exit_code == 0
        assert re.search(r"Example:\s+ssvid " + command, result.output)
    assert command in runner.invoke(app, ["-h"]).output


def test_list_and_version_as_data():
    listed = json.loads(runner.invoke(app, ["list", "--json"]).output)
    assert {"speednet", "arrow_of_time"} <= {row["name"] for row in listed["tasks"]}
    assert {
        row["name"] for row in json.loads(runner.invoke(app, ["list", "models", "s3d*", "--json"]).output)["models"]
    } == {
        "s3d",
        "s3dg_small",
        "s3dg",
        "s3d_tiny",
        "s3dg_tiny",
    }
    assert runner.invoke(app, ["--version"]).output.startswith("ssvid ")


def test_list_gives_options_and_chance_as_values(tmp_path):
    listed = json.loads(runner.invoke(app, ["list", "--json"]).output)
    tasks, models, protocols, layouts = ({row["name"]: row for row in rows} for rows in listed.values())
    assert tasks["clip_order"]["chance"] == pytest.approx(1 / 6)
    assert tasks["arrow_of_time"]["needs"] == ["time"]
    assert tasks["arrow_of_time"]["options"]["frames"] == {"type": "int", "default": 16}
    assert tasks["time_cycle"]["options"]["temperature"] == {"type": "float", "default": 512**-0.5}
    assert models["s3dg"]["options"]["temporal_stride"] == {"type": "bool", "default": True}
    assert protocols["knn"]["options"]["centre"] == {"type": "bool", "default": True}
    assert layouts["ucf101"]["options"]["split"] == {"type": "int", "default": 1}


def test_task_facts_of_a_source(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "SIDES = (2, 3)\nclass Mine(PretextTask):\n    chance: float = 1 / 4\n"
        "    def __init__(self, backbone, *, sides: tuple[int, int] = SIDES, k: int, made=dict(a=1)): ...\n"
    )
    assert task_facts(path) == {
        "chance": 0.25,
        "needs": [],
        "options": {
            "sides": {"type": "tuple[int, int]", "default": (2, 3)},
            "k": {"type": "int"},
            "made": {"type": "Any", "default": "dict(a=1)"},
        },
    }


def test_cache_shows_and_clears_its_kinds_and_nothing_else(tmp_path, monkeypatch, capsys):
    cache, outside = tmp_path / "cache", tmp_path / "outside"
    monkeypatch.setenv("SSVID_CACHE", str(cache))
    outside.mkdir()
    for place in (cache / "features" / "a", cache / "controls" / "deep" / "b", cache / "notes.txt", outside / "kept"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"12345")
    (cache / "copies").symlink_to(outside)
    code, out, _ = called(monkeypatch, capsys, "cache", "--json")
    shown = json.loads(out)
    assert (code, shown["folder"]) == (0, str(cache))
    assert shown["kinds"]["features"] == shown["kinds"]["controls"] == {"files": 1, "bytes": 5}
    assert called(monkeypatch, capsys, "cache", "clear", "../outside")[0] == 2
    code, out, _ = called(monkeypatch, capsys, "cache", "clear", "features", "--json")
    assert json.loads(out)["bytes"] == 5
    assert not (cache / "features").exists()
    assert (cache / "controls" / "deep" / "b").exists()
    assert called(monkeypatch, capsys, "cache", "clear")[0] == 0
    assert [path.name for path in cache.iterdir()] == ["notes.txt"]
    assert (outside / "kept").exists()


def test_every_folder_in_the_cache_is_a_kind_that_can_be_cleared():
    sources = [path for folder in ("ssvid", "downstream") for path in (ROOT / folder).rglob("*.py")]
    named = {name for path in sources for name in re.findall(r'cache_folder\(\) / "(\w+)"', path.read_text())}
    assert named == set(CACHE_KINDS)


def test_devices_by_name():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type in ("cuda", "mps", "cpu")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(ConfigError, match="device"):
            resolve_device(name)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["index", "nowhere"], 3, "does not exist"),
        (["pretrain", "speedent", "--data", "x", "--dry-run", "steps=0"], 2, "at least 1"),
        (["pretrain", "speedent", "--data", "nowhere"], 2, "Did you mean speednet"),
        (["pretrain", "speednet", "--data", "nowhere"], 3, "does not exist"),
        (["pretrain", "--resume", "nowhere"], 3, "not a run folder"),
        (["pretrain", "speednet", "--resume", "nowhere"], 2, "leave out the task"),
        (["transfer", "resnet18_tiny", "--data", "nowhere"], 3, "does not exist"),
        (["list", "wishes"], 2, "no list of"),
        (["bench", "luck"], 2, "no bench"),
        (["pretrain", "speednet", "--steps", "3"], 2, "there is no option"),
    ],
)
def test_errors_have_their_code_and_one_line(arguments, code, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    found, out, err = called(monkeypatch, capsys, *arguments)
    assert found == code
    assert message in err
    assert "Traceback" not in err
    assert out == ""


def test_tracebacks_only_when_asked(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ssvid", "--verbose", "list", "wishes"])
    with pytest.raises(Exception, match="no list of"):
        main()


def test_index_tells_bad_files_and_strict_fails(tmp_path, monkeypatch, capsys):
    noise(tmp_path / "v" / "good.mp4")
    (tmp_path / "v" / "bad.mp4").write_text("no video")
    arguments = ["index", str(tmp_path / "v"), "-o", str(tmp_path / "i.sqlite"), "--engine", "local:1"]
    code, out, err = called(monkeypatch, capsys, *arguments)
    assert code == 0
    assert "1 videos, 1 bad files" in out
    assert "bad.mp4: is not a video" in out
    assert err == ""  # no progress bar when piped
    code, out, _ = called(monkeypatch, capsys, *arguments, "--strict", "--json")
    assert code == 3
    assert json.loads(out)["usable"] == 1
    assert json.loads(out)["bad"][0]["path"].endswith("bad.mp4")


def test_settings_can_be_seen_before_they_run(monkeypatch, capsys):
    code, out, _ = called(
        monkeypatch, capsys, "pretrain", "arrow_of_time", "--data", "v", "--dry-run", "steps=7", "stride=3"
    )
    assert code == 0
    assert "steps: 7" in out
    assert "stride: 3" in out
    assert "out: runs/arrow_of_time-s3dg_tiny-s0" in out


def test_doctor_finds_nothing_wrong(monkeypatch, capsys):
    code, out, _ = called(monkeypatch, capsys, "doctor", "--json")
    report = json.loads(out)
    assert code == 0, report["problems"]
    assert report["H.264 mp4"] == "right, random access"
    assert report["MPEG-4 AVI with B-frames"] == "right, read in order"


def test_waiting_for_video_is_told_with_the_remedy():
    line = {"step": 20.0, "loss": 0.5, "accuracy": 0.75, "lr": 0.1, "clips_per_second": 9.5, "wait": 0.02}
    assert log_text(line, 40, 0.5) == "step 20/40  loss 0.500  accuracy 0.750  (chance 0.5)  9.5 videos/s  waiting 2%"
    assert "--transcode" in log_text(line | {"wait": 0.6}, 40, 0.5)


def test_module_and_script_are_the_same():
    done = subprocess.run([sys.executable, "-m", "ssvid", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ssvid ")


def test_a_setting_that_is_written_as_an_option_is_told(monkeypatch, capsys):
    for words, told in (("--steps 5", "steps=5"), ("--batch=4", "batch=4"), ("--save-every", "save_every=")):
        code, _, log = called(monkeypatch, capsys, "pretrain", "arrow_of_time", *words.split())
        assert code == 2
        assert (
            log
            == f"error: there is no option {words.replace('=', ' ').split()[0]}; settings are written without dashes: {told}\n"
        )
    assert called(monkeypatch, capsys, "pretrain", "arrow_of_time", "--data", "nowhere", "-o", "x", "--dry-run")[0] == 0


COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9\d|10[0-7])[;m]")


@pytest.mark.parametrize("words", [["-h"], ["pretrain", "-h"], ["list", "tasks"], ["pretrain", "nothing"]])
def test_no_color_takes_all_colours_off(words):
    def shown(**environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "ssvid", *words], capture_output=True, text=True, env={**os.environ, **environment}
        )
        return done.stdout + done.stderr

    assert not COLOUR.search(shown(NO_COLOR="1", FORCE_COLOR="1"))
    if words == ["-h"]:
        assert COLOUR.search(shown(FORCE_COLOR="1"))


@pytest.mark.parametrize(
    ("command", "code", "told"), [("pretrain", 3, "no data given"), ("survey", 2, "Missing argument")]
)
def test_a_command_without_arguments_says_what_it_wants(monkeypatch, capsys, command, code, told):
    stopped, _, error = called(monkeypatch, capsys, command)
    assert stopped == code
    assert told in error
