"""The command that shows where and when a network sees an action: localise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ssvid.cli import console
from ssvid.cli.shared import Json

app = typer.Typer()


@app.command()
def localise(
    video: Annotated[str, typer.Argument(help="A video, or its address.")],
    model: Annotated[str, typer.Option(help="Run folder, NAME or NAME@WEIGHTS.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for localised.json and overlay.mp4.")],
    classifier: Annotated[
        Path | None,
        typer.Option(
            help="Classifier that `ssvid transfer --save-head` kept; default: attention of the head (alstm, conv_alstm, videolstm)."
        ),
    ] = None,
    label: Annotated[str, typer.Option("--class", help="Class of the classifier; default: the likeliest.")] = "",
    size: Annotated[int | None, typer.Option(help="Short side of the frames, px; default: as trained.", min=16)] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of the frames' masks as palette PNGs, to measure the overlap with.")
    ] = None,
    smooth: Annotated[float, typer.Option(help="Seconds over which maps are smoothed.", min=0)] = 0.2,
    share: Annotated[float, typer.Option(help="Of a frame's largest value, from which a pixel is in a box.")] = 0.2,
    as_json: Json = False,
) -> None:
    """Show where and when a network sees an action it was told of for whole videos: boxes over time, start and end.

    Example:  ssvid localise CLIP.mp4 --model runs/arrow_of_time-resnet18+videolstm-s0 -o OUT
    """
    from ssvid.tracking.localise import localise as run_it
    from ssvid.tracking.tubes import TubeOptions

    with console.counting() as progress:
        found = run_it(
            video,
            model,
            out,
            classifier=classifier,
            label=label,
            size=size,
            masks=masks,
            options=TubeOptions(smooth=smooth, share=share),
            progress=progress,
        )
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    _say(found)
    console.log(f"done: {out / 'overlay.mp4'} and {out / 'localised.json'}")


def _say(found: dict[str, Any]) -> None:
    """When the action is, and how well its boxes fit where that is known."""
    for stretch in found["stretches"]:
        console.say(f"{found['class'] or 'attention'}: {stretch['start']:.2f} to {stretch['end']:.2f} s")
    console.say(f"{len(found['tubes'])} tubes")
    if "tube_iou" in found:
        console.say(
            f"IoU of the strongest tube {found['tube_iou']:.2f}, of whole frames {found['whole_frame_iou']:.2f}"
        )
        console.say(f"IoU while it is there {found['box_iou']:.2f}, of whole frames {found['whole_frame_box_iou']:.2f}")
