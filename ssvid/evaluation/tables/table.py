"""Rows to tables: one table object, written as Markdown, CSV, LaTeX and JSON, with its protocol and chance beside the numbers."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from ssvid.files import write_text

FRACTIONS = ("tau", "R2", "R²")  # scores on a scale of -1 to 1; all others are percent
BEST = (
    "Bold: the best mean of its column, where it leads the second best by more than the spread of the two together (the root of their "
    "summed squares). Published rows do not compete; where a single run leads or comes second nothing is bold, for its spread is not "
    "known."
)
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
}
_LATEX |= {"–": "--", "²": r"$^2$", "·": r"$\cdot$", "τ": r"$\tau$", **{sign: "\\" + sign for sign in "&%$#_{}"}}


class Kind(str, Enum):
    """Where the weights of a row come from.

    FIXED: the network has none. RANDOM: they are as they were drawn. SUPERVISED: training with the labels of the data set.
    PRETRAINED: training without them, by this toolkit. WEIGHTS: a file or named weights of others. PUBLISHED: others trained them, and
    measured the row.
    """

    FIXED = "fixed"
    RANDOM = "random"
    SUPERVISED = "supervised"
    PRETRAINED = "pretrained"
    WEIGHTS = "weights"
    PUBLISHED = "published"


@dataclass
class Row:
    """One line: what was measured, facts about it, and for every column the values over the seeds.

    cells: for every column the keys of the cells behind its values. kind: where its weights come from. source: where the numbers of a
    published row stand. alone: its values are of one training, so that their spread is only the protocol's own. task, steps: of its
    pretraining by this toolkit.
    """

    name: str
    facts: dict[str, str] = field(default_factory=dict)
    scores: dict[str, list[float]] = field(default_factory=dict)
    cells: dict[str, list[str]] = field(default_factory=dict)
    kind: Kind = Kind.PRETRAINED
    source: str = ""
    alone: bool = False
    task: str = ""
    steps: int = 0


@dataclass
class Table:
    """A table that carries its protocol.

    chance: for every column, the score of guessing in the column's unit (percent), None where there is none. data_sets: for every column
    "DATA: SCORE" its data set; empty where the table has one. mark_best: set the best value of a column in bold, by the rule `BEST`,
    which then stands below the table. gains: tables of what its rows that have learned add to others, which follow it in Markdown and JSON.
    """

    title: str
    protocol: str
    chance: dict[str, float | None]
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    made_with: dict[str, Any] = field(default_factory=dict)
    mark_best: bool = False
    data_sets: dict[str, str] = field(default_factory=dict)
    gains: list[Table] = field(default_factory=list)

    def header(self) -> list[str]:
        """Column names; a score's name holds its chance level."""
        return ["model", *self.fact_names(), *(self.column_head(name, name) for name in self.chance)]

    def column_head(self, column: str, name: str) -> str:
        """A column's name with its chance level."""
        level = self.chance[column]
        return name if level is None else f"{name} (chance {level:.{decimals(column)}f})"

    def fact_names(self) -> list[str]:
        """The facts that any row states, in their order."""
        return list(dict.fromkeys(name for row in self.rows for name in row.facts))

    def cells(self) -> list[list[str]]:
        """The table as text, a list a row."""
        return [[label(row), *self._facts(row), *(row_score(row, name) for name in self.chance)] for row in self.rows]

    def best(self) -> dict[str, Row]:
        """For every column that has one, the row that leads by more than the spread; see `BEST`."""
        return {name: row for name in self.chance if (row := leader(self.rows, name))} if self.mark_best else {}

    def below(self) -> list[str]:
        """The notes, with the rule of the bold print."""
        return [*self.notes, BEST] if self.mark_best else self.notes

    def markdown(self) -> str:
        """GitHub Markdown: title, the protocol and the notes, one part for each data set where there are several; then the gains."""
        lines = [f"### {self.title}", "", self.protocol]
        for data in dict.fromkeys(self.data_sets.values()):
            columns = {
                column: column.removeprefix(f"{data}: ") for column in self.chance if self.data_sets[column] == data
            }
            lines += ["", f"#### {data}", "", *self._markdown_part(columns)]
        if not self.data_sets:
            lines += ["", *self._markdown_part({column: column for column in self.chance})]
        lines += ["", *(f"- {note}" for note in self.below())] if self.below() else []
        return "\n".join(["\n".join(lines) + "\n", *(gain.markdown() for gain in self.gains)])

    def _markdown_part(self, columns: Mapping[str, str]) -> list[str]:
        """The lines of the columns, which have these names; published rows without a score in any of them are left out."""
        heads = ["model", *self.fact_names(), *(self.column_head(column, name) for column, name in columns.items())]
        lines, best = [_line(heads), _line(["---"] * len(heads))], self.best()
        for row in self.rows:
            if row.kind is Kind.PUBLISHED and not any(row.scores.get(column) for column in columns):
                continue
            name = f"[{row.name}]({row.source}), published" if row.source.startswith("http") else label(row)
            scores = (
                f"**{row_score(row, column)}**" if best.get(column) is row else row_score(row, column)
                for column in columns
            )
            lines.append(_line([name, *self._facts(row), *scores]))
        return lines

    def csv(self) -> str:
        """Comma-separated values: the same cells."""
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([self.header(), *self.cells()])
        return buffer.getvalue()

    def latex(self) -> str:
        """A `table` for LaTeX with the package booktabs; title and protocol are its caption, the notes stand below."""
        best = self.best()
        facts, columns = self.fact_names(), list(self.chance)
        heads = [
            name if level is None else rf"\shortstack[r]{{{name}\\chance {level:.{decimals(column)}f}}}"
            for column, level in self.chance.items()
            for name in [_latex(column)]
        ]
        body = []
        for row in self.rows:
            scores = [_latex(row_score(row, column)) for column in columns]
            scores = [
                rf"\textbf{{{text}}}" if best.get(column) is row else text
                for column, text in zip(columns, scores, strict=True)
            ]
            body.append(" & ".join([_latex(label(row)), *map(_latex, self._facts(row)), *scores]) + r" \\")
        lines = [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex(self.title)}. {_latex(self.protocol)}}}",
            rf"\begin{{tabular}}{{l{'l' * len(facts)}{'r' * len(columns)}}}",
            r"\toprule",
            " & ".join(["model", *map(_latex, facts), *heads]) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\footnotesize {_latex(note)}" for note in self.below()),
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def json(self) -> str:
        """Everything, each value of each seed included."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def _facts(self, row: Row) -> list[str]:
        return [row.facts.get(name, "") for name in self.fact_names()]


def write(table: Table, out: str | os.PathLike[str]) -> None:
    """Write OUT.md, OUT.csv, OUT.tex and OUT.json."""
    path = Path(out)
    made = {".md": table.markdown(), ".csv": table.csv(), ".tex": table.latex(), ".json": table.json()}
    for suffix, text in made.items():
        write_text(path.with_name(path.name + suffix), text)


def label(row: Row) -> str:
    """The row's name, marked where it was not measured here."""
    return f"{row.name}, published" if row.kind is Kind.PUBLISHED else row.name


def score(values: Sequence[float], name: str = "") -> str:
    """Mean, with the standard deviation over seeds where there are several; a dash where nothing was measured."""
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.{decimals(name)}f}"
    return f"{np.mean(values):.{decimals(name)}f} ± {spread(values):.{decimals(name)}f}"


def row_score(row: Row, name: str) -> str:
    """A row's score in a column. Where the draws of one training are all the same, they are no spread and none is printed."""
    values = row.scores.get(name, [])
    return score(values[:1] if row.alone and spread(values) == 0 else values, name)


def spread(values: Sequence[float]) -> float:
    """Standard deviation over the seeds (n - 1), 0 for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def decimals(name: str) -> int:
    """Decimals a score of this name is printed with: percent get 1, scores from -1 to 1 get 3."""
    return 3 if any(word in name for word in FRACTIONS) else 1


def leader(rows: Sequence[Row], name: str) -> Row | None:
    """The row with the best mean of a column, if it leads by more than the spread. None where a spread is not known: one training is
    no reason to print a number in bold."""
    ranked = sorted(
        (row for row in rows if row.scores.get(name) and row.kind is not Kind.PUBLISHED),
        key=lambda row: -float(np.mean(row.scores[name])),
    )
    if len(ranked) < 2 or any(row.alone or len(row.scores[name]) < 2 for row in ranked[:2]):
        return None
    first, second = (row.scores[name] for row in ranked[:2])
    lead = np.mean(first) - np.mean(second)
    return ranked[0] if lead > np.hypot(spread(first), spread(second)) else None


def _latex(text: str) -> str:
    return re.sub(r"[\\~^±×–²·τ&%$#_{}]", lambda found: _LATEX[found.group()], text)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
