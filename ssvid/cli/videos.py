"""Commands that make and read collections: index, make-world."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssvid.cli import console
from ssvid.cli.shared import Engine, Json
from ssvid.errors import ConfigError, DataError

if TYPE_CHECKING:
    from ssvid.data.index import Index

app = typer.Typer()
SHOWN = 20  # files of a kind that are named


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
    shard: Annotated[
        int, typer.Option(min=0, help="Videos whose training copies share a file, a tar; 0: a file each.")
    ] = 0,
    limit: Annotated[float, typer.Option(help="Seconds one file may take.")] = 600.0,
    engine: Engine = "local",
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what left its sources, or was deleted; else it is kept, out of use.")
    ] = False,
    dedupe: Annotated[
        bool, typer.Option("--dedupe", help="Leave out files whose content another one has; a tested one stays.")
    ] = False,
    strict: Annotated[bool, typer.Option(help="Exit with 3 when a file is bad.")] = False,
    as_json: Json = False,
) -> None:
    """Scan videos once into an index; call again to continue, to add videos, or after files or lists have changed.

    Example:  ssvid index videos/ -o videos.sqlite --transcode copies/
    """
    from ssvid.data.index import Index
    from ssvid.data.scanning import scan_videos, write_training_copies

    if (raw or shard) and transcode is None:
        raise ConfigError(
            f"{'--raw' if raw else '--shard'} changes what --transcode DIR writes; name a folder with --transcode"
        )
    opened = Index(out, create=True)
    with console.counting() as progress:
        found = scan_videos(paths, opened, root=root, engine=engine, limit=limit, progress=progress)
        counts = {"usable": found.usable, "scanned": found.scanned, "copies": 0}
        if transcode is not None:
            counts["copies"] = write_training_copies(
                opened, transcode, short_side=short_side, raw=raw, shard=shard, engine=engine, progress=progress
            )
    counts |= _left_out(opened, prune, dedupe)
    _show_index(opened, counts, as_json)
    if strict and opened.bad():
        raise typer.Exit(DataError.exit_code)


def _left_out(index: Index, prune: bool, dedupe: bool) -> dict[str, int]:
    """Take out what is gone and what is there twice, as asked; how many."""
    from ssvid.data.index_files import leave_out_copies

    counts = {"pruned": index.prune()} if prune else {}
    if dedupe:
        counts["duplicates"] = leave_out_copies(index)
        counts["usable"] = len(index)
    return counts


def _show_index(index: Index, counts: dict[str, int], as_json: bool) -> None:
    """Print what an index holds, and which files are bad or gone."""
    bad, gone = index.bad(), index.gone()
    if as_json:
        facts = {"index": str(index.path), **counts, "notes": index.notes, "bad": [vars(video) for video in bad]}
        typer.echo(json.dumps(facts | {"gone": gone}, indent=2))
        return
    pruned = "".join(f", {counts[what]} {what}" for what in ("pruned", "duplicates") if what in counts)
    console.say(
        f"{index.path}: {counts['usable']} videos, {len(bad)} bad files "
        f"({counts['scanned']} scanned now, {counts['copies']} copies written{pruned})"
    )
    for note in index.notes:
        console.say(f"  note: {note}")
    told = [f"bad: {video.path}: {video.reason}" for video in sorted(bad, key=lambda video: video.missing)]
    _show_some("bad", told)
    if gone:
        console.say(
            f"  gone: {len(gone)} videos left their sources or were deleted; they are not used (--prune removes them)"
        )
    _show_some("gone", [f"gone: {path}" for path in gone])


@app.command("check-index")
def check_index(
    index: Annotated[Path, typer.Argument(help="An index file.")],
    as_json: Json = False,
) -> None:
    """Look whether the files of an index are as they were scanned; exits with 3 where one changed, moved or is gone.

    Example:  ssvid check-index videos.sqlite
    """
    from ssvid.data.index import Index
    from ssvid.data.index_files import check_files

    opened = Index(index)
    with console.counting() as progress:
        found = check_files(opened, progress)
    if as_json:
        typer.echo(json.dumps(found._asdict(), indent=2))
    else:
        counts = f"{len(found.changed)} changed, {len(found.gone)} gone, {len(found.moved)} moved"
        console.say(f"{index}: {len(opened)} videos, {counts}")
        _show_some("changed", [f"changed: {path}" for path in found.changed])
        _show_some("gone", [f"gone: {path}" for path in found.gone])
        _show_some("moved", [f"moved: {old} is now {new}" for old, new in found.moved])
        if found:
            console.say(
                "  bring it up to date with: ssvid index SOURCES -o INDEX; a whole folder that moved: ssvid move-index"
            )
    if found:
        raise typer.Exit(DataError.exit_code)


@app.command("move-index")
def move_index(
    index: Annotated[Path, typer.Argument(help="An index file; it is changed in place.")],
    old: Annotated[Path, typer.Argument(help="Folder in which the videos were, as the index names it.")],
    new: Annotated[Path, typer.Argument(help="Folder in which they are now.")],
) -> None:
    """Let an index find its videos in another place, as after they were moved or copied to another machine.

    Example:  ssvid move-index videos.sqlite /data/videos /mnt/storage/videos
    """
    from ssvid.data.index import Index
    from ssvid.data.index_files import move_index as move

    console.say(f"{index}: {move(Index(index), old, new)} videos are now below {new}")


def _show_some(what: str, lines: list[str]) -> None:
    for line in lines[:SHOWN]:
        console.say(f"  {line}")
    if len(lines) > SHOWN:
        console.say(f"  {what}: {len(lines) - SHOWN} more; --json names them all")


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
    distractors: Annotated[
        float,
        typer.Option(help="Share of scenes with misleading motion (camera, lights, noise, crowds, cuts ...), 0 to 1."),
    ] = 0.0,
    classes: Annotated[str | None, typer.Option(help="Classes to make, separated by commas; default: all.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Also write one moving picture of all classes (.webp or .gif).")
    ] = None,
    engine: Engine = "local",
) -> None:
    """Make the motion world: labelled videos whose classes differ in motion only.

    Example:  ssvid make-world world/ --per-class 40 --masks --picture world.webp
    """
    from ssvid.data.synthetic import CLASSES
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
            distractors=distractors,
            classes=classes.split(",") if classes else CLASSES,
            engine=engine,
            progress=progress,
        )
    if picture is not None:
        from ssvid.data.contact_sheets import animate_classes

        animate_classes(picture, seed)
    console.say(f"{written}: use it as --data {written}")


@app.command("make-long-world")
def make_long_world(
    folder: Annotated[Path, typer.Argument(help="Folder to write; an unfinished world is completed.")],
    per_class: Annotated[int, typer.Option(help="Videos of each of the eight classes.")] = 16,
    minutes: Annotated[float, typer.Option(help="Length of a video.")] = 5.0,
    size: Annotated[int, typer.Option(help="Side, px.")] = 32,
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 5.0,
    seed: Annotated[int, typer.Option(help="Seed of the scenes and of the order of sub-actions.")] = 0,
    engine: Engine = "local",
) -> None:
    """Make videos of minutes: a class is three sub-actions in a loose order, each for a share of the video of its own.

    Example:  ssvid make-long-world long/
    """
    from ssvid.data.long_world import make_long_world as make

    with console.counting() as progress:
        written = make(
            folder,
            per_class=per_class,
            minutes=minutes,
            size=size,
            fps=fps,
            seed=seed,
            engine=engine,
            progress=progress,
        )
    console.say(f"{written}: use it as --data {written}")
