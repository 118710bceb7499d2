"""From a request to the jobs of a table, and from their cells to its rows, its columns, and what stands above and below it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ssvid.compute import resolve_device
from ssvid.environment import environment
from ssvid.errors import ConfigError
from ssvid.evaluation.adapter import Protocol, find_protocol, recipe_protocol
from ssvid.evaluation.features import View
from ssvid.evaluation.splits import Labelled, open_labelled
from ssvid.evaluation.tables import captions
from ssvid.evaluation.tables.cells import CellFile
from ssvid.evaluation.tables.entries import TableRow, check_view, count, hardware, model_rows, trained_view
from ssvid.evaluation.tables.jobs import Job, parse_options
from ssvid.evaluation.tables.request import TableRequest
from ssvid.evaluation.tables.runner import Cell, Gaps, JobRunner, compute_missing
from ssvid.evaluation.tables.table import Kind, Row, Table
from ssvid.progress import Log, Progress

Opener = Callable[[str, Progress | None], Labelled]


@dataclass(frozen=True)
class TableSpec:
    """A request with its names looked up and checked: what is computed.

    recipe: the protocol whose training makes the row *supervised*. options: those the user changed, of every protocol and of the recipe.
    """

    rows: Sequence[TableRow]
    sets: Sequence[Labelled]
    protocols: Mapping[str, Protocol]
    recipe: Protocol
    options: Mapping[str, Mapping[str, Any]]
    view: View

    def jobs(self) -> list[Job]:
        """All that is to be computed; jobs of the same weights and data follow each other, since they share the features."""
        recipe = self.recipe.settings(self.options[self.recipe.name])
        return [
            Job(
                row, entry, data, protocol, self.options[name], self.view, recipe if labels_first(row, protocol) else {}
            )
            for row in self.rows
            for data in self.sets
            for entry in row.entries
            for name, protocol in self.protocols.items()
            if has_value(row, protocol)
        ]

    @property
    def backbones(self) -> list[str]:
        """The backbones of the rows, but those of networks that are a row of their own."""
        return sorted({row.backbone for row in self.rows if row.kind is not Kind.FIXED})


@dataclass(frozen=True)
class Results:
    """What came of a spec: every job with its cell, and why some protocols have none on a data set."""

    cells: list[tuple[Job, Cell]]
    gaps: Gaps
    about: Mapping[str, Any]

    def gap_notes(self) -> list[str]:
        """A sentence for every gap."""
        return [f"{data}: {protocol} left out: {reason}" for (data, protocol), reason in self.gaps.items()]


def make_spec(
    request: TableRequest,
    protocols: Sequence[str],
    progress: Progress | None = None,
    kinds: Iterable[Kind] = tuple(Kind),
    opener: Opener = open_labelled,
) -> TableSpec:
    """The spec of a request, checked as a whole before anything is computed.

    protocols: names, in place of the request's. kinds: of rows that the table has. opener: gives the labelled videos of a source.
    Raises ConfigError for unknown names and options and for a view that a backbone cannot take, DataError for runs and data that cannot
    be used.
    """
    if not request.data:
        raise ConfigError("no data set; name one with --data, as ut_interaction:FOLDER")
    resolve_device(request.device)
    chosen = {name: find_protocol(name) for name in dict.fromkeys(protocols)}
    recipe = recipe_protocol()
    options = parse_options(request.options, {recipe.name: recipe, **chosen})
    rows = [row for row in model_rows(request.models, request.seeds) if row.kind in kinds]
    view = replace(trained_view(rows), **request.view_changes)
    check_view(rows, view)
    sets = _with_distinct_names([opener(source, progress) for source in dict.fromkeys(request.data)])
    return TableSpec(rows, sets, chosen, recipe, options, view)


def compute(spec: TableSpec, request: TableRequest, progress: Progress | None, log: Log | None) -> Results:
    """The cells of a spec. Raises as `compute_missing`."""
    about = {"command": request.command, "environment": environment()}
    device = str(resolve_device(request.device))
    runner = JobRunner(CellFile(request.cells), request.workers, device, about)
    cells, gaps = compute_missing(spec.jobs(), runner, request.jobs, progress, log or (lambda line: None))
    return Results(cells, gaps, about)


def tabulate(
    spec: TableSpec, results: Results, name_backbones: bool = False
) -> tuple[Table, dict[str, tuple[str, str]]]:
    """Cells to a table; and of every column its data set and score.

    name_backbones: whether each row names its backbone even where all have the same; else it then stands once, above the table.
    """
    table = Table("", "", {}, mark_best=True)
    several, named = len(spec.sets) > 1, name_backbones or len(spec.backbones) > 1
    rows = {}
    for row in spec.rows:
        facts = {"backbone": "" if row.kind is Kind.FIXED else row.backbone} if named else {}
        rows[id(row)] = Row(row.name, facts | {"seeds": row.seeds}, kind=row.kind, alone=row.alone)
    columns: dict[str, tuple[str, str]] = {}
    for data in spec.sets:
        for protocol in spec.protocols:
            for job, cell in results.cells:
                if job.data is not data or job.protocol.name != protocol:
                    continue
                shown = rows[id(job.row)]
                for one in cell["scores"]:
                    column = f"{data.name}: {one['name']}" if several else one["name"]
                    columns[column] = (data.name, one["name"])
                    table.chance.setdefault(column, one["chance"])
                    shown.scores.setdefault(column, []).append(one["value"])
                    shown.cells.setdefault(column, []).append(job.key)
    table.rows = list(rows.values())
    table.data_sets = {column: data for column, (data, _) in columns.items()} if several else {}
    return table, columns


def describe(
    table: Table, spec: TableSpec, results: Results, columns: Mapping[str, tuple[str, str]], what: str, unit: str
) -> None:
    """Write title, protocol, notes and origin into the table. what: the table's, before the data sets. unit: of the numbers, a sentence."""
    view, protocols = spec.view, list(spec.protocols.values())
    clock = "" if view.fps is None else f" of {view.fps:g} fps"
    table.title = f"{what} {' and '.join(data.name for data in spec.sets)}"
    table.protocol = (
        (f"Backbone {spec.backbones[0]}. " if len(spec.backbones) == 1 else "")
        + f"Video level, {count(view.clips, 'clip')} x 1 centre crop a video; clips of {view.frames} frames, stride {view.stride}{clock}, "
        f"{view.size} px, features pooled by {view.pool}. {unit}"
    )
    table.notes = [
        *captions.findings(table, columns),
        captions.SPREAD,
        *captions.data_notes(spec.sets),
        *captions.protocol_notes(protocols, spec.options),
        *captions.row_notes(spec.rows, protocols, spec.recipe.name, spec.options[spec.recipe.name]),
        captions.cost_note([cell for _, cell in results.cells], hardware(results.about["environment"])),
        *results.gap_notes(),
    ]
    table.made_with = {"command": results.about["command"], **results.about["environment"]}


def labels_first(row: TableRow, protocol: Protocol) -> bool:
    """Whether the row's weights are trained with labels before the protocol evaluates them; a protocol that trains all does it itself."""
    return row.kind is Kind.SUPERVISED and protocol.trains != "all"


def has_value(row: TableRow, protocol: Protocol) -> bool:
    """Whether a protocol says anything of a row: random weights that are trained are the row *supervised*, a fixed network has none."""
    return protocol.trains != "all" or row.kind not in (Kind.RANDOM, Kind.FIXED)


def _with_distinct_names(sets: Sequence[Labelled]) -> list[Labelled]:
    """The data sets; those that share a name get their number in the list with it."""
    names = [data.name for data in sets]
    return [
        data if names.count(data.name) == 1 else replace(data, name=f"{data.name} {number}")
        for number, data in enumerate(sets, 1)
    ]
