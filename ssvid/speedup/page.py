"""One page that shows a result beside its original, in step, over the curves that explain its speed. No server is needed."""

from __future__ import annotations

import base64
import html as markup
import io
import json
import os
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from ssvid.progress import Progress
from ssvid.speedup.page_parts import SCRIPT, STYLE
from ssvid.speedup.plan import SpeedPlan, make_plan
from ssvid.speedup.render import render_plan
from ssvid.video.decode import decode_in_order, open_video, shown_size

EMBEDDED = 6_000_000  # bytes of videos up to which the page holds them itself
PLAYED = {"mp4": ("h264", "av1", "vp9"), "matroska,webm": ("vp8", "vp9", "av1")}  # what browsers play
TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm", ".mkv": "video/webm"}
KNOTS = 4000  # points of the map of time and the curves: below 50 ms over an hour, and a page of some hundred kilobytes
COLUMNS = 1200  # of the picture of the speediness
GRID = (0.25, 0.5, 1, 2, 4, 8, 16)  # speeds with a line
RAMP = np.array([[43, 108, 176], [242, 238, 228], [194, 69, 45]], float)  # natural, undecided, sped up
RAMP_CSS = "linear-gradient(90deg, rgb(43 108 176), rgb(242 238 228), rgb(194 69 45))"
BY = {
    "model": "SpeedNet's answers",
    "motion": "mean motion: the slower, the faster",
    "constant": "nothing: one speed throughout",
}


def write_speedup_page(
    plan: SpeedPlan, result: Path, path: Path, *, cam: Path | None = None, progress: Progress | None = None
) -> Path:
    """Write the page: both videos in step, speediness and speed under a moving cursor, cuts, the activation map where there is one.

    Small videos are put into the page, larger ones linked to, relatively: keep them beside it. An original that browsers do not play is
    copied to NAME.original.mp4 without sound first.

    Args:
        plan: the plan.
        result: the video rendered from it.
        path: page to write.
        cam: video of the activation map, frame by frame that of the source.
        progress: progress of the copy.
    """
    original = Path(plan.source)
    if not _played(original):
        original = _copy(plan, result.with_name(f"{result.stem}.original.mp4"), progress)
    files = [original, result, *([cam] if cam else [])]
    embedded = sum(file.stat().st_size for file in files) <= EMBEDDED
    links = [_embed(file) if embedded else _link(file, path.parent) for file in files]
    wide, silent = _look(result)
    name = Path(plan.source).name
    summary = plan.summary()
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{markup.escape(name)}, sped up</title><style>{STYLE}</style></head><body>
<h1>{markup.escape(name)}</h1>
<p>{_clock(summary["seconds"])} in {_clock(summary["result_seconds"])}: {summary["speed"]:.2f}× overall,
from {summary["min_speed"]:.2f}× to {summary["max_speed"]:.2f}×, by {markup.escape(BY.get(plan.curve.by, plan.curve.by))}.</p>
<div class="stage{" wide" if wide else ""}">
{_figure("Original", "there", _video("original", links[0], original.name) + (_video("map", links[2], "the map") if cam else ""))}
{_figure("Sped up", "here", _video("result", links[1], result.name))}
</div>
<div class="controls"><button id="play">Play</button>{"" if silent else '<button id="mute" aria-pressed="false">Mute</button>'}
{'<button id="look" aria-pressed="false">Activation map</button>' if cam else ""}<span class="now" id="now"></span></div>
<div class="chart" id="chart" tabindex="0" role="slider" aria-label="Position in the original, seconds" aria-valuemin="0"
 aria-valuemax="{summary["seconds"]:.1f}">
<div class="tracker" id="tracker"><div class="cursor" id="cursor"></div></div>
{_heat(plan)}
<h2>Speed</h2>{_curves(plan)}
{_seconds(summary["seconds"])}
</div>
<p class="note"><span class="key"></span>speed<span class="key n"></span>fastest that still looks natural
{'<span class="key c"></span>cut' if plan.curve.cuts else ""}</p>
<p class="note">Click or drag in the curves to go there. <kbd>space</kbd> plays, <kbd>←</kbd> <kbd>→</kbd> step a second, with
<kbd>shift</kbd> a tenth{"" if silent else ", <kbd>m</kbd> mutes"}{", <kbd>a</kbd> shows the map" if cam else ""}.</p>
<script type="application/json" id="plan">{_data(plan)}</script><script>{SCRIPT}</script></body></html>
"""
    path.write_text(text, encoding="utf-8")
    return path


def _figure(name: str, clock: str, videos: str) -> str:
    return f'<figure><div class="screen">{videos}</div><figcaption><b>{name}</b><span id="{clock}"></span></figcaption></figure>'


def _video(name: str, link: str, progress: str) -> str:
    muted, over = ("" if name == "result" else " muted"), (' class="over"' if name == "map" else "")
    return f'<video id="{name}"{over} src="{link}" data-name="{markup.escape(progress)}" preload="auto" playsinline{muted}></video>'


def _thinned(length: int, points: int) -> np.ndarray:
    """Indices that keep about `points` of `length`, both ends among them."""
    return np.unique(np.linspace(0, length - 1, min(length, points)).round().astype(int))


def _data(plan: SpeedPlan) -> str:
    kept = _thinned(len(plan.edges), KNOTS)
    rounded = {
        "source": plan.source_edges[kept].round(4).tolist(),
        "result": plan.edges[kept].round(4).tolist(),
    }
    return json.dumps(rounded).replace("</", "<\\/")


def _curves(plan: SpeedPlan) -> str:
    """Speed and V over the source's time, on a logarithmic axis."""
    speed = np.where(plan.pace > 0, plan.speed, np.nan)
    known = np.concatenate([speed[np.isfinite(speed)], plan.curve.natural])
    low, high = (float(np.log2(bound)) for bound in (min(0.95, known.min() * 0.95), max(2.1, known.max() * 1.06)))

    def y(value: float | np.ndarray) -> float | np.ndarray:
        return 100 * (high - np.log2(value)) / (high - low)

    lines = [value for value in GRID if low <= np.log2(value) <= high]
    grid = "".join(f'<line class="grid" x1="0" x2="1000" y1="{y(value):.2f}" y2="{y(value):.2f}"/>' for value in lines)
    labels = "".join(f'<span class="y" style="top:{y(value):.2f}%">{value:g}×</span>' for value in lines)
    places = [1000 * plan.curve.times[cut] / plan.source_edges[-1] for cut in plan.curve.cuts]
    cuts = "".join(f'<line class="cut" y1="0" y2="100" x1="{place:.2f}" x2="{place:.2f}"/>' for place in places)
    natural = "" if plan.curve.by == "constant" else _path("natural", plan, y(plan.curve.natural))
    inside = f"{grid}{cuts}{natural}{_path('speed', plan, y(speed))}"
    drawn = f'<svg viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">{inside}</svg>'
    return f'<div class="plot curves">{drawn}{labels}</div>'


def _path(kind: str, plan: SpeedPlan, heights: float | np.ndarray) -> str:
    """A line through (x, heights) at every frame's middle; broken where frames are left out."""
    middles = 1000 * (plan.source_edges[:-1] + plan.source_edges[1:]) / 2 / plan.source_edges[-1]
    heights = np.broadcast_to(heights, middles.shape)
    if len(middles) == 1:  # a single frame is a line too
        middles, heights = np.array([0.0, 1000.0]), np.repeat(heights, 2)
    kept = _thinned(len(middles), KNOTS)
    words, pen = [], "M"
    for x, height in zip(middles[kept].tolist(), heights[kept].tolist(), strict=True):
        if np.isnan(height):
            pen = "M"
            continue
        words.append(f"{pen}{x:.1f} {height:.2f}")
        pen = "L"
    return f'<path class="{kind}" d="{"".join(words)}"/>'


def _heat(plan: SpeedPlan) -> str:
    """A row of colour for every playback rate, the fastest on top: how sped up each moment looks at it."""
    faster = plan.curve.faster
    if len(faster) == 0:
        return ""
    columns = _thinned(faster.shape[1], COLUMNS)
    shares = np.nan_to_num(faster[::-1][:, columns], nan=0.5)
    colours = np.stack([np.interp(shares, [0, 0.5, 1], RAMP[:, channel]) for channel in range(3)], -1)
    png = io.BytesIO()
    Image.fromarray(colours.round().astype(np.uint8)).save(png, "PNG")
    rows, shown = len(faster), max(1, len(faster) // 5)
    labels = "".join(
        f'<span class="y" style="top:{100 * (rows - 0.5 - row) / rows:.2f}%">{plan.curve.rates[row]:.3g}×</span>'
        for row in range(0, rows, shown)
    )
    picture = f'<img alt="" draggable="false" src="data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}">'
    title = f'Looks sped up, played at: no <span class="ramp" style="background:{RAMP_CSS}"></span> yes'
    return f'<h2>{title}</h2><div class="plot heat" style="--rows:{rows}">{picture}{labels}</div>'


def _seconds(total: float) -> str:
    """The axis of time."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200)
    step = next((step for step in steps if total / step <= 6), steps[-1])
    marks = np.arange(0, total - step / 3, step)
    spans = "".join(f'<span style="left:{100 * mark / total:.2f}%">{_clock(mark, step < 1)}</span>' for mark in marks)
    return f'<div class="xs">{spans}</div>'


def _clock(seconds: float, tenths: bool = True) -> str:
    rounded = round(seconds, 1)
    return f"{int(rounded // 60)}:{rounded % 60:04.1f}" if tenths else f"{int(rounded // 60)}:{int(rounded % 60):02d}"


def _played(path: Path) -> bool:
    """Whether browsers play a video."""
    container, stream = open_video(str(path))
    with container:
        known = next((codecs for name, codecs in PLAYED.items() if name in container.format.name), ())
        return stream.codec_context.codec.canonical_name in known and stream.codec_context.pix_fmt in (
            "yuv420p",
            "yuvj420p",
        )


def _copy(plan: SpeedPlan, path: Path, progress: Progress | None) -> Path:
    """The original as browsers play it, every frame at its own time, silent."""
    render_plan(make_plan(plan.source, plan.curve, speed=1), path, audio="mute", progress=progress)
    return path


def _look(path: Path) -> tuple[bool, bool]:
    """Whether a video is wider than high, and whether it is silent."""
    container, stream = open_video(str(path))
    with container:
        frame = next(decode_in_order(container, stream))
        height, width = shown_size(frame)
        return width > height, not container.streams.audio


def _embed(path: Path) -> str:
    kind = TYPES.get(path.suffix.lower(), "video/mp4")
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _link(path: Path, folder: Path) -> str:
    return quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())
