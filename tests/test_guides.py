"""Every code block of the pages for users is run: commands as `ssvid` gets them, Python as it stands.

A page begins in a folder of its own with what its words presuppose: a small motion world, indexed, the same videos as a folder VIDEOS, one
of them as CLIP.mp4, and, on all pages but the one that tells how to make it, a run. Numbers of steps and of videos are made small, since a
page names what is worth waiting for; nothing else of a command is changed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ssvid
from ssvid.cli import app
from ssvid.data.index import Index
from ssvid.data.scanning import scan_videos
from ssvid.data.synthetic import CLASSES, make_world

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(
    path.relative_to(DOCS).as_posix() for path in (DOCS / "start.md", *DOCS.glob("guides/*.md"), *DOCS.glob("own/*.md"))
)
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
SHOWN_ONLY = {"sh", "toml"}  # installation, and settings of a package
SMALLER = {r"\bsteps=\d+": "steps=2", r"--per-class \d+": "--per-class 4", r"--size \d+": "--size 48"}
RUN = "runs/pace-r3d_18_tiny-s0"


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pages presuppose."""
    folder = tmp_path_factory.mktemp("home")
    world = make_world(folder / "world", per_class=6, frames=56, size=48, test_share=0.5, classes=CLASSES[:3])
    scan_videos([world], Index(folder / "world.sqlite", create=True), engine="local:1")
    shutil.copytree(folder / "world" / "videos", folder / "VIDEOS")
    shutil.copy(next((folder / "VIDEOS").rglob("*.mp4")), folder / "CLIP.mp4")
    ssvid.pretrain(
        "pace",
        str(folder / "world.sqlite"),
        backbone="r3d_18_tiny",
        steps=2,
        batch=2,
        frames=4,
        size=32,
        out=str(folder / RUN),
    )
    return folder


@pytest.fixture
def folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a page is read in."""
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """(language, title, text) of the blocks of a page, in order."""
    for found in BLOCK.finditer((DOCS / page).read_text()):
        language, title, text = found.groups()
        yield language, title or "", text


def run_command(line: str) -> None:
    """A line that begins with "$ ssvid"."""
    for pattern, small in SMALLER.items():
        line = re.sub(pattern, small, line)
    program, *words = shlex.split(line.removeprefix("$ "))
    assert program == "ssvid", line
    if words[0] in ("index", "make-world"):
        words += ["--engine", "local:1"]  # no process to start for so few videos
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"


def install(folder: Path, groups: str) -> None:
    """What pip leaves of a package whose pyproject.toml names entry points."""
    points = re.sub(r"project\.entry-points\.|\"", "", groups)
    (folder / "mine-1.0.dist-info").mkdir()
    (folder / "mine-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (folder / "mine-1.0.dist-info" / "entry_points.txt").write_text(points)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_runs(page, folder):
    if page == "guides/pretrain.md":
        shutil.rmtree(folder / "runs")
    elif page == "start.md":
        for made in ("world", "world.sqlite", "runs"):
            shutil.rmtree(made) if os.path.isdir(made) else os.remove(made)
    names: dict[str, object] = {}
    for language, title, text in blocks(page):
        if language == "console":
            lines = text.replace("\\\n", "").splitlines()
            assert all(line.startswith("$ ssvid ") for line in lines), text
            for line in lines:
                run_command(line)
        elif language == "toml":
            install(folder, text)
        elif title:
            (folder / title).write_text(text)
        elif language == "python":
            exec(compile(text, page, "exec"), names)
        else:
            assert language in SHOWN_ONLY, f"{page}: a block of {language} is not run"
