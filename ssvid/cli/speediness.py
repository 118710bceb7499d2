"""Commands that show how fast a video may play, and why: speediness, cam, speedup-report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ssvid.cli import console
from ssvid.cli.shared import Json

app = typer.Typer()

InputVideo = Annotated[Path, typer.Argument(metavar="IN", help="Video.")]
ModelFolder = Annotated[Path | None, typer.Option(help="Run folder of speednet; default: the model in the package.")]


@app.command()
def speediness(
    video: InputVideo,
    model: ModelFolder = None,
    by: Annotated[str, typer.Option(help="model, motion (the slower the faster) or constant.")] = "model",
    fit: Annotated[bool, typer.Option("--fit", help="Adapt the model to the video first; needs no labels.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the curve into a picture (.png, .svg, .pdf).")] = None,
    as_json: Json = False,
) -> None:
    """How fast may every moment of a video play and still look natural? Prints the curve, ten lines a second at most.

    Example:  ssvid speediness IN.mp4 --plot curve.png
    """
    from ssvid.speedup.adaptation import adapt_to_video
    from ssvid.speedup.curve import estimate_curve
    from ssvid.speedup.plots import curve_rows, draw_curve

    with console.counting() as progress:
        chosen = adapt_to_video(video, model, progress=progress) if fit and by == "model" else model
        curve = estimate_curve(video, by=by, model=chosen, progress=progress)
    if plot is not None:
        draw_curve(curve, plot, video.name)
    if as_json:
        typer.echo(json.dumps(curve.to_dict()))
    else:
        console.show_table(f"how fast {video.name} may play, by {by}", ("seconds", "speed", ""), curve_rows(curve))


@app.command()
def cam(
    video: InputVideo,
    out: Annotated[Path, typer.Option("-o", "--out", help="Video to write.")],
    model: Annotated[
        Path | None, typer.Option(help="Run folder of speednet or arrow_of_time; default: the model in the package.")
    ] = None,
) -> None:
    """Draw over a video where the decision comes from: red pushes to "sped up" (or "backward"), blue against it.

    Example:  ssvid cam IN.mp4 --model runs/speednet-s3dg_tiny-s0 -o OUT.mp4
    """
    from ssvid.speedup.cam import render_cam

    with console.counting() as progress:
        render_cam(video, out, model, progress)
    console.LOG.print(f"done: {out}", soft_wrap=True)


@app.command("speedup-report")
def speedup_report(
    out: Annotated[Path, typer.Option("-o", "--out", help="Writes OUT.md and OUT.json.")] = Path("results/speedup"),
    model: ModelFolder = None,
    videos: Annotated[int, typer.Option(help="Videos of the motion world with a changing speed.", min=2)] = 20,
    seed: Annotated[int, typer.Option(help="Of that world; one that the model was not trained on.")] = 9002,
    clips: Annotated[
        Path | None, typer.Option(help="Folder of the SpeedNet authors' clip `pool` and its published speed curve.")
    ] = None,
) -> None:
    """Does the planned speed follow the true one, and the published one? Against mean motion.

    Example:  ssvid speedup-report -o results/speedup --clips speed/
    """
    from ssvid.speedup.evaluate import write_report

    with console.counting() as progress:
        text = write_report(out, model, videos, seed, clips, progress)
    typer.echo(text, nl=False)
