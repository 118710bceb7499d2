"""One page that shows a result beside its original, in step, over the curves that explain its speed. No server is needed."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from ssvid.evaluation.page import data_uri, write_template
from ssvid.progress import Progress
from ssvid.speedup.curve import Curve
from ssvid.speedup.plan import SpeedPlan, make_plan
from ssvid.speedup.render import render_plan
from ssvid.video.decode import decode_in_order, open_video, shown_size

EMBEDDED = 6_000_000  # bytes of videos up to which the page holds them itself
PLAYED = {"mp4": ("h264", "av1", "vp9"), "matroska,webm": ("vp8", "vp9", "av1")}  # what browsers play
TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm", ".mkv": "video/webm"}
KNOTS = 4000  # points of the map of time and the curves: below 50 ms over an hour, and a page of some hundred kilobytes
COLUMNS = 1200  # of the picture of the probabilities
GRID = (0.25, 0.5, 1, 2, 4, 8, 16)  # speeds with a line
TIME_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200)  # seconds between marks
LEAST_ODDS, MOST_ODDS = 1.0, 4.0  # log odds at the ends of the scale of colours: 73 and 98 %
STRONG = 0.95  # quantile of the strengths at which the colour is full, so that most of the picture has shades
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
    """Write the page: both videos in step, probabilities and speed under a moving cursor, cuts, the activation map where there is one.

    Small videos are put into the page; larger ones are linked to by relative paths, so keep them beside it. An original that browsers
    do not play is first copied to NAME.original.mp4 without sound.

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
    sources = [{"link": _embed(file) if embedded else _link(file, path.parent), "name": file.name} for file in files]
    wide, silent = _shape(result)
    name, summary = Path(plan.source).name, plan.summary()
    return write_template(
        path,
        "speedup.html.j2",
        title=f"{name}, sped up",
        name=name,
        by=BY.get(plan.curve.by, plan.curve.by),
        total=summary["seconds"],
        seconds=_clock(summary["seconds"]),
        result_seconds=_clock(summary["result_seconds"]),
        **{key: summary[key] for key in ("speed", "min_speed", "max_speed")},
        wide=wide,
        silent=silent,
        original=sources[0],
        result=sources[1],
        map=sources[2] if cam else None,
        heat=heat_picture(plan.curve),
        curves=_curves(plan),
        marks=_marks(summary["seconds"]),
        times=_times(plan),
    )


def _thinned(length: int, points: int) -> np.ndarray:
    """Indices that keep about `points` of `length`, both ends among them."""
    return np.unique(np.linspace(0, length - 1, min(length, points)).round().astype(int))


def _times(plan: SpeedPlan) -> dict[str, list[float]]:
    """Seconds of the source and of the result at the same moments; the script interpolates between them."""
    kept = _thinned(len(plan.edges), KNOTS)
    return {"source": plan.source_edges[kept].round(4).tolist(), "result": plan.edges[kept].round(4).tolist()}


def _curves(plan: SpeedPlan) -> dict[str, Any]:
    """Speed and V over the source's time, on a logarithmic axis, in units of a picture 1000 wide and 100 high."""
    speed = np.where(plan.pace > 0, plan.speed, np.nan)
    known = np.concatenate([speed[np.isfinite(speed)], plan.curve.natural])
    low, high = (float(np.log2(bound)) for bound in (min(0.95, known.min() * 0.95), max(2.1, known.max() * 1.06)))

    def y(value: float | np.ndarray) -> float | np.ndarray:
        return 100 * (high - np.log2(value)) / (high - low)

    cuts = [1000 * plan.curve.times[cut] / plan.source_edges[-1] for cut in plan.curve.cuts]
    return {
        "grid": [(f"{y(value):.2f}", f"{value:g}") for value in GRID if low <= np.log2(value) <= high],
        "cuts": [f"{left:.2f}" for left in cuts],
        "natural": "" if plan.curve.by == "constant" else _path(plan, y(plan.curve.natural)),
        "speed": _path(plan, y(speed)),
    }


def _path(plan: SpeedPlan, heights: float | np.ndarray) -> str:
    """An SVG path through (x, heights) at every frame's middle, broken where frames are left out."""
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
    return "".join(words)


def heat_picture(curve: Curve) -> dict[str, Any] | None:
    """A row of colour for every playback rate, the fastest on top: how sped up each moment looks at it; None without a model.

    Colours are even in log odds about one half and end where all but the strongest twentieth of the answers do: in probabilities most
    of a fast row would be one red. The legend says what the ends mean.
    """
    faster = curve.faster
    if len(faster) == 0:
        return None
    columns = _thinned(faster.shape[1], COLUMNS)
    shares = np.clip(np.nan_to_num(faster[::-1][:, columns], nan=0.5), 1e-4, 1 - 1e-4)
    odds = np.log(shares / (1 - shares))
    end = float(np.clip(np.quantile(np.abs(odds), STRONG), LEAST_ODDS, MOST_ODDS))
    colours = np.stack([np.interp(odds, [-end, 0, end], RAMP[:, channel]) for channel in range(3)], -1)
    ends = [f"{100 / (1 + np.exp(sign * end)):.0f} %" for sign in (1, -1)]
    png = io.BytesIO()
    Image.fromarray(colours.round().astype(np.uint8)).save(png, "PNG")
    rows, step = len(faster), max(1, len(faster) // 5)
    labels = [(f"{100 * (rows - 0.5 - row) / rows:.2f}", f"{curve.rates[row]:.3g}") for row in range(0, rows, step)]
    return {
        "image": data_uri("image/png", png.getvalue()),
        "rows": rows,
        "labels": labels,
        "ramp": RAMP_CSS,
        "ends": ends,
    }


def _marks(total: float) -> list[tuple[str, str]]:
    """Place (percent) and text of every mark on the axis of time."""
    step = next((step for step in TIME_STEPS if total / step <= 6), TIME_STEPS[-1])
    return [(f"{100 * mark / total:.2f}", _clock(mark, step < 1)) for mark in np.arange(0, total - step / 3, step)]


def _clock(seconds: float, tenths: bool = True) -> str:
    rounded = round(seconds, 1)
    return f"{int(rounded // 60)}:{rounded % 60:04.1f}" if tenths else f"{int(rounded // 60)}:{int(rounded % 60):02d}"


def _played(path: Path) -> bool:
    """Whether browsers play a video."""
    container, stream = open_video(str(path))
    with container:
        known = next((codecs for name, codecs in PLAYED.items() if name in container.format.name), ())
        context = stream.codec_context
        return context.codec.canonical_name in known and context.pix_fmt in ("yuv420p", "yuvj420p")


def _copy(plan: SpeedPlan, path: Path, progress: Progress | None) -> Path:
    """The original as browsers play it, every frame at its own time, silent."""
    render_plan(make_plan(plan.source, plan.curve, speed=1), path, audio="mute", progress=progress)
    return path


def _shape(path: Path) -> tuple[bool, bool]:
    """Whether a video is wider than high, and whether it is silent."""
    container, stream = open_video(str(path))
    with container:
        height, width = shown_size(next(decode_in_order(container, stream)))
        return width > height, not container.streams.audio


def _embed(path: Path) -> str:
    return data_uri(TYPES.get(path.suffix.lower(), "video/mp4"), path.read_bytes())


def _link(path: Path, folder: Path) -> str:
    return quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())
