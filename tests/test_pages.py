"""Pages come out of an installed package, need no other file, and share one style."""

from __future__ import annotations

import ast
import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest

from ssvid.evaluation.page import Page, templates, write_template

ROOT = Path(__file__).parents[1]
PAGES = ("page.html.j2", "search.html.j2", "speedup.html.j2")


def test_pages_are_built_by_an_installed_package(tmp_path):
    """The package is laid out as the build does: Python files and what is declared as package data, nothing else."""
    stated = re.search(r"\[tool.setuptools.package-data\]\nssvid = (\[.*\])", (ROOT / "pyproject.toml").read_text())
    declared = ast.literal_eval(stated[1])
    for path in (ROOT / "ssvid").rglob("*"):
        inside = path.relative_to(ROOT / "ssvid").as_posix()
        if path.is_file() and (path.suffix == ".py" or any(fnmatch.fnmatch(inside, one) for one in declared)):
            (tmp_path / "ssvid" / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "ssvid" / inside)
    script = (
        "from ssvid.evaluation.page import Page, templates\n"
        f"for name in {PAGES!r}: templates().get_template(name)\n"
        "for name in ('style.css', 'search.css', 'search.js', 'speedup.css', 'speedup.js'):\n"
        "    assert templates().globals['asset'](name)\n"
        "page = Page('installed')\n"
        "page.text('a paragraph')\n"
        "print(page.write('page.html').read_text())\n"
    )
    command = [sys.executable, "-c", script]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "<p>a paragraph</p>" in done.stdout
    assert "--accent" in done.stdout, "the style sheet is in the page"


@pytest.mark.parametrize("name", PAGES)
def test_all_pages_share_the_base_and_its_style(name):
    source = (ROOT / "ssvid" / "templates" / name).read_text()
    assert '{% extends "base.html.j2" %}' in source
    assert "style.css" not in source


def test_values_are_escaped_and_missing_ones_are_errors(tmp_path):
    page = Page("<b>")
    page.heading("a & b")
    text = page.write(tmp_path / "new" / "p.html").read_text()
    assert "<h1>&lt;b&gt;</h1>" in text
    assert "<h2>a &amp; b</h2>" in text
    assert not re.search(r"<script|https?://", text)
    with pytest.raises(jinja2.UndefinedError):
        write_template(tmp_path / "q.html", "search.html.j2", title="t")
    assert not (tmp_path / "q.html").exists()
    assert templates().autoescape is True
