"""The wheel and the source archive: whole, valid, and usable from another folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import ssvid

ROOT = Path(__file__).parents[1]
PACKAGES = ("ssvid", "pretext", "downstream")
build = pytest.importorskip("build", reason="archives are made with build")
setuptools = pytest.importorskip("setuptools", reason="archives are made with setuptools")


def run(*words: object, **more: object) -> str:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, **more)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(wheel, source archive), made of what git knows."""
    if not (ROOT / ".git").exists():
        pytest.skip("what belongs into the archives is what git knows")
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in known():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", made, source)
    (wheel,), (archive,) = made.glob("*.whl"), made.glob("*.tar.gz")
    return wheel, archive


def known() -> list[str]:
    """Files that git knows and that are there."""
    names = run("git", "-C", ROOT, "ls-files", "-z").split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


def test_the_wheel_holds_all_files_of_the_packages_and_no_other(archives):
    with zipfile.ZipFile(archives[0]) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == {name for name in known() if name.split("/")[0] in PACKAGES}


def test_the_source_archive_can_be_built_and_tested_from(archives):
    with tarfile.open(archives[1]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    needed = {name for name in known() if name.split("/")[0] in (*PACKAGES, "tests", "configs", "docs", "results")}
    needed |= {
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CITATION.cff",
        "Makefile",
        "constraints.txt",
        "mkdocs.yml",
        "pyproject.toml",
    }
    assert needed - held == set()


def test_the_archives_are_valid(archives):
    pytest.importorskip("twine", reason="archives are checked with twine")
    told = run(sys.executable, "-m", "twine", "check", "--strict", *archives)
    assert told.count("PASSED") == 2


def test_the_wheel_works_from_another_folder(archives, tmp_path):
    with zipfile.ZipFile(archives[0]) as wheel:  # of Python alone, so this is what installing it does
        wheel.extractall(tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    where = {"cwd": tmp_path / "elsewhere", "env": os.environ | {"PYTHONPATH": str(tmp_path / "site")}}
    assert str(tmp_path / "site") in run(sys.executable, "-c", "import ssvid; print(ssvid.__file__)", **where)
    assert run(sys.executable, "-m", "ssvid", "--version", **where) == f"ssvid {ssvid.__version__}\n"
    assert "speednet" in run(sys.executable, "-m", "ssvid", "list", "tasks", **where)
    assert json.loads(run(sys.executable, "-m", "ssvid", "doctor", "--json", **where))["problems"] == []
    world = (
        "make-world",
        "world",
        "--per-class",
        "1",
        "--frames",
        "24",
        "--size",
        "48",
        "--classes",
        "orbit",
        "--engine",
        "local:1",
    )
    run(sys.executable, "-m", "ssvid", *world, **where)
    run(
        sys.executable, "-m", "ssvid", "speedup", "world/videos", "-o", "fast", **where
    )  # with the model that is in the wheel
    assert list((tmp_path / "elsewhere" / "fast").rglob("*.mp4"))
