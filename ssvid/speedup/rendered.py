"""A word in the plan file of what was rendered from it, so that the same command does not render it again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import av

from ssvid.errors import DataError
from ssvid.speedup.plan import SpeedPlan, file_identity, read_json_object, write_plan_fields

NAME = "rendered"


def mark_of(plan: SpeedPlan, out: Path, fps: float | None, audio: str) -> str | None:
    """Changes with the plan, with how it is rendered and with the result that is there; None where there is none."""
    if not out.is_file():
        return None
    made_of = hashlib.sha256(repr((plan.identity, fps, audio, out.suffix.lower(), av.__version__)).encode())
    made_of.update(plan.pace.tobytes())
    return f"{made_of.hexdigest()[:24]} {file_identity(out)}"


def read_mark(path: Path) -> str | None:
    """The mark in a plan file; None without one. An unreadable file is for whoever reads the plan to tell."""
    try:
        mark = read_json_object(path).get(NAME)
    except DataError:
        return None
    return mark if isinstance(mark, str) else None


def write_mark(path: Path, mark: str | None) -> None:
    """Set the mark and leave all else as it is, also what was edited meanwhile."""
    write_plan_fields({**read_json_object(path), NAME: mark}, path)
