"""The transfer accuracy table: what pretrained backbones are worth on labelled videos, beside random weights and training with labels.

One number misleads: ranks of pretext tasks change with the data set, the protocol and the number of labels (SEVERE, Thoker et al.,
ECCV 2022). So the default is three protocols (linear, knn, few), several data sets stand in one table, and every number has its chance
level, its spread and its own cell with all that made it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssvid.evaluation.plots import score_figure
from ssvid.evaluation.sequences import is_sequence_source, protocol_for
from ssvid.evaluation.tables import captions
from ssvid.evaluation.tables.gains import gain_tables
from ssvid.evaluation.tables.heads import head_files, save_heads
from ssvid.evaluation.tables.page import transfer_page
from ssvid.evaluation.tables.published import published_rows, read_published
from ssvid.evaluation.tables.request import TableRequest
from ssvid.evaluation.tables.runner import Cell
from ssvid.evaluation.tables.table import Table
from ssvid.evaluation.tables.table import write as write_table
from ssvid.evaluation.tables.table_spec import compute, describe, make_runner, make_spec, tabulate
from ssvid.progress import Log, Progress

DEFAULT = ("linear", "knn", "few")


@dataclass
class Transfer:
    """A finished table, and the cells behind it: (row's name, backbone, data set) -> (key, cell) of each."""

    table: Table
    cells: dict[tuple[str, str, str], list[tuple[str, Cell]]]

    def write(self, out: str | os.PathLike[str]) -> None:
        """Write OUT.md, OUT.csv, OUT.tex, OUT.json, OUT.png and OUT.html."""
        path = Path(out)
        write_table(self.table, path)
        score_figure(self.table).savefig(path.with_name(path.name + ".png"), dpi=150)
        transfer_page(self.table, self.cells).write(path.with_name(path.name + ".html"))


def default_protocols(data: Sequence[str]) -> list[str]:
    """The protocols of a table that names none: DEFAULT for videos, and that of the layout for sequences."""
    videos = [] if all(map(is_sequence_source, data)) else DEFAULT
    return list(dict.fromkeys([*videos, *(protocol_for(source) for source in data if is_sequence_source(source))]))


def transfer(request: TableRequest, progress: Progress | None = None, log: Log | None = None) -> Transfer:
    """Evaluate runs and models by protocols on labelled data sets; cells that the request's file holds are not computed again.

    progress: called inside a job. log: gets a line of text for every job.
    Raises ConfigError for unknown names and options and for a view that a backbone cannot take, DataError for runs and data that cannot
    be used, Interrupted after Ctrl-C.
    """
    published = read_published(request.published) if request.published else []
    spec = make_spec(request, request.protocols or default_protocols(request.data), progress)
    files = head_files(spec.jobs(), Path(request.save_heads)) if request.save_heads else {}
    results = compute(spec, request, progress, log)
    save_heads(files, make_runner(request, results.about), progress, log)
    table, columns = tabulate(spec, results, any(score.backbone for score in published))
    rows = published_rows(published, [(column, data.split()[0], name) for column, (data, name) in columns.items()])
    table.rows += rows
    carried = [captions.CARRIED] if any(map(is_sequence_source, request.data)) else []
    unit = " ".join(["Accuracy in percent.", *carried])
    describe(table, spec, results, columns, "Transfer to", unit)
    if not request.supervised:
        table.notes.append("random init: frozen random weights. Training from scratch with the labels was left out.")
    if request.published:
        table.notes.append(
            f"Published rows ({len(rows)}): from {Path(request.published).name}, measured by others, with other data and budgets."
        )
    table.gains = gain_tables(results.cells, columns)
    cells = defaultdict(list)
    for job, cell in results.cells:
        cells[job.row.name, job.row.backbone, job.data.name].append((job.key, cell))
    return Transfer(table, dict(cells))
