"""The command that compares models by how well their features track: track evaluate."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ssvid.cli import console
from ssvid.cli.shared import CellWorkers, Device, Engine, Json, show

EVALUATE = "evaluate"


def evaluate(
    models: Annotated[list[str], typer.Argument(help="Run folders, or names of backbones, or NAME@WEIGHTS.")],
    data: Annotated[
        list[str],
        typer.Option(
            help="davis:, jhmdb:, vip:, world: or clip:FOLDER, sequences with masks, joints or parts; repeatable."
        ),
    ],
    protocol: Annotated[
        list[str] | None, typer.Option(help="davis, jhmdb, vip or world; default: that of the layout. Repeatable.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="PROTOCOL.NAME=VALUE, as davis.preset=dino or davis.layer=layer3; repeatable."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Write OUT.md, .csv, .tex and .json; the cells are kept in OUT.cells.jsonl."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Inits of the row *random init*.")] = 3,
    engine: Engine = "local:1",
    workers: CellWorkers = 1,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """J&F, PCK and mIoU of runs and models, beside random init and copying the first frame.

    Example:  ssvid track evaluate runs/random_walk-resnet18_tiny-s* baseline_patches --data davis:DAVIS -o results/tracking
    """
    from ssvid.evaluation.tables.request import TableRequest
    from ssvid.evaluation.tables.table import write
    from ssvid.evaluation.tables.tracking import tracking

    request = TableRequest(
        models,
        data,
        protocols=protocol or (),
        options=option or (),
        seeds=seeds,
        out=out,
        engine=engine,
        workers=workers,
        device=device,
        command=shlex.join(["ssvid", *sys.argv[1:]]),
    )
    with console.counting() as progress:
        table = tracking(request, progress, console.log)
    if out is not None:
        write(table, out)
    show(table, as_json)
