"""The transfer accuracy table: what pretrained backbones are worth on labelled videos, beside random weights and training with labels.

One number misleads: ranks of pretext tasks change with the data set, the protocol and the number of labels (SEVERE, Thoker et al.,
ECCV 2022). So the default is three protocols (linear, knn, few), several data sets stand in one table, and every number has its chance
level, its spread and its own file with all that made it.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ssvid.environment import environment
from ssvid.errors import ConfigError, DataError
from ssvid.evaluation.adapter import Candidate, EvalContext, find_protocol
from ssvid.evaluation.plots import score_figure
from ssvid.evaluation.splits import open_labelled
from ssvid.evaluation.supervised import supervised
from ssvid.evaluation.tables import captions
from ssvid.evaluation.tables.entries import check_view, line_up, trained_view
from ssvid.evaluation.tables.jobs import Job, JobRunner, compute_all, parse_options
from ssvid.evaluation.tables.page import transfer_page
from ssvid.evaluation.tables.published import published_rows, read_published
from ssvid.evaluation.tables.table import Table, score
from ssvid.evaluation.tables.table import write as write_table
from ssvid.evaluation.tables.table_spec import TRAINING, Made, TableSpec, describe, labels_first, tabulate
from ssvid.files import cache_folder
from ssvid.progress import Progress
from ssvid.training.fit import Interrupted

DEFAULT = ("linear", "knn", "few")
Gaps = dict[tuple[str, str], DataError]  # why a data set (by name) has no cells of a protocol


@dataclass
class Transfer:
    """A finished table, and the JSON of the cells behind it by (row's name, backbone, data set)."""

    table: Table
    cells: dict[tuple[str, str, str], list[dict[str, Any]]]

    def write(self, out: str | os.PathLike[str]) -> None:
        """Write OUT.md, OUT.csv, OUT.tex, OUT.json, OUT.png and OUT.html."""
        path = Path(out)
        write_table(self.table, path)
        score_figure(self.table).savefig(path.with_name(path.name + ".png"), dpi=150)
        transfer_page(self.table, self.cells).write(path.with_name(path.name + ".html"))


def transfer(
    models: Sequence[str],
    data: Sequence[str],
    *,
    protocols: Sequence[str] = DEFAULT,
    options: Sequence[str] = (),
    view: Mapping[str, Any] | None = None,
    seeds: int = 3,
    published: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    workers: int = 1,
    device: str = "cpu",
    command: str = "ssvid.evaluation.tables.transfer.transfer",
    progress: Progress | None = None,
    told: Callable[[str], None] | None = None,
) -> Transfer:
    """Evaluate runs and models by protocols on labelled data sets; what OUT/cells holds already is not computed again.

    models: run folders, or names of backbones. Runs of the same task and backbone make one row over their seeds; every backbone that
    occurs gets the rows *random init* and *supervised*. data: as `read_layout` takes them, or indexes. options: of protocols, as
    PROTOCOL.NAME=VALUE. view: fields of `View` that shall differ from what the first run was trained on. seeds: inits of the rows without
    a run, draws of those with one run. published: a file of scores for rows marked as not measured here. out: cells are kept in
    OUT/cells, without it in the cache. jobs: processes of one thread each.
    progress: called with (what, done, total) inside a cell. told: called with a line of text a cell.
    Raises ConfigError for unknown names and options and for a view that a backbone cannot take, DataError for runs and data that cannot
    be used, Interrupted after Ctrl-C.
    """
    anchors = read_published(published) if published else []
    plan = make_table_spec(models, data, protocols, options, view or {}, seeds, progress)
    folder = Path(out) / "cells" if out else cache_folder() / "cells"
    about = {"command": command, "environment": environment()}
    work = JobRunner(folder, partial(candidate_of, plan.options[TRAINING]), workers, device, about)
    made, gaps = computed(plan, work, jobs, progress, told or (lambda line: None))
    link = f"{Path(out).name}/cells" if out else str(folder.resolve())
    table, columns = tabulate(plan, made, link, any(anchor.backbone for anchor in anchors))
    rows = published_rows(anchors, [(column, data.split()[0], name) for column, (data, name) in columns.items()])
    table.rows += rows
    describe(table, plan, made, columns, about)
    table.notes += [f"{data}: {protocol} left out: {reason}" for (data, protocol), reason in gaps.items()]
    if published:
        table.notes.append(
            f"Published rows ({len(rows)}): from {Path(published).name}, measured by others, with other data and budgets."
        )
    cells = defaultdict(list)
    for cell, found in made:
        cells[cell.group.name, cell.group.backbone, cell.data.name].append(found)
    return Transfer(table, dict(cells))


def make_table_spec(
    models: Sequence[str],
    data: Sequence[str],
    protocols: Sequence[str],
    options: Sequence[str],
    view: Mapping[str, Any],
    seeds: int,
    progress: Progress | None = None,
) -> TableSpec:
    """What `transfer` is asked for, checked as a whole before anything is computed. Raises ConfigError and DataError as told there."""
    if not data:
        raise ConfigError("no labelled data set; name one with --data, as ut_interaction:FOLDER")
    asked = {name: find_protocol(name) for name in dict.fromkeys(protocols)}
    changes = parse_options(options, {TRAINING: find_protocol(TRAINING), **asked})
    groups = line_up(models, seeds)
    seen = replace(trained_view(groups), **{name: value for name, value in view.items() if value is not None})
    check_view(groups, seen)
    sets = [open_labelled(source, progress) for source in dict.fromkeys(data)]
    names = [one.name for one in sets]
    sets = [
        one if names.count(one.name) == 1 else replace(one, name=f"{one.name} {number}")
        for number, one in enumerate(sets, 1)
    ]
    return TableSpec(groups, sets, asked, changes, seen)


def candidate_of(training: Mapping[str, Any], cell: Job, context: EvalContext) -> Candidate:
    """What a cell's protocol evaluates: for *supervised*, a backbone trained with the labels of each fold's training videos (`training`
    are the changed options of that), unless the protocol trains the whole of it itself."""
    candidate = Candidate(cell.group.name, cell.entry.make, bool(cell.entry.run))
    return supervised(candidate, context, training) if labels_first(cell.group, cell.protocol) else candidate


def computed(
    plan: TableSpec, work: JobRunner, jobs: int, progress: Progress | None, told: Callable[[str], None]
) -> tuple[Made, Gaps]:
    """Every cell of the plan, computed where its file is not there yet, a line of text each with the time left; and why some protocols
    have none on a data set.

    Raises DataError where no protocol has any, Interrupted after Ctrl-C; the cells that are done are kept.
    """
    cells = plan.cells()
    found = {position: there for position, cell in enumerate(cells) if (there := work.found(cell))}
    if found:
        told(f"{len(found)} of {len(cells)} cells are there already in {work.folder}")
    missing = [position for position in range(len(cells)) if position not in found]
    gaps: Gaps = {}
    began = time.perf_counter()
    try:
        results = compute_all([cells[position] for position in missing], work, jobs, progress)
        for done, (place, made) in enumerate(results, 1):
            cell = cells[missing[place]]
            left = (time.perf_counter() - began) / done * (len(missing) - done)
            if isinstance(made, DataError):
                known = (cell.data.name, cell.protocol.name) in gaps
                gaps.setdefault((cell.data.name, cell.protocol.name), made)
                what = f"{cell.label}: {'left out, as above' if known else made}"
            else:
                found[missing[place]] = made
                what = f"{cell.label}: {_scores(made)}; {captions.duration(made['seconds'])}"
            number = len(cells) - len(missing) + done
            told(f"[{number}/{len(cells)}] {what}; about {captions.duration(left)} left")
    except KeyboardInterrupt as error:
        raise Interrupted(f"stopped after {len(found)} of {len(cells)} cells; the same command goes on") from error
    if not found:
        raise next(iter(gaps.values()))
    return [(cell, found[position]) for position, cell in enumerate(cells) if position in found], gaps


def _scores(made: Mapping[str, Any]) -> str:
    return ", ".join(f"{one['name']} {score([one['value']], one['name'])}" for one in made["scores"])
