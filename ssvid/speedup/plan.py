"""The plan of a speed-up: the pace of every source frame, what it was made from, and a file that can be edited by hand."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ssvid.errors import ConfigError, DataError
from ssvid.files import read_json, write_text
from ssvid.speedup.curve import Curve
from ssvid.speedup.solver import paper_speed, plan_pace

FORMAT = "ssvid speed-up plan 1"
DIGITS = 12  # significant digits of a pace in a file: the length stays right to a microsecond over hours


@dataclass(frozen=True, eq=False)
class SpeedPlan:
    """How fast every source frame is played.

    Attributes:
        source: path of the video.
        identity: identifies the file, see `file_identity`.
        curve: how fast each frame may be played, with the frames' times and cuts.
        pace: (T,) float64, output seconds per input second of every source frame; 0: the frame is left out.
        options: what was asked for, to be read by people.
    """

    source: str
    identity: str
    curve: Curve
    pace: np.ndarray
    options: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def source_edges(self) -> np.ndarray:
        """(T+1,) seconds of the source at which each frame appears, and the last one's end."""
        times = self.curve.times
        return np.append(times, times[-1] + self.curve.durations[-1])

    @cached_property
    def edges(self) -> np.ndarray:
        """(T+1,) seconds of the result at which each source frame appears, and the end; never falling."""
        return np.append(0.0, np.cumsum(np.diff(self.source_edges) * self.pace))

    @property
    def length(self) -> float:
        """Seconds of the result."""
        return float(self.edges[-1])

    @property
    def speed(self) -> np.ndarray:
        """(T,) speed of every frame, infinite where it is left out."""
        result: np.ndarray = np.divide(1.0, self.pace, out=np.full(len(self.pace), np.inf), where=self.pace > 0)
        return result

    def to_source(self, seconds: np.ndarray) -> np.ndarray:
        """Seconds of the source shown at seconds of the result."""
        # where a segment is left out two edges coincide, and numpy takes the later one, which is what is shown
        result: np.ndarray = np.interp(seconds, self.edges, self.source_edges)
        return result

    def to_result(self, seconds: np.ndarray) -> np.ndarray:
        """Seconds of the result at which seconds of the source are shown."""
        result: np.ndarray = np.interp(seconds, self.source_edges, self.edges)
        return result

    def summary(self) -> dict[str, float]:
        """Seconds before and after, and the speed: least, overall and greatest."""
        kept = self.speed[self.pace > 0]
        before = float(self.source_edges[-1] - self.source_edges[0])
        return {
            "seconds": before,
            "result_seconds": self.length,
            "min_speed": float(kept.min()),
            "speed": before / self.length,
            "max_speed": float(kept.max()),
        }

    def with_segments(self, segments: Sequence[Sequence[float]]) -> SpeedPlan:
        """The same with other speeds in [start, end) seconds of the source: rows (start, end, speed), speed 0 leaves out.

        Raises ConfigError for a row that is no segment, and where nothing is left.
        """
        pace = self.pace.copy()
        for row in segments:
            if not _is_segment(row):
                raise ConfigError(f"a segment is [start, end, speed], seconds and a speed of 0 or more, not {row}")
            start, end, speed = row
            inside = (self.curve.times >= start) & (self.curve.times < end)
            pace[inside] = 1 / speed if speed else 0.0
        if not (pace > 0).any():
            raise ConfigError("the segments leave out every frame; keep at least one")
        return replace(self, pace=pace)


def make_plan(
    source: str | os.PathLike[str],
    curve: Curve,
    *,
    speed: float | None = None,
    duration: float | None = None,
    min_speed: float = 1.0,
    max_speed: float = 8.0,
    smooth: float = 1.0,
    objective: str = "exact",
) -> SpeedPlan:
    """Plan how fast every frame of a video is played.

    Args:
        source: the video.
        curve: how fast each frame may be played.
        speed: overall speed of the result; 2 where neither it nor `duration` is given.
        duration: seconds of the result.
        min_speed: least speed anywhere.
        max_speed: greatest speed anywhere.
        smooth: time scale of the smoothing, seconds of the source.
        objective: exact: see `plan_pace`; the length is met. paper: see `paper_speed`, cut to the bounds; it is not.

    Raises:
        ConfigError: both speed and duration, a bound out of order, a length that cannot be met.
    """
    if speed is not None and duration is not None:
        raise ConfigError("a speed and a duration ask for different lengths; give one of --speed and --duration")
    if not 0 < min_speed <= max_speed < np.inf:
        raise ConfigError(f"speeds must be 0 < min <= max, not {min_speed:g} and {max_speed:g}")
    if smooth < 0 or not all(value is None or 0 < value < np.inf for value in (speed, duration)):
        raise ConfigError("--speed and --duration must be above 0, --smooth 0 or more")
    total = float(curve.durations.sum())
    length = duration if duration is not None else total / (2.0 if speed is None else speed)
    bounds = {"min_speed": min_speed, "max_speed": max_speed}
    if objective == "paper":
        pace = 1 / np.clip(paper_speed(curve.natural, total / length), min_speed, max_speed)
    elif objective == "exact":
        pace = plan_pace(curve.natural, curve.durations, length, smooth=smooth, cuts=curve.cuts, **bounds)
    else:
        raise ConfigError(f"there is no objective {objective!r}; there are exact and paper")
    options = {"seconds": round(length, 6), **bounds, "smooth": smooth, "objective": objective}
    return SpeedPlan(os.fspath(source), file_identity(source), curve, pace, options)


def file_identity(path: str | os.PathLike[str]) -> str:
    """Identify a file by its content, wherever it lies: its size, and a hash of its first and last mebibyte."""
    size, ends = os.path.getsize(path), 1 << 20
    hashed = hashlib.blake2b(digest_size=12)
    with open(path, "rb") as file:
        hashed.update(file.read(ends))
        file.seek(max(0, size - ends))
        hashed.update(file.read(ends))
    return f"{size}-{hashed.hexdigest()}"


def write_plan(plan: SpeedPlan, path: str | os.PathLike[str]) -> None:
    """Write a plan as JSON, atomically; "segments" stands empty at its head for edits by hand."""
    stored = {
        "format": FORMAT,
        "source": plan.source,
        "identity": plan.identity,
        "segments": [],
        "summary": {name: round(value, 6) for name, value in plan.summary().items()},
        "options": plan.options,
        "pace": [float(f"{value:.{DIGITS}g}") for value in plan.pace],
        "curve": plan.curve.to_dict(),
    }
    write_plan_fields(stored, path)


def write_plan_fields(stored: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write what a plan file holds, a line each, atomically."""
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in stored.items())
    write_text(path, f"{{\n{lines}\n}}\n")


def read_plan(path: str | os.PathLike[str]) -> SpeedPlan:
    """Read what `write_plan` wrote, its "segments" laid over it.

    Raises DataError for a file that is no plan, ConfigError for rows that are no segments.
    """
    stored = read_json_object(path)
    if stored.get("format") != FORMAT:
        raise DataError(f"{path}: is no plan of ssvid speedup ({FORMAT!r} is missing)")
    try:
        curve = Curve.from_dict(stored["curve"])
        pace = np.array(stored["pace"], np.float64)
        plan = SpeedPlan(str(stored["source"]), str(stored["identity"]), curve, pace, dict(stored["options"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: is a damaged plan ({error!r}); plan the video again") from None
    if len(pace) != len(curve.times) or not np.isfinite(pace).all() or pace.min() < 0 or pace.max() <= 0:
        raise DataError(f"{path}: is a damaged plan (one pace of 0 or more is needed for every frame)")
    return plan.with_segments(stored.get("segments") or [])


def read_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A JSON object from a file. Raises DataError where there is none."""
    try:
        stored = read_json(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{path}: is not JSON ({error})") from None
    if not isinstance(stored, dict):
        raise DataError(f"{path}: holds no plan, but a {type(stored).__name__}")
    return stored


def _is_segment(row: Any) -> bool:
    numbers = isinstance(row, list | tuple) and len(row) == 3 and all(isinstance(value, int | float) for value in row)
    return bool(numbers and row[0] < row[1] and 0 <= row[2] < np.inf)
