"""Rows to tables: one table object, written as Markdown, CSV and JSON, with its protocol and chance beside the numbers."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass
class Row:
    """One line: what was measured, facts about it, and for every column the values over the seeds."""

    name: str
    facts: dict[str, str] = field(default_factory=dict)
    scores: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class Table:
    """A table that carries its protocol. chance: for every column, the score of guessing, in the column's unit (percent)."""

    title: str
    protocol: str
    chance: dict[str, float]
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    made_with: dict[str, Any] = field(default_factory=dict)

    def header(self) -> list[str]:
        """Column names; a score's name holds its chance level."""
        facts = list(self.rows[0].facts) if self.rows else []
        return ["model", *facts, *(f"{name} (chance {level:.1f})" for name, level in self.chance.items())]

    def cells(self) -> list[list[str]]:
        """The table as text, a list a row."""
        return [
            [row.name, *row.facts.values(), *(score(row.scores.get(name, [])) for name in self.chance)]
            for row in self.rows
        ]

    def markdown(self) -> str:
        """GitHub Markdown with the title, the protocol and the notes."""
        lines = [f"### {self.title}", "", self.protocol, "", _line(self.header()), _line(["---"] * len(self.header()))]
        lines += [_line(cells) for cells in self.cells()]
        lines += ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """Comma-separated values: the same cells."""
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([self.header(), *self.cells()])
        return buffer.getvalue()

    def json(self) -> str:
        """Everything, each value of each seed included."""
        return json.dumps(asdict(self), indent=2) + "\n"


def write(table: Table, out: str | os.PathLike[str]) -> None:
    """Write OUT.md, OUT.csv and OUT.json."""
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    for suffix, text in ((".md", table.markdown()), (".csv", table.csv()), (".json", table.json())):
        path.with_name(path.name + suffix).write_text(text)


def score(values: Sequence[float]) -> str:
    """Mean, with the standard deviation over seeds where there are several; a dash where nothing was measured."""
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
