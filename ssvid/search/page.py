"""The page of a search: the query and its hits as looping clips, in one file or a folder; no server is needed.

Clips load when they come into view and pause when they leave it. Arrow keys move the focus, the space bar plays and pauses, Enter
enlarges. With prefers-reduced-motion, clips stay paused until clicked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssvid.data.video_record import VideoRecord
from ssvid.evaluation.page import data_uri, figure_uri, write_template
from ssvid.files import atomic
from ssvid.search.collection import Collection, Hit, Moments
from ssvid.search.encode import Span, resolve_span
from ssvid.search.preview import Preview, preview

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKS = {"right": "✓", "wrong": "✗", "": ""}
SPOKEN = {"right": "same class", "wrong": "other class", "": ""}


def write_search_page(
    out: str | os.PathLike[str],
    collection: Collection,
    video: VideoRecord,
    at: Span | None,
    hits: Sequence[Hit],
    remarks: Sequence[str] = (),
    moments: Moments | None = None,
) -> Path:
    """Write the page of one query and return its path.

    out: an .html file, which then holds everything; or a folder, which gets index.html and the clips beside it. at: the queried segment
    of the video in seconds, None for the whole video. remarks: sentences to print under the query. moments: of a search within the
    video, whose self-similarity is drawn. Raises VideoError for a file that can no longer be read.
    """
    path = Path(out)
    single = path.suffix.lower() in (".html", ".htm")
    media = None if single else path / "clips"
    start, end = resolve_span(video, collection.encoder.view, at)
    asked = Hit(video.path, start, end, 1.0, video.label, video.group)
    records, label = _records(collection, video, hits), video.label if moments is None else None
    same = sum(hit.label == label for hit in hits)
    return write_template(
        path if single else path / "index.html",
        "search.html.j2",
        title="What looks like this?" if moments is None else "When does it look like this?",
        summary=_summary(collection, hits, moments),
        query=_tile(asked, preview(video, start, end), 0, None, media),
        remarks=remarks,
        verdict="" if label is None else f"{same} of {len(hits)} show the query's class, {label}.",
        hits=[
            _tile(hit, preview(records[hit.path], hit.start, hit.end), rank, label, media)
            for rank, hit in enumerate(hits, 1)
        ],
        similarity="" if moments is None else figure_uri(similarity_figure(moments, at)),
    )


def similarity_figure(moments: Moments, at: Span | None = None) -> Figure:
    """The cosines of all moments with each other, over seconds; the stretch asked for is marked."""
    from matplotlib.figure import Figure

    middles = moments.spans.mean(1)
    edge = (float(middles[-1]) - float(middles[0])) / max(len(middles) - 1, 1) / 2 or 0.5
    low, high = float(middles[0]) - edge, float(middles[-1]) + edge
    figure = Figure(figsize=(6, 5), layout="constrained")
    axis = figure.subplots()
    off = moments.similarity[~np.eye(len(middles), dtype=bool)]
    limits = (float(off.min()), float(off.max())) if len(off) else (-1.0, 1.0)
    image = axis.imshow(
        moments.similarity,
        extent=(low, high, high, low),
        cmap="magma",
        interpolation="nearest",
        vmin=limits[0],
        vmax=limits[1],
    )
    figure.colorbar(image, label="cosine")
    if at is not None:
        for line in (axis.axvline, axis.axhline):
            for second in at:
                line(second, color="#4cc3ff", lw=1)
    axis.set_xlabel("seconds")
    axis.set_ylabel("seconds")
    axis.set_title("Self-similarity", fontsize=11)
    return figure


def clock_time(seconds: float) -> str:
    """Seconds as 1:02.5, hours in front where there are any."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{rest // 10:02d}.{rest % 10}"


def _records(collection: Collection, video: VideoRecord, hits: Sequence[Hit]) -> Mapping[str, VideoRecord]:
    found = collection.index.videos(paths={hit.path for hit in hits})
    return {video.path: video} | {record.path: record for record in found}


def _summary(collection: Collection, hits: Sequence[Hit], moments: Moments | None) -> str:
    facts = collection.facts()
    counted = f"{facts.rows} {facts.unit}s" + (f" of {facts.videos} videos" if facts.unit != "video" else "")
    where = counted if moments is None else f"{len(moments.spans)} moments of one video"
    return f"{len(hits)} most similar of {where}, by {Path(facts.model).name}; the score is the cosine, 1 is the same."


def _tile(hit: Hit, clip: Preview, rank: int, label: str | None, media: Path | None) -> dict[str, Any]:
    """A clip with what is known of it, as the template takes it. rank 0 is the query, which is neither right nor wrong."""
    known = rank and label is not None and hit.label is not None
    verdict = ("right" if hit.label == label else "wrong") if known else ""
    name = Path(hit.path).name
    whole = clip.end - clip.start >= hit.end - hit.start - 0.2
    part = "" if whole else f", shown {clock_time(clip.start)}–{clock_time(clip.end)}"
    spoken = ["query" if not rank else f"hit {rank}, score {hit.score:.3f}", hit.label, SPOKEN[verdict], name]
    return {
        "classes": " ".join(filter(None, ["clip", verdict, "" if rank else "query"])),
        "aria": " ".join(filter(None, spoken)),
        "poster": data_uri("image/jpeg", clip.still),
        "source": _source(clip, rank, name, media),
        "head": f"{rank} \N{NO-BREAK SPACE}{hit.score:.3f}" if rank else "query",
        "verdict": f"{MARKS[verdict]} {SPOKEN[verdict]}".strip(),
        "share": f"{100 * max(0.0, hit.score):.1f}" if rank else None,
        "label": hit.label,
        "seconds": f"{clock_time(hit.start)}–{clock_time(hit.end)}{part}",
        "path": hit.path,
        "name": name,
    }


def _source(clip: Preview, rank: int, name: str, media: Path | None) -> str:
    """Where the movie is: in the page, or in a file beside it."""
    if media is None:
        return data_uri("video/mp4", clip.movie)
    file = media / f"{rank:03d}-{re.sub(r'[^A-Za-z0-9_-]+', '_', Path(name).stem)}.mp4"
    with atomic(file) as temporary:
        temporary.write_bytes(clip.movie)
    return f"clips/{file.name}"
