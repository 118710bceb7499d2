"""The sentences below a table: what was found, and what a reader must know of the data, the protocols, the rows and the cost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssvid.evaluation.adapter import Protocol
from ssvid.evaluation.sequences import SequenceSet
from ssvid.evaluation.splits import Labelled
from ssvid.evaluation.tables.entries import NAMES, TableRow
from ssvid.evaluation.tables.table import Kind, Row, Table, label, leader, row_score, score

SMALL = 1000  # test videos under which a table says that it rests on few
SPREAD = (
    "±: standard deviation over the seeds. Of several runs or inits it is the spread of the whole training; of one run alone only that of "
    "the protocol's own draws, which is less."
)
CARRIED = "Labels of the first frame are carried through each sequence by the features alone; J&F, J, F, PCK and mIoU in percent."
ONE_SET = (
    "One data set only: a single number misleads. Ranks of pretext tasks change with the data set and with the number of labels (SEVERE, "
    "ECCV 2022), so set a motion-centred data set beside an appearance-centred one with another --data."
)


def data_notes(sets: Sequence[Labelled]) -> list[str]:
    """A sentence or two a data set, and a warning where there is but one."""
    notes = []
    for data in sets:
        made = " Synthetic data: the motion world of ssvid make-world." if data.synthetic else ""
        if isinstance(data, SequenceSet):
            notes += [f"{data.name}: {data.split}.{made}", *(f"{data.name}: {note}." for note in data.notes)]
            continue
        error = 50 / np.sqrt(data.tested)
        few = (
            f" Small data: an accuracy near 50 % has a standard error of {error:.1f} points."
            if data.tested < SMALL
            else ""
        )
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
    rows: Sequence[TableRow], protocols: Iterable[Protocol], recipe: str, changes: Mapping[str, Any]
) -> list[str]:
    """How the weights of every row came to be. recipe: the protocol that trains the row *supervised*, changes: its changed options."""
    notes = []
    if any(row.kind is Kind.SUPERVISED for row in rows):
        random, supervised = NAMES[Kind.RANDOM], NAMES[Kind.SUPERVISED]
        how = ", ".join([recipe, *(f"{name}={value}" for name, value in changes.items())])
        notes.append(
            f"{random}: frozen random weights. {supervised}: the same weights trained from scratch with the labels of each fold's training "
            f"videos ({how}), then frozen."
        )
        if tuned := [protocol.name for protocol in protocols if protocol.trains == "all"]:
            notes.append(
                f"{', '.join(tuned)} of random weights is training from scratch: it stands in the row {supervised}."
            )
    for row in rows:
        if row.kind is Kind.WEIGHTS and "hardware" not in row.facts:
            notes.append(f"{row.name}: weights that others trained, from {Path(row.facts['source']).name}.")
    pretrained = [
        row for row in rows if "hardware" in row.facts
    ]  # runs, and weights with a card, as those of the package
    return notes + [f"{row.name} on {row.backbone}: {_pretraining(row.facts)}." for row in pretrained]


def findings(table: Table, columns: Mapping[str, tuple[str, str]]) -> list[str]:
    """A sentence for the first column of each protocol on each data set: how the best pretrained row stands beside random init,
    supervised, the best fixed network and the best published row; and what pretraining adds to the same backbone. columns: data set and
    score of every column."""
    notes = []
    first: dict[tuple[str, str], str] = {}
    for column, (data, name) in columns.items():
        first.setdefault((data, re.split("[ @]", name)[0]), column)
    for column in first.values():
        rows = [row for row in table.rows if row.scores.get(column)]
        kinds = {
            kind: [row for row in rows if row.kind is kind]
            for kind in (Kind.PRETRAINED, Kind.RANDOM, Kind.SUPERVISED, Kind.WEIGHTS, Kind.FIXED, Kind.PUBLISHED)
        }
        if not kinds[Kind.PRETRAINED]:
            continue
        best, *rivals = (max(kind, key=lambda row: _mean(row, column)) for kind in kinds.values() if kind)
        gaps = ", ".join(_gap(_mean(best, column), rival, column) for rival in rivals)
        on = f" on {best.facts['backbone']}" if "backbone" in best.facts else ""
        notes.append(
            f"Best pretrained row of {column}: {best.name}{on}, {row_score(best, column)}; {gaps}.{_gains(kinds, column)}"
        )
    return notes


def _gains(kinds: Mapping[Kind, Sequence[Row]], column: str) -> str:
    """Which pretrained rows differ from what their backbone does without pretraining, and by how much. Empty where no spread is known."""
    without = kinds[Kind.RANDOM] or kinds[Kind.SUPERVISED]  # training all of a random network is the row supervised
    pairs = [
        (row, rival)
        for row in kinds[Kind.PRETRAINED]
        for rival in without
        if rival.facts.get("backbone") == row.facts.get("backbone") and len(row.scores[column]) > 1 and not row.alone
    ]
    if not pairs:
        return ""
    sides: dict[str, list[str]] = {"higher": [], "lower": []}
    for row, rival in pairs:
        if ahead := leader([row, rival], column):
            gap = score([abs(_mean(row, column) - _mean(rival, column))], column)
            sides["higher" if ahead is row else "lower"].append(f"{row.name} by {gap}")
    text = "; ".join(f"{side}: {', '.join(found) or 'none'}" for side, found in sides.items())
    return f" Beside {without[0].name} of the same backbone, by more than the spread, {text}."


def cost_note(cells: Sequence[Mapping[str, Any]], machine: str) -> str:
    """Clock time, hardware and versions of the cells; all commits where there are several."""
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


def _gap(value: float, rival: Row, column: str) -> str:
    other = _mean(rival, column)
    if score([value], column) == score([other], column):
        return f"no better than {label(rival)}"
    side = "above" if value > other else "below"
    return f"{score([abs(value - other)], column)} {side} {label(rival)} ({score([other], column)})"
