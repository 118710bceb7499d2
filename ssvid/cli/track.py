"""The command that follows objects and points through a video: track."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ssvid.cli import completion, console, track_table
from ssvid.cli.shared import Device, Json
from ssvid.errors import ConfigError
from ssvid.zoo.cards import CORRESPONDENCE


class VideoOrEvaluate(TyperGroup):
    """`ssvid track CLIP ...` without the name of a subcommand, beside `ssvid track evaluate`."""

    unnamed = "video"  # the subcommand whose name is left out

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # typer keeps the type of this context to itself
        """Put in the name that is left out."""
        return super().parse_args(ctx, args if args[:1] == [track_table.EVALUATE] else [self.unnamed, *args])


app = typer.Typer()
track_app = typer.Typer(cls=VideoOrEvaluate)
app.add_typer(
    track_app, name="track", help="Follow objects or points through a video; `track evaluate` compares models by it."
)
track_app.command(track_table.EVALUATE)(track_table.evaluate)
INTERRUPTED = 130

Video = Annotated[
    str, typer.Argument(metavar="VIDEO|FRAMES_FOLDER", help="A video or its address, or a folder of its frames.")
]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the result.")]
Model = Annotated[
    str,
    typer.Option(
        help="Run folder, NAME or NAME@WEIGHTS; the default comes with the package.", autocompletion=completion.models
    ),
]
Mask = Annotated[
    list[Path] | None,
    typer.Option(help="PNG of object ids, 0 for none. Again, with its own --at, for objects that appear later."),
]
BoxText = Annotated[list[str] | None, typer.Option("--box", help="x,y,w,h of an object, px; again for more objects.")]
Points = Annotated[Path | None, typer.Option(help='JSON of points, {"name": \\[x, y], ...}, px.')]
At = Annotated[list[float] | None, typer.Option(help="Seconds of the frame that is marked; default: the first.")]
PresetName = Annotated[str, typer.Option("--preset", help="crw, dino, dinov3, timecycle or uvc.")]
Layer = Annotated[
    str, typer.Option(help="Part of the network whose output is compared, as layer3; default: the whole.")
]
Recent = Annotated[int | None, typer.Option(min=0, help="Last frames compared with; default: the preset's.")]
Radius = Annotated[float | None, typer.Option(min=0, help="Cells away that count; default: the preset's.")]
Html = Annotated[Path | None, typer.Option(help="Also write a page.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Begin anew where OUT holds another track.")]


@track_app.command(VideoOrEvaluate.unnamed)
def track(
    video: Video,
    out: Out,
    model: Model = CORRESPONDENCE,
    mask: Mask = None,
    box: BoxText = None,
    points: Points = None,
    at: At = None,
    preset: PresetName = "crw",
    layer: Layer = "",
    recent: Recent = None,
    radius: Radius = None,
    html: Html = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Follow objects or points through a video: masks, points, an overlay video and a page.

    Example:  ssvid track CLIP.mp4 --box 40,30,120,90 -o OUT --html OUT/index.html

    Models are compared by it with: ssvid track evaluate -h

    OUT/CLIP/00000.png ... are palette PNGs as DAVIS has them. Interrupted, the same command goes on where it was.
    """
    changes = {name: value for name, value in (("recent", recent), ("radius", radius)) if value is not None}
    boxes = [_box(text) for text in box or ()]
    found = {"mask": mask or (), "box": boxes, "points": points, "at": at or ()}
    how = {"model": model, "preset": preset, "layer": layer, "device": device, "html": html, "overwrite": overwrite}
    _run(video, out, as_json, found | how | changes)


def _run(video: str, out: Path, as_json: bool, options: dict[str, Any]) -> None:
    """Track, and print how sure each name was."""
    from ssvid.tracking.pipeline import track as run_it

    try:
        with console.counting() as progress:
            result = run_it(video, out, progress=progress, **options)
    except KeyboardInterrupt:
        console.LOG.print("interrupted; the same command goes on from here", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    summary = result.summary()
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    rows = [[name, str(summary["frames"]), f"{mean:.2f}"] for name, mean in summary["confidence"].items()]
    console.show_table("track", ["name", "frames", "confidence"], rows)
    console.log(f"{out}: masks, points.json, points.csv and overlay.mp4")


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        x, y, w, h = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{text!r} is no box; write x,y,w,h in pixels, as 40,30,120,90") from None
    return x, y, w, h
