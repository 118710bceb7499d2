"""Commands that show how fast a video may play, and why: speediness, cam, speedup-report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ssvid.cli import console
from ssvid.cli.shared import Device, Json

app = typer.Typer()

InputVideo = Annotated[str, typer.Argument(metavar="IN", help="Video, or its address.")]
ModelFolder = Annotated[
    Path | None, typer.Option(help="Run folder of speednet; default: the model that comes with the package.")
]


@app.command()
def speediness(
    video: InputVideo,
    model: ModelFolder = None,
    by: Annotated[str, typer.Option(help="model, motion (the slower the faster) or constant.")] = "model",
    fit: Annotated[
        bool, typer.Option("--fit", help="Train the model on the video itself first; this needs no labels.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the curve into a picture (.png, .svg, .pdf).")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Print how fast every moment of a video may play and still look natural, in at most ten lines a second.

    Example:  ssvid speediness IN.mp4 --plot curve.png
    """
    from ssvid.speedup.adaptation import adapt_to_video
    from ssvid.speedup.curve import estimate_curve
    from ssvid.speedup.plots import curve_rows, draw_curve

    with console.counting() as progress:
        adapted = adapt_to_video(video, model, progress=progress, device=device) if fit and by == "model" else model
        curve = estimate_curve(video, by=by, model=adapted, device=device, progress=progress)
    if plot is not None:
        draw_curve(curve, plot, Path(video).name)
    if as_json:
        typer.echo(json.dumps(curve.to_dict()))
    else:
        console.show_table(
            f"how fast {Path(video).name} may play, by {by}", ("seconds", "speed", ""), curve_rows(curve)
        )


@app.command()
def cam(
    video: InputVideo,
    out: Annotated[Path, typer.Option("-o", "--out", help="Video to write.")],
    model: Annotated[
        Path | None,
        typer.Option(help="Run folder of speednet or arrow_of_time; default: the model that comes with the package."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Draw a model's activation map over a video: red speaks for "sped up" (or "backward"), blue against it.

    Example:  ssvid cam IN.mp4 --model runs/speednet-s3dg_tiny-s0 -o OUT.mp4
    """
    from ssvid.speedup.cam import render_cam

    with console.counting() as progress:
        render_cam(video, out, model, progress, device)
    console.log(f"done: {out}")


@app.command("speedup-report")
def speedup_report(
    out: Annotated[Path, typer.Option("-o", "--out", help="Write OUT.md and OUT.json.")] = Path("results/speedup"),
    model: ModelFolder = None,
    videos: Annotated[int, typer.Option(help="Motion-world videos with a changing speed.", min=2)] = 20,
    distractors: Annotated[
        int,
        typer.Option(help="Such videos a distractor (camera, lights, noise, crowds ...); 0 leaves them out.", min=0),
    ] = 4,
    seed: Annotated[int, typer.Option(help="Seed of that world; take one that the model was not trained on.")] = 9002,
    clips: Annotated[
        Path | None, typer.Option(help="Folder of the SpeedNet authors' clip `pool` and its published speed curve.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Measure how well planned speeds follow true and published ones, also where motion misleads, beside mean motion alone.

    Example:  ssvid speedup-report -o results/speedup --clips speed/
    """
    from ssvid.speedup.evaluate import write_report

    with console.counting() as progress:
        text = write_report(out, model, videos, seed, clips, progress, device, distractors)
    typer.echo(text, nl=False)
