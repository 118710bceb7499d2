"""The command that makes the transfer table."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ssvid import console
from ssvid.cli.shared import Json

app = typer.Typer()


@app.command()
def transfer(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Run folders, or names of backbones. Runs of one task that differ in the seed make one row."
        ),
    ],
    data: Annotated[
        list[str],
        typer.Option(
            help="Labelled videos: LAYOUT:FOLDER, a folder per class, a list, a CSV or an index. Repeatable: set a motion-centred data "
            "set beside an appearance-centred one, for the order of models differs between them."
        ),
    ],
    protocol: Annotated[
        list[str] | None, typer.Option(help="Repeatable; default linear, knn and few. See: ssvid list protocols")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="PROTOCOL.NAME=VALUE, as finetune.epochs=5; repeatable.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Write OUT.md, .csv, .tex, .json, .png and .html, and a file a cell in OUT/cells."
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Inits of the rows *random init* and *supervised*, draws of a single run.")
    ] = 3,
    published: Annotated[
        Path | None, typer.Option(help="YAML or CSV of published scores to add as rows, as configs/published.yaml.")
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="Clips a video.")] = 5,
    frames: Annotated[int | None, typer.Option(help="Frames a clip; default: as the first run was trained.")] = None,
    stride: Annotated[int | None, typer.Option(help="Frames from one to the next; default: as trained.")] = None,
    size: Annotated[int | None, typer.Option(help="Side, px; default: as trained.")] = None,
    fps: Annotated[float | None, typer.Option(help="Clock that stride counts on; default: as trained.")] = None,
    pool: Annotated[str | None, typer.Option(help="mean, max_space_mean_time or mean_std.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes of one thread, each with cells of its own.")] = 1,
    workers: Annotated[int, typer.Option(help="Decoding processes of each.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
    as_json: Json = False,
) -> None:
    """The transfer accuracy table: runs and models by protocols on labelled videos, beside random init and training with labels.

    A second call computes only what is missing, and an interrupted one goes on.

    Example:  ssvid transfer runs/speednet-s3dg_tiny-s* --data ut_interaction:videos/set1 --data world.sqlite -o results/transfer
    """
    from downstream.transfer import DEFAULT
    from downstream.transfer import transfer as run_it

    with console.counting() as told:
        made = run_it(
            models,
            data,
            protocols=protocol or DEFAULT,
            options=option or (),
            view={"clips": clips, "frames": frames, "stride": stride, "size": size, "fps": fps, "pool": pool},
            seeds=seeds,
            published=published,
            out=out,
            jobs=jobs,
            workers=workers,
            device=device,
            command=shlex.join(["ssvid", *sys.argv[1:]]),
            progress=told,
            told=lambda line: console.LOG.print(line, soft_wrap=True, markup=False),
        )
    table = made.table
    if out is not None:
        made.write(out)
    if as_json:
        typer.echo(table.json(), nl=False)
    else:
        console.show_table(table.title, table.header(), table.cells())
        for line in (table.protocol, *table.below()):
            console.LOG.print(line, soft_wrap=True, markup=False)
