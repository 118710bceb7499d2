"""From a request to the jobs of a table, and from their cells to its rows, its columns, and what stands above and below it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ssvid.compute import resolve_device
from ssvid.engine import check_engine
from ssvid.environment import environment
from ssvid.errors import ConfigError, DataError
from ssvid.evaluation.adapter import Protocol, find_protocol, recipe_protocol
from ssvid.evaluation.features import View
from ssvid.evaluation.sequences import SequenceSet, is_sequence_source, open_sequences, protocol_for
from ssvid.evaluation.splits import Labelled, open_labelled
from ssvid.evaluation.tables import captions
from ssvid.evaluation.tables.cells import CellFile
from ssvid.evaluation.tables.entries import TableRow, check_view, count, hardware, model_rows, trained_view
from ssvid.evaluation.tables.jobs import Job, parse_options
from ssvid.evaluation.tables.request import TableRequest
from ssvid.evaluation.tables.runner import Cell, Gaps, JobRunner, compute_missing
from ssvid.evaluation.tables.table import Kind, Row, Table
from ssvid.progress import Log, Progress

COPIED = "first frame copied"

Opener = Callable[[str, Progress | None], Labelled]


@dataclass(frozen=True)
class TableSpec:
    """A request with its names looked up and checked: what is computed.

    recipe: the protocol whose training makes the row *supervised*. options: those the user changed, of every protocol and of the recipe.
    by_layout: sequences are evaluated by the protocol of their own layout alone.
    """

    rows: Sequence[TableRow]
    sets: Sequence[Labelled]
    protocols: Mapping[str, Protocol]
    recipe: Protocol
    options: Mapping[str, Mapping[str, Any]]
    view: View
    by_layout: bool = False

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
            if protocol.takes == kind_of(data) and has_value(row, protocol)
            if not self.by_layout or name == protocol_for(data.source)
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
    check_engine(request.engine)
    chosen = {name: find_protocol(name) for name in dict.fromkeys(protocols)}
    recipe = recipe_protocol()
    options = parse_options(request.options, {recipe.name: recipe, **chosen})
    wanted = kinds if request.supervised else set(kinds) - {Kind.SUPERVISED}
    rows = [row for row in model_rows(request.models, request.seeds) if row.kind in wanted]
    view = replace(trained_view(rows), **request.view_changes)
    if not all(map(is_sequence_source, request.data)):
        check_view(rows, view)
    sets = [
        open_sequences(source) if is_sequence_source(source) else opener(source, progress)
        for source in dict.fromkeys(request.data)
    ]
    _check_pairs(sets, list(chosen.values()))
    _check_classes(sets, list(chosen.values()))
    return TableSpec(rows, _with_distinct_names(sets), chosen, recipe, options, view)


def without_draws(spec: TableSpec) -> TableSpec:
    """The spec with one entry for every set of weights, for protocols that draw nothing: more seeds would give the same numbers."""
    rows = [replace(row, entries=row.entries[:1]) if row.alone or row.kind is Kind.FIXED else row for row in spec.rows]
    return replace(spec, rows=rows)


def make_runner(request: TableRequest, about: Mapping[str, Any]) -> JobRunner:
    """What computes the jobs of a request."""
    return JobRunner(request.workers, str(resolve_device(request.device)), about)


def compute(spec: TableSpec, request: TableRequest, progress: Progress | None, log: Log | None) -> Results:
    """The cells of a spec. Raises as `compute_missing`."""
    about = {"command": request.command, "environment": environment()}
    runner, file = make_runner(request, about), CellFile(request.cells)
    cells, gaps = compute_missing(spec.jobs(), runner, file, request.engine, progress, log or (lambda line: None))
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
        made = row.facts if row.kind is Kind.PRETRAINED else {}
        task = Path(made.get("task", "")).stem  # of a user's file the name, not where it lies
        steps = made.get("steps", 0)
        rows[id(row)] = Row(
            row.name, facts | {"seeds": row.seeds}, kind=row.kind, alone=row.alone, task=task, steps=steps
        )
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
    table.rows = [*_copied_rows(table, spec, columns), *rows.values()]
    table.data_sets = {column: data for column, (data, _) in columns.items()} if several else {}
    return table, columns


def describe(
    table: Table, spec: TableSpec, results: Results, columns: Mapping[str, tuple[str, str]], what: str, unit: str
) -> None:
    """Write title, protocol, notes and origin into the table. what: the table's, before the data sets. unit: of the numbers, a sentence."""
    view, protocols = spec.view, list(spec.protocols.values())
    clock = "" if view.fps is None else f" of {view.fps:g} fps"
    table.title = f"{what} {' and '.join(data.name for data in spec.sets)}"
    shown = (
        f"Video level, {count(view.clips, 'clip')} x 1 centre crop a video; clips of {view.frames} frames, stride {view.stride}{clock}, "
        f"{view.size} px, features pooled by {view.pool}. "
    )
    table.protocol = (
        (f"Backbone {spec.backbones[0]}. " if len(spec.backbones) == 1 else "")
        + (shown if any(kind_of(data) == "videos" for data in spec.sets) else "")
        + unit
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


def kind_of(data: Labelled) -> str:
    """What a data set holds: "videos", or sequences with "masks", "joints" or "parts"."""
    return data.kind if isinstance(data, SequenceSet) else "videos"


def labels_first(row: TableRow, protocol: Protocol) -> bool:
    """Whether the row's weights are trained with labels before the protocol evaluates them; a protocol that trains all does it itself."""
    return row.kind is Kind.SUPERVISED and protocol.trains != "all"


def has_value(row: TableRow, protocol: Protocol) -> bool:
    """Whether a protocol says anything of a row: random weights that are trained are the row *supervised*, a fixed network has none, and
    sequences have no classes to train on."""
    if row.kind is Kind.SUPERVISED:
        return protocol.takes == "videos"
    return protocol.trains != "all" or row.kind not in (Kind.RANDOM, Kind.FIXED)


def _check_pairs(sets: Sequence[Labelled], protocols: Sequence[Protocol]) -> None:
    """Raise ConfigError for a data set that no protocol takes, and for a protocol that gets no data set."""
    held, taken = {kind_of(data) for data in sets}, {protocol.takes for protocol in protocols}
    for data in sets:
        if kind_of(data) not in taken:
            raise ConfigError(
                f"{data.source} holds {kind_of(data)}, which none of {', '.join(protocol.name for protocol in protocols)} takes; "
                "name another --protocol, see: ssvid list protocols"
            )
    for protocol in protocols:
        if protocol.takes not in held:
            layout = "" if protocol.takes == "videos" else f", as {protocol.name}:FOLDER"
            raise ConfigError(f"{protocol.name} takes {protocol.takes}; name such a data set with --data{layout}")


def _check_classes(sets: Sequence[Labelled], protocols: Sequence[Protocol]) -> None:
    """Raise DataError for videos of one class alone where a protocol tells classes apart."""
    tells = [protocol.name for protocol in protocols if protocol.takes == "videos" and protocol.needs_classes]
    for data in sets:
        if tells and kind_of(data) == "videos" and len(data.classes) == 1:
            raise DataError(
                f"{data.source}: all {len(data.videos)} labelled videos are of the class {data.classes[0]!r}, and {tells[0]} tells classes "
                "apart; name data with two or more"
            )


def _copied_rows(table: Table, spec: TableSpec, columns: Mapping[str, tuple[str, str]]) -> list[Row]:
    """The row of copying the first frame's labels, in place of the chance of such columns; none where no labels are carried."""
    names = {protocol.name for protocol in spec.protocols.values() if protocol.takes != "videos"}
    own = [column for column, (_, name) in columns.items() if name.split()[0] in names]
    scores = {column: [chance] for column in own if (chance := table.chance[column]) is not None}
    table.chance |= dict.fromkeys(own)
    return [Row(COPIED, {"seeds": ""}, scores, kind=Kind.FIXED)] if own else []


def _with_distinct_names(sets: Sequence[Labelled]) -> list[Labelled]:
    """The data sets; those that share a name get their number in the list with it."""
    names = [data.name for data in sets]
    return [
        data if names.count(data.name) == 1 else replace(data, name=f"{data.name} {number}")
        for number, data in enumerate(sets, 1)
    ]
