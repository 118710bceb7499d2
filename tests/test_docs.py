"""The site builds without a warning, fetches nothing from elsewhere, reads without JavaScript, and speaks of every public name."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import ssvid
import ssvid.audit.audit
import ssvid.speedup.pipeline
from ssvid.audit.audit import select_checks
from ssvid.cli import app
from ssvid.cli.site_pages import site_pages, split_options
from ssvid.plugins import list_tasks, load_task
from ssvid.training import task as task_contract
from ssvid.zoo.registry import ENCODERS, HEADS
from ssvid.zoo.registry import catalogue as registered

pytest.importorskip("mkdocs", reason="the site is built with ssvid[docs]")

ROOT = Path(__file__).parents[1]
OWN_FILES = re.compile(r"""(?:src|href)=["'](https?://[^"']+)|url\(["']?(https?://[^"')]+)""")

CALLS = (  # whose answers a user takes in hand
    ssvid.audit.audit.audit,
    ssvid.build_collection,
    ssvid.load,
    ssvid.open_index,
    ssvid.pretrain,
    ssvid.retrieve,
    ssvid.speedup.pipeline.speedup,
    ssvid.stream,
    ssvid.track,
    ssvid.track_video,
    ssvid.transfer,
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. `--strict` makes a broken link, a missing anchor or an unknown name in the reference an error."""
    folder = tmp_path_factory.mktemp("site")
    # without --quiet, which silences the warnings before --strict counts them
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_nothing_is_fetched_from_elsewhere(site):
    fetched = set()
    for path in (*site.rglob("*.html"), *site.rglob("*.css")):
        for tag in re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>|url\([^)]*\)", path.read_text()):
            fetched |= {path.name + ": " + tag for found in OWN_FILES.findall(tag) if any(found)}
    assert fetched == set()


def test_pages_are_whole_without_javascript(site):
    for page, words in {
        "index.html": "Start in five minutes",
        "tasks/speednet.html": "skips few frames",
        "families/s3d.html": "s3dg_tiny",
        "commands.html": "ssvid make-world",
        "results/transfer.html": "random init",
        "reference/tasks.html": "PretextTask",
    }.items():
        text = re.sub(
            r"<[^>]+>", "", re.sub(r"<(script|style)\b.*?</\1>", "", (site / page).read_text(), flags=re.DOTALL)
        )
        assert words in re.sub(r"\s+", " ", text), page


def test_a_spread_is_not_broken_off_its_mean(site):
    table = (site / "results" / "transfer.html").read_text()
    assert "\u00a0±\u00a0" in table
    assert " ± " not in table


def test_every_public_name_is_in_the_reference(site):
    shown = "".join(path.read_text() for path in (site / "reference").glob("*.html"))
    names = [
        *ssvid.__all__,
        *(name for name in task_contract.__all__ if hasattr(getattr(task_contract, name), "__module__")),
    ]
    ours = [
        name
        for name in names
        if str(getattr(getattr(ssvid, name, None) or getattr(task_contract, name), "__module__", "ssvid")).startswith(
            "ssvid"
        )
    ]
    assert [name for name in ours if not re.search(rf'id="[\w.]*\b{name}"', shown)] == []


def test_every_task_family_head_and_protocol_has_its_place():
    pages = site_pages()
    assert {f"tasks/{name}.md" for name in list_tasks()} <= pages.keys()
    families = {entry.path.stem for entry in registered(ENCODERS).values()}
    assert {f"families/{family}.md" for family in families} <= pages.keys()
    assert [name for name in registered(HEADS) if f"`+{name}`" not in pages["families/heads.md"]] == []
    for name, path in list_tasks().items():
        page = pages[f"tasks/{name}.md"]
        assert path.read_text().split('"""')[1].partition("\n")[0] in page
    assert "| speednet | s3dg_tiny |" in pages["tasks/speednet.md"]  # the row of results/pretext


def test_a_task_page_tells_of_every_check_of_its_audit():
    pages = site_pages()
    for name in list_tasks():
        checks, exempt = select_checks(load_task(name))
        rows = [line for line in pages[f"tasks/{name}.md"].splitlines() if line.startswith("| `")]
        for check in checks:
            assert [row for row in rows if row.startswith(f"| `{check}` ") and "may be above" not in row], (name, check)
        for check, reason in exempt.items():
            assert [row for row in rows if row.startswith(f"| `{check}` ") and reason in row], (name, check)


def test_no_column_of_a_family_is_empty():
    for page, text in site_pages().items():
        rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
        if page.startswith("families/") and len(rows) > 2 and page not in ("families/index.md", "families/heads.md"):
            head, _, *body = rows
            empty = [title for title, *column in zip(head, *body, strict=True) if not any(map(str.strip, column))]
            assert empty == [], page


def test_titles_of_families_are_whole():
    pages = site_pages()
    assert pages["families/video_resnet.md"].startswith("# R3D, MC3 and R(2+1)D\n")
    assert pages["families/alexnet.md"].startswith("# AlexNet\n")
    assert pages["families/x3d.md"].startswith("# X3D\n")


def test_what_public_calls_return_is_in_the_reference(site):
    shown = "".join(path.read_text() for path in (site / "reference").glob("*.html"))
    returned = {
        word for call in CALLS for word in re.findall(r"[A-Z]\w+", str(inspect.signature(call).return_annotation))
    }
    assert {"Run", "Audit", "Transfer", "Hit", "SpeedPlan", "StreamAnswer", "TrackResult"} <= returned
    assert [name for name in returned - {"Iterator"} if not re.search(rf'id="ssvid[\w.]*\.{name}"', shown)] == []


def test_every_table_of_results_is_told_of():
    page = (ROOT / "docs" / "results.md").read_text()
    assert [one.name for one in (ROOT / "results").glob("*.md") if f"](../results/{one.name})" not in page] == []


def test_the_commands_that_made_results_are_still_commands():
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs" / "results.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line) for line in lines if not line.startswith("#")]
    assert len(commands) > 30
    for program, *words in commands:
        assert program == "ssvid"
        command = get_command(app)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert [word for word in words if word.startswith("-") and word not in known] == [], words


def test_the_version_to_cite_is_this_one():
    assert f"version = {{{ssvid.__version__}}}" in (ROOT / "docs" / "cite.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_of_pages_outside_the_site_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_meanings_of_options_are_taken_from_the_docstring():
    words, told = split_options(
        "One logit.\n\nframes: T of it. size: (least, most) side\n    in px; fps: rate.\n", ["frames", "size", "fps"]
    )
    assert words.strip() == "One logit."
    assert told == {"frames": "T of it.", "size": "(least, most) side in px", "fps": "rate."}


def test_troubleshooting_quotes_what_ssvid_prints():
    sources = " ".join(path.read_text() for path in (ROOT / "ssvid").rglob("*.py"))
    said = re.sub(r'"\s*\n\s*f?"', "", sources)  # strings that go on in the next line
    rows = re.findall(r"^\| (.+?) \|", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    quoted = [quote for row in rows for quote in re.findall(r"`([^`]+)`", row)]
    assert len(quoted) > 20
    assert [quote for quote in quoted if quote not in said] == []
