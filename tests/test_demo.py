"""The demo runs through, small, and its page shows what it should in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from ssvid.cli import demo_run as module
from ssvid.evaluation.page import Page
from ssvid.evaluation.tables.table import Row, Table

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "PER_CLASS", 4)
    patch.setattr(module, "FRAMES", 40)
    patch.setattr(module, "SIZE", 48)
    path, table = module.demo(tmp_path_factory.mktemp("demo"), steps=4)
    patch.undo()
    assert [row.name for row in table.rows] == ["random init", "supervised", "speednet"]
    return path


def test_page_is_one_file_and_complete(page):
    text = page.read_text()
    assert text.count("<figure>") == 3
    assert text.count("data:video/mp4;base64,") == 1
    assert "random init" in text
    assert "chance" in text
    assert not re.search(r'(src|href)="(?!data:)', text), "nothing is fetched from elsewhere"
    assert (page.parent / "transfer.md").exists()
    assert (page.parent / "run" / "backbone.safetensors").exists()


def test_text_of_others_is_escaped(tmp_path):
    page = Page("<script>alert(1)</script>")
    page.text("a `b<c` & d")
    page.table(Table("t", "<i>", {"linear": 1.0}, [Row("<b>", {}, {"linear": [1.0]})]))
    text = page.write(tmp_path / "p.html").read_text()
    assert "<script>alert" not in text
    assert "<code>b&lt;c</code> &amp; d" in text
    assert "&lt;b&gt;" in text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_page_fits_a_phone_in_a_browser(page, tmp_path):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    probe = tmp_path / "probe.html"
    check = "<script>onload=()=>{document.title=[document.documentElement.scrollWidth<=innerWidth,document.images.length].join()}</script>"
    probe.write_text(page.read_text().replace("</body>", check + "</body>"))
    command = [
        str(CHROMIUM),
        *flags,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=500,900",
        "--dump-dom",
        probe.as_uri(),
    ]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert "<title>true,2</title>" in dumped
