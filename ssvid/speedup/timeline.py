"""Plans for video editors: auto-editor's v1 timeline, which auto-editor renders or hands on to Premiere, Resolve, Final Cut and others.

The format (auto-editor's documentation, "The v1 format"): {"version": "1", "source": path, "chunks": [[start, end, speed], ...]}, without
gaps from 0, in units of one frame at the source's average rate; speed 0 or 99999 cuts a chunk out. Other keys are ignored.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ssvid.errors import DataError
from ssvid.files import write_json
from ssvid.speedup.plan import SpeedPlan

CUT = 99999
ALIKE = 0.05  # frames whose speeds lie within 5 % become one chunk
DIGITS = 6


def write_timeline(plan: SpeedPlan, path: str | os.PathLike[str]) -> None:
    """Write a plan as a v1 timeline; frames of about one speed become one chunk, which lasts as long as they do."""
    timeline = {"version": "1", "source": os.path.abspath(plan.source), "chunks": chunks(plan)}
    write_json(path, timeline)


def chunks(plan: SpeedPlan) -> list[list[float]]:
    """Rows (start, end, speed) in frames of the average rate."""
    units = np.rint(plan.source_edges * average_rate(plan.source_edges)).astype(int)
    lengths, edges = np.diff(plan.source_edges), plan.edges
    found: list[list[float]] = []
    for first, last in _alike(plan.speed):
        seconds = float(edges[last] - edges[first])
        speed = round(float(lengths[first:last].sum()) / seconds, DIGITS) if seconds > 0 else CUT
        if units[last] > units[first]:
            found.append([int(units[first]), int(units[last]), speed])
    return found


def segments(stored: dict[str, Any], rate: float, name: str) -> list[tuple[float, float, float]]:
    """Rows (start, end, speed) in seconds from a v1 timeline, speed 0 where it cuts; what follows its last chunk is cut too.

    rate: average frames a second of the source. name: of the file, for messages. Raises DataError for chunks that break the format.
    """
    rows = stored.get("chunks")
    if not isinstance(rows, list) or not all(isinstance(row, list | tuple) and len(row) == 3 for row in rows):
        raise DataError(f"{name}: a v1 timeline needs chunks of [start, end, speed]")
    found, end = [], 0
    for row in rows:
        start, stop, speed = row
        if not all(isinstance(value, int | float) for value in row) or start != end or stop <= start or speed < 0:
            raise DataError(f"{name}: chunk {row} is out of order; each starts where the one before ended, from 0")
        # half a unit early, so that rounded times of frames fall on the right side
        found.append(((start - 0.5) / rate, (stop - 0.5) / rate, 0.0 if speed >= CUT else float(speed)))
        end = stop
    return [*found, ((end - 0.5) / rate, float("inf"), 0.0)]


def is_timeline(stored: dict[str, Any]) -> bool:
    """Whether a JSON object is a v1 timeline."""
    return str(stored.get("version")) in ("1", "1.0") and "chunks" in stored


def average_rate(edges: np.ndarray) -> float:
    """Frames a second from the seconds (T+1,) at which frames begin, and the end."""
    return (len(edges) - 1) / float(edges[-1] - edges[0])


def _alike(speed: np.ndarray) -> Sequence[tuple[int, int]]:
    """Ranges (first, last) of frames whose speeds are about one."""
    found, first = [], 0
    least = most = speed[0]
    for number, value in enumerate(speed[1:].tolist(), start=1):
        low, high = min(least, value), max(most, value)
        if high > low * (1 + ALIKE) or np.isinf(high) != np.isinf(low):
            found.append((first, number))
            first, low, high = number, value, value
        least, most = low, high
    return [*found, (first, len(speed))]
