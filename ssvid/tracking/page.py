"""One page that shows a track: the overlay, the mask of any frame, and how sure each object and point is over time. No server is needed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ssvid.evaluation.page import data_uri, write_template
from ssvid.tracking.frames import FrameSource
from ssvid.tracking.pipeline import TrackResult
from ssvid.tracking.rendering import colours

EMBEDDED = 12_000_000  # bytes of overlay and masks up to which the page holds them itself
KNOTS = 1500  # points of a curve


def write_tracking_page(
    result: TrackResult, source: FrameSource, records: Sequence[dict[str, Any]], path: Path
) -> Path:
    """Write the page; returns its path. Small results are put into it, larger ones linked to by relative paths: keep them beside it.

    records: of every frame, in order, as `ssvid.tracking.pipeline` keeps them.
    """
    names = list(dict.fromkeys(row["name"] for record in records for row in record["found"]))
    masks = (
        [] if result.masks is None else [result.masks / f"{source.names[record['frame']]}.png" for record in records]
    )
    whole = sum(file.stat().st_size for file in (result.overlay, *masks)) <= EMBEDDED
    start = records[0]["seconds"]
    return write_template(
        path,
        "tracking.html.j2",
        title=f"{source.name}, tracked",
        name=source.name,
        frames=len(records),
        size=source.size,
        overlay=_place(result.overlay, path.parent, "video/mp4", whole),
        masks=[_place(file, path.parent, "image/png", whole) for file in masks],
        times=[round(record["seconds"] - start, 4) for record in records],
        curves=[_curve(name, number, records) for number, name in enumerate(names)],
    )


def _curve(name: str, number: int, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Confidence of one object or point over the frames, in units of a picture 1000 wide and 100 high."""
    found = [{row["name"]: row for row in record["found"]}.get(name) for record in records]
    kept = np.unique(np.linspace(0, len(found) - 1, min(len(found), KNOTS)).round().astype(int))
    points = [
        f"{1000 * (index + 0.5) / len(found):.1f} {100 * (1 - row['confidence']):.2f}"
        for index in kept.tolist()
        if (row := found[index]) is not None
    ]
    seen = [row for row in found if row is not None]
    isobject = any(row["left"] is not None for row in seen)
    red, green, blue = colours()[int(name) if isobject else 1 + number % 255].tolist()
    return {
        "name": name,
        "colour": f"rgb({red} {green} {blue})",
        "path": "M" + "L".join(points),
        "mean": f"{np.mean([row['confidence'] for row in seen]):.2f}",
        "seen": f"{sum(row['x'] is not None for row in seen) / len(found):.0%}",
        "values": [None if row is None else round(row["confidence"], 2) for row in found],
    }


def _place(file: Path, folder: Path, kind: str, whole: bool) -> str:
    if whole:
        return data_uri(kind, file.read_bytes())
    return quote(Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix())
