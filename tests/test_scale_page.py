"""docs/scale.md: its sums are right, and the rates it takes from tables stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "scale.md").read_text()
NUMBER = r"\d[\d,]*(?:\.\d+)?"
SUM = re.compile(rf"({NUMBER}(?: [×/] {NUMBER})+) = ({NUMBER})")


def number(text: str) -> float:
    return float(text.replace(",", "").rstrip("."))


def test_sums():
    found = SUM.findall(PAGE)
    assert len(found) > 30
    for left, right in found:
        first, *rest = re.split(r" ([×/]) ", left)
        value = number(first)
        for sign, factor in zip(rest[::2], rest[1::2], strict=True):
            value = value * number(factor) if sign == "×" else value / number(factor)
        assert value == pytest.approx(number(right), rel=0.005), f"{left} is {value:g}, not {right}"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("bench_transfer", ["35.3 clips/s"]),
        ("bench_scale", ["5.6 videos"]),
        ("bench_loader", ["111.8 clips/s", "18.4 clips/s"]),
        ("bench_retrieval", ["114 MB"]),
        ("bench_data", ["13.3 s", "752 MB"]),
    ],
)
def test_rates(table, words):
    """After another measurement the page has to be written anew."""
    measured = (ROOT / "results" / f"{table}.md").read_text()
    for word in words:
        assert word in measured
        assert word in PAGE
