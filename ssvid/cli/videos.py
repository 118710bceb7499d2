"""Commands that make and read collections: index, make-world."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ssvid.cli import console
from ssvid.cli.shared import Json, Workers
from ssvid.errors import ConfigError, DataError

app = typer.Typer()


@app.command()
def index(
    paths: Annotated[list[str], typer.Argument(help="Folders, 'path label' lists, CSVs, videos, or LAYOUT:FOLDER.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Index file to make or to add to.")] = Path("index.sqlite"),
    root: Annotated[Path | None, typer.Option(help="Folder that paths in lists are relative to.")] = None,
    transcode: Annotated[
        Path | None, typer.Option(help="Also write small, quick-to-seek training copies here.")
    ] = None,
    short_side: Annotated[int, typer.Option(help="Short side of the training copies, px.")] = 160,
    raw: Annotated[
        bool,
        typer.Option(help="Store decoded frames instead of small videos: nothing left to decode, but much disk space."),
    ] = False,
    limit: Annotated[float, typer.Option(help="Seconds one file may take.")] = 600.0,
    workers: Workers = None,
    strict: Annotated[bool, typer.Option(help="Exit with 3 when a file is bad.")] = False,
    as_json: Json = False,
) -> None:
    """Scan videos once into an index; call again to continue or to add videos.

    Example:  ssvid index videos/ -o videos.sqlite --transcode copies/
    """
    from ssvid.data.index import Index
    from ssvid.data.scanning import scan_videos, write_training_copies

    if raw and transcode is None:
        raise ConfigError("--raw changes what --transcode DIR writes; name a folder with --transcode")
    opened = Index(out, create=True)
    with console.counting() as progress:
        found = scan_videos(paths, opened, root=root, workers=workers, limit=limit, progress=progress)
        copies = 0
        if transcode is not None:
            copies = write_training_copies(
                opened, transcode, short_side=short_side, raw=raw, workers=workers, progress=progress
            )
    bad = opened.bad()
    if as_json:
        report = {"index": str(out), "usable": found.usable, "scanned": found.scanned, "copies": copies}
        typer.echo(json.dumps(report | {"notes": opened.notes, "bad": [vars(video) for video in bad]}, indent=2))
    else:
        typer.echo(
            f"{out}: {found.usable} videos, {found.bad} bad files ({found.scanned} scanned now, {copies} copies written)"
        )
        for note in opened.notes:
            typer.echo(f"  note: {note}")
        for video in sorted(bad, key=lambda video: video.missing)[:20]:
            typer.echo(f"  bad: {video.path}: {video.reason}")
        if len(bad) > 20:
            typer.echo(f"  bad: {len(bad) - 20} more; --json names them all")
    if strict and bad:
        raise typer.Exit(DataError.exit_code)


@app.command("make-world")
def make_world(
    folder: Annotated[Path, typer.Argument(help="Folder to write; an unfinished world is completed.")],
    per_class: Annotated[int, typer.Option(help="Videos a class.")] = 20,
    frames: Annotated[int, typer.Option(help="Frames a video.")] = 64,
    size: Annotated[int, typer.Option(help="Side, px.")] = 128,
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Seed; a video depends on seed, class and number only.")] = 0,
    varying_speed: Annotated[float, typer.Option(help="Share of videos whose speed changes, 0 to 1.")] = 0.0,
    masks: Annotated[bool, typer.Option(help="Also write instance masks as palette PNG.")] = False,
    davis: Annotated[bool, typer.Option(help="Also write frames and masks in the DAVIS layout.")] = False,
    crf: Annotated[int, typer.Option(help="Quality of H.264, lower is better; 0 is lossless.")] = 18,
    picture: Annotated[
        Path | None, typer.Option(help="Also write one moving picture of all classes (.webp or .gif).")
    ] = None,
    workers: Workers = None,
) -> None:
    """Make the motion world: labelled videos whose classes differ in motion only.

    Example:  ssvid make-world world/ --per-class 40 --masks --picture world.webp
    """
    from ssvid.data.synthetic import make_world as make

    with console.counting() as progress:
        written = make(
            folder,
            per_class=per_class,
            frames=frames,
            size=size,
            fps=fps,
            seed=seed,
            varying_speed=varying_speed,
            masks=masks,
            davis=davis,
            crf=crf,
            workers=workers or 0,
            progress=progress,
        )
    if picture is not None:
        from ssvid.data.contact_sheets import animate_classes

        animate_classes(picture, seed)
    typer.echo(f"{written}: use it as --data {written}")
