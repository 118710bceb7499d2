"""The page one looks at: the query as a looping clip and what was found as looping clips, in one file or a folder, without a server.

Clips load when they come into view and stop when they leave it. Arrow keys go from one to the next, the space bar stops and starts,
Enter enlarges. Who asked his system for less motion gets still pictures until he presses.
"""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ssvid.data.index import VideoRecord
from ssvid.evaluation.page import Page
from ssvid.search.collection import Collection, Hit, Moments
from ssvid.search.encode import Span, resolve_span
from ssvid.search.preview import Preview, preview

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """<style>
body { max-width: 76rem; }
.hits { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(14rem, 44%), 1fr)); gap: .8rem; padding: 0; margin: 1rem 0; }
.clip { margin: 0; border: 1px solid var(--line); border-radius: 10px; overflow: hidden; min-width: 0; background: var(--paper); }
.clip:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.clip video { display: block; width: 100%; aspect-ratio: 4/3; object-fit: contain; background: #000; border-radius: 0; cursor: pointer; }
.clip.large { grid-column: 1 / -1; } .clip.large video { max-height: 75vh; }
.clip figcaption { margin: 0; padding: .55rem .75rem .7rem; max-width: none; display: grid; gap: .2rem; }
.clip .top { flex-wrap: wrap; } .clip b { color: var(--ink); font-size: 1rem; overflow-wrap: anywhere; }
.clip .name { overflow-wrap: anywhere; font-size: .82rem; }
.clip .top { display: flex; justify-content: space-between; gap: .5rem; align-items: baseline; font-variant-numeric: tabular-nums; }
.bar { height: 4px; border-radius: 2px; background: color-mix(in srgb, var(--ink) 12%, transparent); }
.bar i { display: block; height: 100%; border-radius: 2px; background: var(--mark, var(--soft)); }
.right { --mark: #1f8a4c; border-color: var(--mark); } .wrong { --mark: #c0392b; border-color: var(--mark); }
.verdict { color: var(--mark); font-weight: 600; white-space: nowrap; }
@media (prefers-color-scheme: dark) { .right { --mark: #4cc38a; } .wrong { --mark: #ff8578; } }
figure:not(.clip) img { max-width: min(38rem, 100%); }
.query { max-width: 26rem; border-width: 2px; border-color: var(--accent); }
</style>"""

SCRIPT = """<script>
const clips = [...document.querySelectorAll('.clip')], still = matchMedia('(prefers-reduced-motion: reduce)').matches;
const play = video => { if (!video.src) video.src = video.dataset.src; video.play().catch(() => {}); };
const press = video => video.paused ? (video.dataset.held = '', play(video)) : (video.dataset.held = '1', video.pause());
const eye = new IntersectionObserver(seen => seen.forEach(({target, isIntersecting}) => {
  if (!isIntersecting) target.pause(); else if (!still && !target.dataset.held) play(target); }), {rootMargin: '200px'});
clips.forEach((clip, place) => {
  const video = clip.querySelector('video'); eye.observe(video); video.onclick = () => press(video);
  clip.onkeydown = event => {
    const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
    if (step) clips[(place + step + clips.length) % clips.length].focus();
    else if (event.key === ' ') press(video);
    else if (event.key === 'Enter') clip.classList.toggle('large');
    else return;
    event.preventDefault(); }; });
</script>"""


def write_search_page(
    out: str | os.PathLike[str],
    collection: Collection,
    video: VideoRecord,
    at: Span | None,
    hits: Sequence[Hit],
    remarks: Sequence[str] = (),
    moments: Moments | None = None,
) -> Path:
    """Write the page of one question and return its path.

    out: a file .html, which then holds all; or a folder, which gets index.html and the clips beside it. at: what was asked of the
    video, None for all of it. moments: of a search within the video, whose self-similarity is drawn.
    Raises VideoError for a file that cannot be read any more.
    """
    path = Path(out)
    single = path.suffix.lower() in (".html", ".htm")
    media = None if single else path / "clips"
    start, end = resolve_span(video, collection.encoder.view, at)
    facts = collection.facts()
    page = Page("What looks like this?" if moments is None else "When does it look like this?")
    page.parts.insert(0, STYLE)
    counted = f"{facts.rows} {facts.unit}s" + (f" of {facts.videos} videos" if facts.unit != "video" else "")
    where = counted if moments is None else f"{len(moments.spans)} moments of one video"
    page.text(
        f"{len(hits)} most similar of {where}, by {Path(facts.model).name}; the score is the cosine, 1 is the same.",
        note=True,
    )
    asked = Hit(video.path, start, end, 1.0, video.label, video.group)
    page.parts.append(_tile(asked, preview(video, start, end), 0, None, media))
    for remark in remarks:
        page.text(f"Note: {remark}.", note=True)
    page.heading("Found" if moments is None else "Moments")
    records, label = _records(collection, video, hits), video.label if moments is None else None
    if label is not None:
        same = sum(hit.label == label for hit in hits)
        page.text(f"{same} of {len(hits)} show the query's class, {label}.", note=True)
    tiles = [
        _tile(hit, preview(records[hit.path], hit.start, hit.end), rank, label, media)
        for rank, hit in enumerate(hits, 1)
    ]
    page.parts.append(f'<div class="hits">{"".join(tiles)}</div>')
    if moments is not None:
        page.heading("Self-similarity")
        caption = (
            "How like each other all moments of the video are. Bright blocks are segments alike, bright stripes beside the diagonal "
            "are repetitions."
        )
        page.figure(similarity_figure(moments, at), caption)
    page.text("Arrow keys: next clip. Whitening: stop and go. Enter: larger.", note=True)
    page.parts.append(SCRIPT)
    return page.write(path if single else path / "index.html")


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


def _tile(hit: Hit, clip: Preview, rank: int, label: str | None, media: Path | None) -> str:
    """A clip with what is known of it. rank 0 is the query, which is neither right nor wrong."""
    known = rank and label is not None and hit.label is not None
    verdict = ("right" if hit.label == label else "wrong") if known else ""
    name = Path(hit.path).name
    source = _source(clip, rank, name, media)
    told = {"right": "✓ same class", "wrong": "✗ other class", "": ""}[verdict]
    head = "query" if not rank else f"{rank} &nbsp;{hit.score:.3f}"
    bar = f'<div class="bar"><i style="width:{100 * max(0.0, hit.score):.1f}%"></i></div>' if rank else ""
    shown = (
        ""
        if clip.end - clip.start >= hit.end - hit.start - 0.2
        else f", shown {clock_time(clip.start)}–{clock_time(clip.end)}"
    )
    lines = [
        f'<span class="top"><b>{head}</b><span class="verdict">{told}</span></span>',
        bar,
        f"<b>{html.escape(hit.label)}</b>" if hit.label is not None else "",
        f"<span>{clock_time(hit.start)}–{clock_time(hit.end)}{shown}</span>",
        f'<span class="name" title="{html.escape(hit.path)}">{html.escape(name)}</span>',
    ]
    aria = html.escape(
        " ".join(
            filter(None, ["query" if not rank else f"hit {rank}, score {hit.score:.3f}", hit.label, told[2:], name])
        )
    )
    kind = " ".join(filter(None, ["clip", verdict, "" if rank else "query"]))
    poster = f"data:image/jpeg;base64,{base64.b64encode(clip.still).decode()}"
    return (
        f'<figure class="{kind}" tabindex="0" aria-label="{aria}"><video loop muted playsinline preload="none" poster="{poster}" '
        f'data-src="{source}"></video><figcaption>{"".join(lines)}</figcaption></figure>'
    )


def _source(clip: Preview, rank: int, name: str, media: Path | None) -> str:
    """Where the movie is: in the page, or in a file beside it."""
    if media is None:
        return f"data:video/mp4;base64,{base64.b64encode(clip.movie).decode()}"
    media.mkdir(parents=True, exist_ok=True)
    file = media / f"{rank:03d}-{re.sub(r'[^A-Za-z0-9_-]+', '_', Path(name).stem)}.mp4"
    file.write_bytes(clip.movie)
    return f"clips/{file.name}"
