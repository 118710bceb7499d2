"""The command that makes the transfer table."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ssvid.cli import completion, console
from ssvid.cli.shared import CellWorkers, Clips, Device, Engine, Fps, Frames, Json, Pool, Size, Stride, show
from ssvid.zoo.cards import MOTION

app = typer.Typer()

Models = Annotated[
    list[str] | None,
    typer.Argument(
        help="Run folders, NAME or NAME@WEIGHTS. Runs of one task that differ in the seed make one row. Default: the motion network "
        "that comes with the package.",
        autocompletion=completion.models,
    ),
]
Data = Annotated[
    list[str],
    typer.Option(
        help="Labelled videos: LAYOUT:FOLDER, a folder per class, a list, a CSV or an index. Repeatable: set a motion-centred data "
        "set beside an appearance-centred one, since the order of models differs between them."
    ),
]
Protocols = Annotated[
    list[str] | None,
    typer.Option(
        help="Repeatable; default linear, knn and few. See: ssvid list protocols", autocompletion=completion.protocols
    ),
]
Options = Annotated[list[str] | None, typer.Option(help="PROTOCOL.NAME=VALUE, as finetune.epochs=5; repeatable.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        help="Write OUT.md, .csv, .tex, .json, .png and .html; the cells are kept in OUT.cells.jsonl.",
    ),
]
Seeds = Annotated[
    int, typer.Option(min=1, help="Inits of the rows *random init* and *supervised*, draws of a single run.")
]
Published = Annotated[
    Path | None, typer.Option(help="YAML or CSV of published scores to add as rows, as configs/published.yaml.")
]

Supervised = Annotated[
    bool,
    typer.Option(
        "--supervised/--no-supervised",
        help="Rows of training from scratch with the labels; they take the longest, for large networks hours.",
    ),
]


SaveHead = Annotated[
    Path | None,
    typer.Option(
        "--save-head",
        help="Keep the classifiers of linear, linear_sgd, finetune for `ssvid stream`: a folder, or .safetensors for the only one.",
    ),
]


@app.command()
def transfer(
    data: Data,
    models: Models = None,
    protocol: Protocols = None,
    option: Options = None,
    out: Out = None,
    save_head: SaveHead = None,
    seeds: Seeds = 3,
    supervised: Supervised = True,
    published: Published = None,
    clips: Clips = 5,
    frames: Frames = None,
    stride: Stride = None,
    size: Size = None,
    fps: Fps = None,
    pool: Pool = None,
    engine: Engine = "local:1",
    workers: CellWorkers = 1,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """The transfer accuracy table: runs and models by protocols on labelled videos, beside random init and training with labels.

    A second call computes only what is missing, and an interrupted one goes on.

    Example:  ssvid transfer runs/speednet-s3dg_tiny-s* --data ut_interaction:videos/set1 --data world.sqlite -o results/transfer
    """
    from ssvid import transfer as make_table

    with console.counting() as progress:
        made = make_table(
            models or [MOTION],
            data,
            protocols=protocol or (),
            options=option or (),
            view={"clips": clips, "frames": frames, "stride": stride, "size": size, "fps": fps, "pool": pool},
            seeds=seeds,
            supervised=supervised,
            published=published,
            out=out,
            save_heads=save_head,
            engine=engine,
            workers=workers,
            device=device,
            command=shlex.join(["ssvid", *sys.argv[1:]]),
            progress=progress,
            log=console.log,
        )
    show(made.table, as_json)
