"""Transfer over the steps of pretraining: whether a recipe gets better with more of them."""

from __future__ import annotations

from collections.abc import Sequence

from ssvid.evaluation.tables.table import Row

LEAST = 3  # numbers of steps that make a curve


def step_curve(rows: Sequence[Row]) -> list[Row]:
    """The rows of one task and backbone that differ in the steps of their pretraining, by steps; empty where they are fewer than three, or
    where two of them have as many, and so differ in something else."""
    alike: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.steps:
            alike.setdefault((row.task, row.facts.get("backbone", "")), []).append(row)
    most = max(alike.values(), key=len, default=[])
    distinct = len({row.steps for row in most}) == len(most) >= LEAST
    return sorted(most, key=lambda row: row.steps) if distinct else []
