"""From computed cells to the transfer table: its rows, its columns, and what stands above and below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssvid.evaluation.adapter import Protocol, find_protocol
from ssvid.evaluation.features import View
from ssvid.evaluation.splits import Labelled
from ssvid.evaluation.tables import captions
from ssvid.evaluation.tables.entries import FIXED, RANDOM, SUPERVISED, TableRow, count, hardware
from ssvid.evaluation.tables.jobs import Job
from ssvid.evaluation.tables.table import Row, Table

TRAINING = "finetune"  # the protocol that makes the row *supervised*
Made = list[tuple[Job, dict[str, Any]]]  # every cell with its JSON


@dataclass(frozen=True)
class TableSpec:
    """What a table holds: its rows, data sets and protocols, the options changed of each protocol (and of that which trains the row
    *supervised*), and how a video is shown."""

    groups: Sequence[TableRow]
    sets: Sequence[Labelled]
    protocols: Mapping[str, Protocol]
    options: Mapping[str, Mapping[str, Any]]
    view: View

    def cells(self) -> list[Job]:
        """All that is to be computed; cells of the same weights and data follow each other, since they share the features."""
        training = find_protocol(TRAINING).settings(self.options[TRAINING])
        return [
            Job(
                group,
                entry,
                data,
                protocol,
                self.options[name],
                self.view,
                training if labels_first(group, protocol) else {},
            )
            for group in self.groups
            for data in self.sets
            for entry in group.entries
            for name, protocol in self.protocols.items()
            if _has(group, protocol)
        ]


def tabulate(
    plan: TableSpec, made: Made, link: str, backbones: bool = False
) -> tuple[Table, dict[str, tuple[str, str]]]:
    """Cells to a table whose scores lead to the files below `link`; and of every column its data set and score.

    backbones: whether each row shall name its backbone, even where all have the same.
    """
    table = Table("Transfer accuracy", "", {}, mark_best=True)
    named = backbones or len(_networks(plan)) > 1  # else the backbone stands once, above the table
    rows = {}
    for group in plan.groups:
        own = group.name == group.backbone  # a network that is a row of its own is not named twice
        facts = {"backbone": "" if own else group.backbone} if named else {}
        rows[id(group)] = Row(group.name, facts | {"seeds": group.seeds}, alone=group.alone)
    columns: dict[str, tuple[str, str]] = {}
    for data in plan.sets:
        for protocol in plan.protocols:
            for cell, found in made:
                if cell.data is not data or cell.protocol.name != protocol:
                    continue
                row = rows[id(cell.group)]
                for one in found["scores"]:
                    column = one["name"] if len(plan.sets) == 1 else f"{data.name}: {one['name']}"
                    columns[column] = (data.name, one["name"])
                    table.chance.setdefault(column, one["chance"])
                    row.scores.setdefault(column, []).append(one["value"])
                    row.links.setdefault(column, []).append(f"{link}/{cell.key}.json")
    table.rows = list(rows.values())
    return table, columns


def describe(
    table: Table, plan: TableSpec, made: Made, columns: Mapping[str, tuple[str, str]], about: Mapping[str, Any]
) -> None:
    """Write title, protocol, notes and origin into the table."""
    view, used = plan.view, list(plan.protocols.values())
    backbones = _networks(plan)
    clock = "" if view.fps is None else f" of {view.fps:g} fps"
    table.title = f"Transfer to {' and '.join(data.name for data in plan.sets)}"
    table.protocol = (
        (f"Backbone {backbones.pop()}. " if len(backbones) == 1 else "")
        + f"Video level, {count(view.clips, 'clip')} x 1 centre crop a video; clips of {view.frames} frames, stride {view.stride}{clock}, "
        f"{view.size} px, features pooled by {view.pool}. Accuracy in percent."
    )
    table.notes = [
        *captions.findings(table, columns),
        captions.SPREAD,
        *captions.data_notes(plan.sets),
        *captions.protocol_notes(used, plan.options),
        *captions.row_notes(plan.groups, used, TRAINING, plan.options[TRAINING]),
        captions.cost_note([found for _, found in made], hardware(about["environment"])),
    ]
    table.made_with = {"command": about["command"], **about["environment"]}


def labels_first(group: TableRow, protocol: Protocol) -> bool:
    """Whether the protocol evaluates what another one has trained with labels before."""
    return group.name == SUPERVISED and protocol.trains != "all"


def _networks(plan: TableSpec) -> set[str]:
    return {group.backbone for group in plan.groups if group.name != group.backbone}


def _has(group: TableRow, protocol: Protocol) -> bool:
    """Whether a row has a value: random weights that are trained are the row *supervised*, and a fixed network has none to train."""
    return protocol.trains != "all" or not (group.name == RANDOM or group.name.startswith(FIXED))
