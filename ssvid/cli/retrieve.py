"""Commands that search in video by example: retrieve index, query, evaluate, add, remove, export."""

from __future__ import annotations

import json
import re
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssvid.cli import completion, console
from ssvid.cli.shared import CellWorkers, Clips, Device, Engine, Fps, Frames, Json, Pool, Size, Stride, show
from ssvid.errors import ConfigError
from ssvid.zoo.cards import MOTION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ssvid.data.video_record import VideoRecord
    from ssvid.search.collection import Collection, Hit

retrieve = typer.Typer(
    no_args_is_help=True,
    help="Search in video by example.\n\nExample:  ssvid retrieve index videos/ -o collection",
)
app = typer.Typer()
app.add_typer(retrieve, name="retrieve")

Moved = Annotated[str | None, typer.Option("--model", help="The run, where it has been moved.")]
Model = Annotated[
    str,
    typer.Option(
        help="A run folder, NAME or NAME@WEIGHTS; the default comes with the package and sees motion alone.",
        autocompletion=completion.models,
    ),
]
Folder = Annotated[Path, typer.Argument(help="A collection, made by ssvid retrieve index.")]


@retrieve.command("index")
def index_(
    videos: Annotated[list[str], typer.Argument(help="Videos, folders, lists, LAYOUT:FOLDER, or an index.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of the collection; an unfinished one is gone on with.")
    ],
    model: Model = MOTION,
    unit: Annotated[
        str,
        typer.Option(
            help="What gets a vector: video (mean of its clips), concat (its clips side by side, to find copies), clip (so that a hit "
            "tells the seconds), or frame."
        ),
    ] = "video",
    kind: Annotated[str, typer.Option(help="exact, hnsw, ivfpq, or auto: by size.")] = "auto",
    clips: Annotated[int, typer.Option(min=1, help="Clips a video, for the units video and concat.")] = 5,
    frames: Annotated[int | None, typer.Option(help="Frames a clip; default: as the run was trained.")] = None,
    stride: Annotated[int | None, typer.Option(help="Ticks from one frame to the next; default: as trained.")] = None,
    size: Annotated[int | None, typer.Option(help="Side, px; default: as trained.")] = None,
    fps: Annotated[
        float | None, typer.Option(help="Ticks a second; default: as trained, else the videos' median rate.")
    ] = None,
    pool: Annotated[str | None, typer.Option(help="mean, max_space_mean_time, mean_std or grid.")] = None,
    space: Annotated[
        str,
        typer.Option(
            help="How vectors are compared: raw, centre (less what all videos share), or whiten (small differences count: best for copies)."
        ),
    ] = "centre",
    engine: Engine = "local:1",
    workers: Annotated[int, typer.Option(help="Decoding processes, of each task.")] = 1,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Make a collection that can be searched; call again to go on or to bring it up to date.

    Example:  ssvid retrieve index videos/ --model runs/speednet-s3dg_tiny-s0 -o collection --unit clip
    """
    from dataclasses import replace

    from ssvid.search.building import build
    from ssvid.search.encode import open_encoder

    encoder = open_encoder(model, unit, None, device, workers)  # type: ignore[arg-type]
    chosen = {"clips": clips, "frames": frames, "stride": stride, "size": size, "fps": fps, "pool": pool}
    changed = {name: value for name, value in chosen.items() if value is not None}
    encoder = replace(encoder, view=replace(encoder.view, **changed))  # type: ignore[arg-type]
    with console.counting() as progress:
        _show_facts(build(out, videos, encoder, kind=kind, space=space, engine=engine, progress=progress), as_json)


@retrieve.command()
def add(
    folder: Folder,
    videos: Annotated[list[str], typer.Argument(help="Videos, folders, lists, LAYOUT:FOLDER, or an index.")],
    model: Moved = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Add videos to a collection.

    Example:  ssvid retrieve add collection new_videos/
    """
    from ssvid.search import building

    collection = _opened(folder, model, device)
    with console.counting() as progress:
        _show_facts(building.add(collection, videos, progress), as_json)


@retrieve.command()
def remove(
    folder: Folder,
    videos: Annotated[list[str], typer.Argument(help="Files that are in the collection.")],
    as_json: Json = False,
) -> None:
    """Take videos out of a collection.

    Example:  ssvid retrieve remove collection videos/old.mp4
    """
    from ssvid.search import building
    from ssvid.search.collection import Collection

    _show_facts(building.remove(Collection(folder), videos), as_json)


@retrieve.command()
def query(
    folder: Folder,
    clip: Annotated[str, typer.Argument(help="The video to ask with; it need not be in the collection.")],
    at: Annotated[str | None, typer.Option(help="Seconds of it, as 00:12-00:15, or a moment, as 12.5.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Answers.")] = 10,
    page: Annotated[
        Path | None, typer.Option("--html", help="Write a page with clips: FILE.html, or a folder.")
    ] = None,
    exclude_self: Annotated[bool, typer.Option("--exclude-self", help="Leave out the query's own file.")] = False,
    group: Annotated[
        bool, typer.Option("--group", help="Leave out its whole group, as clips of the same recording.")
    ] = False,
    within: Annotated[bool, typer.Option("--within", help="Search in the query's own video.")] = False,
    matrix: Annotated[
        Path | None, typer.Option(help="With --within: also write the self-similarity as a picture.")
    ] = None,
    model: Moved = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Find what looks like a video, or like some seconds of it.

    Example:  ssvid retrieve query collection clip.mp4 --at 00:12-00:15 -k 10 --html found.html
    """
    from ssvid.search.encode import remarks
    from ssvid.search.page import similarity_figure, write_search_page

    if matrix is not None and not within:
        raise ConfigError("--matrix is the self-similarity of one video; it goes with --within")
    collection = _opened(folder, model, device)
    video, span = collection.record(clip), None if at is None else parse_span(at)
    moments = collection.within(video, span, k) if within else None
    hits = moments.hits if moments else collection.query(video, span, k, exclude_self=exclude_self, group=group)
    hard = remarks(video, collection.encoder.view, span)
    if matrix is not None and moments is not None:
        similarity_figure(moments, span).savefig(matrix, dpi=150)
    written = write_search_page(page, collection, video, span, hits, hard, moments) if page is not None else None
    show_hits(video, span, hits, hard, as_json)
    if written is not None:
        console.log(f"page: {written.resolve()}")


def _opened(folder: Path, model: str | None, device: str) -> Collection:
    from ssvid.search.collection import Collection

    collection = Collection(folder)
    if model is None and device == "auto":
        return collection
    return Collection(folder, collection.open_encoder(model or collection.manifest["model"], device))


def show_hits(
    video: VideoRecord, span: tuple[float, float] | None, hits: Sequence[Hit], notes: Sequence[str], as_json: bool
) -> None:
    """Print what was found, best first, and the notes on the query."""
    from ssvid.search.page import clock_time

    if as_json:
        found = {
            "query": video.path,
            "at": span,
            "label": video.label,
            "notes": list(notes),
            "hits": [hit._asdict() for hit in hits],
        }
        typer.echo(json.dumps(found, indent=2))
        return
    rows = [
        [str(rank), f"{hit.score:.3f}", f"{clock_time(hit.start)}-{clock_time(hit.end)}", hit.label or "", hit.path]
        for rank, hit in enumerate(hits, 1)
    ]
    console.show_table("most similar", ["rank", "score", "time", "class", "path"], rows)
    for remark in notes:
        console.log(f"note: {remark}")


@retrieve.command()
def evaluate(
    models: Annotated[list[str], typer.Argument(help="Run folders, or names of backbones.")],
    data: Annotated[list[str], typer.Option(help="Labelled videos, as ut_interaction:FOLDER; repeatable.")],
    protocol: Annotated[
        list[str] | None, typer.Option(help="video, loo, vcop, coclr or copy; repeatable. See: ssvid list protocols")
    ] = None,
    option: Annotated[list[str] | None, typer.Option(help="PROTOCOL.NAME=VALUE; repeatable.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Write OUT.md, .csv, .tex and .json; the cells are kept in OUT.cells.jsonl."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Inits of the row *random init*.")] = 3,
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
    """R@k and mAP of runs and models on labelled videos, beside random init and chance.

    Example:  ssvid retrieve evaluate runs/speednet-s3dg_tiny-s* --data ut_interaction:videos/set1 --protocol video -o results/retrieval
    """
    from ssvid.evaluation.tables.request import TableRequest
    from ssvid.evaluation.tables.retrieval import retrieval
    from ssvid.evaluation.tables.table import write

    request = TableRequest(
        models,
        data,
        protocols=protocol or (),
        options=option or (),
        view={"clips": clips, "frames": frames, "stride": stride, "size": size, "fps": fps, "pool": pool},
        seeds=seeds,
        out=out,
        engine=engine,
        workers=workers,
        device=device,
        command=shlex.join(["ssvid", *sys.argv[1:]]),
    )
    with console.counting() as progress:
        table = retrieval(request, progress, console.log)
    if out is not None:
        write(table, out)
    show(table, as_json)


@retrieve.command()
def export(
    folder: Folder,
    to: Annotated[str, typer.Option("--to", help="parquet, lance or qdrant.")],
    out: Annotated[
        str,
        typer.Option(
            "-o",
            "--out",
            help="A file, or a folder; for qdrant the address of a service or a folder of its local mode.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="Of the collection in Qdrant; default: the name of the folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Hand the rows of a collection, with their vectors, to another system; what is there under that name is replaced.

    Example:  ssvid retrieve export collection --to parquet -o collection.parquet
    """
    from ssvid.search.collection import Collection
    from ssvid.search.export import export as export_rows

    with console.counting() as progress:
        count = export_rows(Collection(folder), to, out, name=name, progress=progress)
    if as_json:
        typer.echo(json.dumps({"collection": str(folder), "to": to, "out": out, "rows": count}))
    else:
        console.say(f"{out}: {count} rows")


def parse_span(text: str) -> tuple[float, float]:
    """Seconds from and to of "00:12-00:15", "12.5-15", or of a moment, "12.5". Raises ConfigError for anything else."""
    one = r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)"
    found = re.fullmatch(rf"\s*{one}(?:\s*-\s*{one})?\s*", text)
    if not found:
        raise ConfigError(f"--at takes a time or a span, as 12.5 or 00:12-00:15, not {text!r}")
    hours, minutes, seconds, *rest = (float(part or 0) for part in found.groups())
    start = 3600 * hours + 60 * minutes + seconds
    end = 3600 * rest[0] + 60 * rest[1] + rest[2] if found.group(6) else start
    if end < start:
        raise ConfigError(f"--at {text} ends before it begins")
    return start, end


def _show_facts(collection: Collection, as_json: bool) -> None:
    facts = collection.facts()
    bad = [asdict(video) for video in collection.index.bad()]
    if as_json:
        typer.echo(json.dumps({"collection": str(collection.folder), **asdict(facts), "bad": bad}, indent=2))
        return
    console.say(
        f"{collection.folder}: {facts.videos} videos, {facts.rows} {facts.unit} vectors of {facts.dim} "
        f"({facts.vectors_bytes / 1e6:.1f} MB) {facts.space}, {facts.kind} search"
        + (f" ({facts.index_bytes / 1e6:.1f} MB)" if facts.index_bytes else "")
    )
    for video in bad[:20]:
        console.say(f"  bad: {video['path']}: {video['reason']}")
