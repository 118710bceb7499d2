"""What `ssvid doctor` makes of the facts of an installation, those of machines that we do not have included."""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ssvid.cli import app
from ssvid.cli.installation import PACKAGES, Installation, look, notes, problems
from ssvid.data.index import Index
from ssvid.data.scanning import scan_videos

SOUND = Installation(
    dict.fromkeys(PACKAGES, "2.0") | {"decord": "?"},
    torch_wanted="torch==2.0",
    openmp={"libgomp": ["one", "another"]},
    shared_memory=2**33,
    platform="linux",
)


def test_a_sound_installation_has_no_problems():
    assert problems(SOUND) == notes(SOUND) == []
    assert problems(look()) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"versions": SOUND.versions | {"decord": "0.6"}}, "pip uninstall decord decord2"),
        ({"versions": SOUND.versions | {"faiss-cpu": "?"}}, "faiss-cpu is not installed"),
        ({"torch_wanted": "torch==2.1"}, "install both together"),
        ({"torchvision_fault": "operator torchvision::nms does not exist"}, "nms does not exist"),
        ({"openmp": {"libgomp": ["one"], "libiomp": ["other"]}}, "two OpenMP runtimes are loaded (libgomp, libiomp)"),
        ({"platform": "darwin"}, "two OpenMP runtimes"),
        ({"cache_writable": False, "cache": Path("/somewhere")}, "/somewhere; set SSVID_CACHE"),
        ({"index_fault": "old.sqlite was written by another version"}, "another version"),
    ],
)
def test_what_does_not_work_is_told_with_the_remedy(change, told):
    (problem,) = problems(replace(SOUND, **change))
    assert told in problem


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"shared_memory": 64 * 2**20}, "64 MiB free"),
        ({"cuda_build": "13.0", "nvidia": True}, "finds no driver"),
        ({"nvidia": True}, "built without CUDA"),
    ],
)
def test_what_could_be_better_is_noted(change, told):
    (note,) = notes(replace(SOUND, **change))
    assert told in note
    assert notes(replace(SOUND, cuda_build="13.0")) == []  # no device, nothing missing
    assert notes(replace(SOUND, cuda_build="13.0", nvidia=True, cuda=True)) == []


def test_a_build_of_torch_with_a_suffix_fits():
    assert problems(replace(SOUND, versions=SOUND.versions | {"torch": "2.0+cpu"})) == []


def test_an_old_index_is_a_problem_of_the_report(tmp_path):
    with sqlite3.connect(tmp_path / "old.sqlite") as database:
        database.execute("CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT)")
        database.execute("INSERT INTO about VALUES ('ssvid_index', '1')")
    database.close()
    result = CliRunner().invoke(app, ["doctor", str(tmp_path / "old.sqlite"), "--json"])
    assert result.exit_code == 1
    (problem,) = json.loads(result.stdout)["problems"]
    assert "another version" in problem


def test_videos_of_an_index_that_are_gone_are_a_problem(world_index, tmp_path):
    assert look(world_index.path).index_fault == ""
    gone = Index(tmp_path / "gone.sqlite", create=True)
    video = shutil.copy(world_index.videos()[0].path, tmp_path / "a.mp4")
    scan_videos([video], gone, engine="local:1")
    Path(video).unlink()
    assert "1 of 1 videos are not there" in look(gone.path).index_fault
