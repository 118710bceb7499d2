"""The command that compares temporal heads on long videos: long."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ssvid.cli import console
from ssvid.cli.shared import Json, show

app = typer.Typer()


@app.command()
def long(
    data: Annotated[str, typer.Option(help="Long videos with labels: an index, or a list. See: ssvid make-long-world")],
    backbone: Annotated[str, typer.Option(help="Run folder or name of the frozen backbone.")],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="Write OUT.md, .csv, .tex, .json, .png; what is in OUT.cells.jsonl is kept."),
    ],
    head: Annotated[
        list[str] | None,
        typer.Option(help="Temporal head; repeatable. Default: late_pooling, lstm, timeception, videograph."),
    ] = None,
    seconds: Annotated[
        list[float] | None, typer.Option(help="Seconds of the video that a head sees; repeatable. Default: 8, 60, 300.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each head.", min=1)] = 3,
    steps: Annotated[int, typer.Option(help="Optimiser steps of each.", min=1)] = 300,
    frames: Annotated[int, typer.Option(help="Frames of a segment, which gives one vector.", min=1)] = 8,
    size: Annotated[int, typer.Option(help="Side, px.", min=1)] = 32,
    as_json: Json = False,
) -> None:
    """Compare temporal heads on long videos: accuracy, time and memory by how much of the video they see.

    Example:  ssvid long --data long.sqlite --backbone runs/arrow_of_time-c3d_tiny-s0 -o results/long
    """
    from ssvid.evaluation.sequence_heads import HeadTraining
    from ssvid.evaluation.tables.long_videos import LONG_HEADS, WINDOWS, LongRequest, long_videos

    request = LongRequest(
        data,
        backbone,
        out,
        heads=head or LONG_HEADS,
        seconds=sorted(seconds or WINDOWS),
        frames=frames,
        size=size,
        seeds=seeds,
        training=HeadTraining(steps=steps),
        command=shlex.join(["ssvid", *sys.argv[1:]]),
    )
    with console.counting() as progress:
        table = long_videos(request, progress)
    show(table, as_json)
