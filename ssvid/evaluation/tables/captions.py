"""What a reader must know before believing a transfer table, in sentences: they stand below it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ssvid.evaluation.adapter import Protocol
from ssvid.evaluation.splits import Labelled
from ssvid.evaluation.tables.entries import FIXED, RANDOM, SUPERVISED, TableRow
from ssvid.evaluation.tables.table import Row, Table, label, leader, row_score, score

PRETRAINED, PUBLISHED = "pretrained", "published"  # kinds of rows, beside those of `entries`
SMALL = 1000  # test videos under which a table says that it rests on few
SPREAD = (
    "±: standard deviation over the seeds. Of several runs or inits it is the spread of the whole training; of one run alone only that of "
    "the protocol's own draws, which is less."
)
ONE_SET = (
    "One data set only: a single number misleads. Ranks of pretext tasks change with the data set and with the number of labels (SEVERE, "
    "ECCV 2022), so set a motion-centred data set beside an appearance-centred one with another --data."
)


def data_notes(sets: Sequence[Labelled]) -> list[str]:
    """A sentence or two a data set, and a warning where there is but one."""
    notes = []
    for data in sets:
        error = 50 / np.sqrt(data.tested)
        few = (
            f" Small data: an accuracy near 50 % has a standard error of {error:.1f} points."
            if data.tested < SMALL
            else ""
        )
        made = " Synthetic data: the motion world of ssvid make-world." if data.synthetic else ""
        notes.append(f"{data.name}: {data.split}, {len(data.classes)} classes.{few}{made}")
        notes += [f"{data.name}: {note}." for note in data.notes]
    return notes + [ONE_SET] * (len(sets) == 1)


def protocol_notes(protocols: Iterable[Protocol], options: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence a protocol, with the options that were changed."""
    notes = []
    for protocol in protocols:
        changed = ", ".join(f"{name}={value}" for name, value in options[protocol.name].items())
        notes.append(
            f"{protocol.name}: {protocol.summary.rstrip('.')} (after {protocol.after})"
            + (f"; {changed}." if changed else ".")
        )
    return notes


def row_notes(
    groups: Sequence[TableRow], protocols: Iterable[Protocol], training: str, changes: Mapping[str, Any]
) -> list[str]:
    """How the weights of every row came to be. training: the protocol, with its changed options, that trains *supervised*."""
    notes = []
    if any(group.name == SUPERVISED for group in groups):
        how = ", ".join([training, *(f"{name}={value}" for name, value in changes.items())])
        notes.append(
            f"{RANDOM}: frozen random weights. {SUPERVISED}: the same weights trained from scratch with the labels of each fold's training "
            f"videos ({how}), then frozen."
        )
        if tuned := [protocol.name for protocol in protocols if protocol.trains == "all"]:
            notes.append(
                f"{', '.join(tuned)} of random weights is training from scratch: it stands in the row {SUPERVISED}."
            )
    pretrained = [group for group in groups if group.facts]
    return notes + [f"{group.name} on {group.backbone}: {_pretraining(group.facts)}." for group in pretrained]


def findings(table: Table, columns: Mapping[str, tuple[str, str]]) -> list[str]:
    """In plain words, for the first column of each protocol on each data set: the best pretrained row beside random init, supervised,
    the best row that learnt nothing and the best published one; and what pretraining adds to the same backbone. columns: data set and
    score of every column."""
    notes = []
    first: dict[tuple[str, str], str] = {}
    for column, (data, name) in columns.items():
        first.setdefault((data, re.split("[ @]", name)[0]), column)
    for column in first.values():
        rows = [row for row in table.rows if row.scores.get(column)]
        kinds = {
            name: [row for row in rows if _kind(row) == name]
            for name in (PRETRAINED, RANDOM, SUPERVISED, FIXED, PUBLISHED)
        }
        if not kinds[PRETRAINED]:
            continue
        best, *rivals = (max(kind, key=lambda row: _mean(row, column)) for kind in kinds.values() if kind)
        gaps = ", ".join(_gap(_mean(best, column), rival, column) for rival in rivals)
        told = row_score(best, column)
        on = f" on {best.facts['backbone']}" if "backbone" in best.facts else ""
        notes.append(f"Best pretrained row of {column}: {best.name}{on}, {told}; {gaps}.{_gains(kinds, column)}")
    return notes


def _gains(kinds: Mapping[str, Sequence[Row]], column: str) -> str:
    """Which pretrained rows differ from what their backbone does without pretraining, and by how much. Empty where no spread is known."""
    without = kinds[RANDOM] or kinds[SUPERVISED]  # training all of a random network is the row supervised
    pairs = [
        (row, rival)
        for row in kinds[PRETRAINED]
        for rival in without
        if rival.facts.get("backbone") == row.facts.get("backbone") and len(row.scores[column]) > 1 and not row.alone
    ]
    if not pairs:
        return ""
    told: dict[str, list[str]] = {"higher": [], "lower": []}
    for row, rival in pairs:
        if ahead := leader([row, rival], column):
            gap = score([abs(_mean(row, column) - _mean(rival, column))], column)
            told["higher" if ahead is row else "lower"].append(f"{row.name} by {gap}")
    sides = "; ".join(f"{side}: {', '.join(found) or 'none'}" for side, found in told.items())
    return f" Beside {without[0].name} of the same backbone, by more than the spread, {sides}."


def cost_note(cells: Sequence[Mapping[str, Any]], machine: str) -> str:
    """Clock time, hardware and versions of the cells; more than one commit is told."""
    seconds = sum(cell["seconds"] for cell in cells)
    commits = sorted({cell["environment"]["commit"] or "?" for cell in cells})
    version = cells[0]["environment"]["ssvid"]  # part of every cell's name, so the same for all
    return (
        f"{len(cells)} cells took {duration(seconds)} together on {machine}; ssvid {version}, "
        f"commit{'s' * (len(commits) > 1)} {', '.join(commits)}."
    )


def duration(seconds: float) -> str:
    """A time in words: 12 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _pretraining(facts: Mapping[str, Any]) -> str:
    data = facts["data"]
    options = ", ".join(f"{name}={value}" for name, value in facts["options"].items())
    seconds = facts["seconds"]
    return (
        f"pretrained without labels on {', '.join(data['sources'])} ({data['videos']} videos), {facts['steps']} steps of "
        f"{facts['batch']}, {duration(float(np.mean(seconds)))} a run on {', '.join(sorted(set(facts['hardware'])))}"
        + (f"; {options}" if options else "")
    )


def _mean(row: Row, column: str) -> float:
    return float(np.mean(row.scores[column]))


def _kind(row: Row) -> str:
    if row.source:
        return PUBLISHED
    if row.name in (RANDOM, SUPERVISED):
        return row.name
    return FIXED if row.name.startswith(FIXED) else PRETRAINED


def _gap(value: float, rival: Row, column: str) -> str:
    other = _mean(rival, column)
    if score([value], column) == score([other], column):
        return f"no better than {label(rival)}"
    side = "above" if value > other else "below"
    return f"{score([abs(value - other)], column)} {side} {label(rival)} ({score([other], column)})"
