"""What pretraining adds to an accuracy, and how sure that is: paired differences with intervals over test videos and over seeds.

The standard deviation over seeds says how much a training varies. It says nothing of the test videos, of which there may be sixty. So the
accuracy of a row is set beside that of a rival on the very same videos, and both, videos and seeds, are drawn anew many times (bootstrap;
Efron and Tibshirani 1993, chapters 8 and 13; Agarwal et al., arXiv:2108.13264, for seeds).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ssvid.evaluation.tables.entries import TableRow
from ssvid.evaluation.tables.jobs import Job
from ssvid.evaluation.tables.table import Kind, Row, Table

LEVEL = 0.95
DRAWS = 5_000
RULE = (
    f"Points of accuracy, with the {LEVEL:.0%} interval of a paired bootstrap: {DRAWS:,} draws of the test videos, the same for both rows, "
    "and of the seeds of each; of a row of one training it knows nothing of other trainings. Each interval stands for itself: of twenty, "
    "one is expected to miss. Videos cut from one source count as if they were independent."
)
LEARNED = (Kind.PRETRAINED, Kind.WEIGHTS)

Cells = Sequence[tuple[Job, Mapping[str, Any]]]


class Gain(NamedTuple):
    """A difference in points, and the ends of its interval."""

    points: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.points:+.1f} [{self.low:.1f}, {self.high:.1f}]".replace("-", "−")


class _Column(NamedTuple):
    """A column of accuracies: its name, and for every row what was right, (seeds,videos) of 0 and 1."""

    name: str
    right: dict[int, np.ndarray]  # by the row's identity


def paired_gain(row: np.ndarray, rival: np.ndarray) -> Gain:
    """How far a row's accuracy lies above a rival's: right or not, (seeds,videos) and (seeds',videos), the same videos in the same order.

    Raises ValueError where the videos are not as many.
    """
    if row.shape[1] != rival.shape[1]:
        raise ValueError(f"paired rows need the same videos, not {row.shape[1]} and {rival.shape[1]}")
    videos = _shares(row.shape[1], 0)
    drawn = ((_shares(len(row), 1) @ row - _shares(len(rival), 2) @ rival) * videos).sum(1)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Gain(100 * float(row.mean() - rival.mean()), 100 * float(low), 100 * float(high))


def gain_tables(cells: Cells, names: Mapping[str, tuple[str, str]]) -> list[Table]:
    """The gains of all rows that have learned: over the same network without pretraining, and over the best row without any learning.

    cells: all of a table. names: data set and score of each of its columns. A table without a gain is left out.
    """
    columns = list(_columns(cells, names))
    rows = {id(job.row): job.row for job, _ in cells}
    fixed = [key for key, row in rows.items() if row.kind is Kind.FIXED]
    best = {column.name: _best(column, fixed) for column in columns}
    named = "; ".join(f"{column}, {rows[keys[0]].name}" for column, keys in best.items() if keys)
    tables = [
        _table(
            "What pretraining adds",
            "Over the same network with random weights; where all of it is trained, over training from scratch.",
            rows,
            [(column, _without_pretraining(rows)) for column in columns],
        ),
        _table(
            "Beside the best row without learning",
            f"The row with the best mean of its column: {named}.",
            rows,
            [(column, dict.fromkeys(rows, best[column.name])) for column in columns],
        ),
    ]
    return [table for table in tables if table.rows]


def _table(
    title: str, rivals: str, rows: Mapping[int, TableRow], columns: Sequence[tuple[_Column, Mapping[int, list[int]]]]
) -> Table:
    """A table of gains. rivals: who stands on the other side. columns: each with the rivals of every row there; the first that has a
    value counts."""
    made = []
    for key, row in rows.items():
        gains = {}
        for column, others in columns:
            rival = next((other for other in others[key] if other in column.right), None)
            if row.kind in LEARNED and key in column.right and rival is not None:
                gains[column.name] = str(paired_gain(column.right[key], column.right[rival]))
        if gains:
            made.append(Row(row.name, {"backbone": row.backbone, **gains}))
    return Table(title, f"{rivals} {RULE}", {}, made)


def _columns(cells: Cells, names: Mapping[str, tuple[str, str]]) -> Iterator[_Column]:
    """What was right, column by column; of scores that predict no class there is none."""
    found: dict[tuple[str, str], dict[int, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    for job, cell in cells:
        for score in cell["scores"]:
            if "predicted" in score:
                right = np.equal(score["truth"], score["predicted"])
                found[job.data.name, score["name"]][id(job.row)].append(right)
    for column, name in names.items():
        if name in found:
            yield _Column(column, {key: np.stack(seeds).astype(float) for key, seeds in found[name].items()})


def _without_pretraining(rows: Mapping[int, TableRow]) -> dict[int, list[int]]:
    """For every row the rows of its network that were not pretrained: random init, then supervised, which is random init all trained."""
    kinds = (Kind.RANDOM, Kind.SUPERVISED)
    return {
        key: [
            other
            for kind in kinds
            for other, rival in rows.items()
            if rival.kind is kind and rival.backbone == row.backbone
        ]
        for key, row in rows.items()
    }


def _best(column: _Column, keys: Sequence[int]) -> list[int]:
    """The row of the best mean among these, in a list; an empty one where none has a value."""
    return sorted((key for key in keys if key in column.right), key=lambda key: -column.right[key].mean())[:1]


@lru_cache(maxsize=16)  # a table draws its videos once, and not once a number
def _shares(size: int, stream: int) -> np.ndarray:
    """How much each of `size` things counts in a draw with replacement: (DRAWS,size), each line sums to 1. stream: of the generator."""
    draws = np.random.default_rng(stream).multinomial(size, np.full(size, 1 / size), DRAWS)
    return draws.astype(np.float32) / size
