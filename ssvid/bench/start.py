"""Seconds until the command line answers."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ssvid.bench.timing import rates


def bench_start(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Seconds until `ssvid --help` and `ssvid list` have answered, beside an interpreter that does nothing."""
    rows = []
    for arguments in (["--help"], ["list"]):
        sides: dict[str, Callable[[], float]] = {
            "base": partial(_per_second, [sys.executable, "-c", ""]),
            "ours": partial(_per_second, [sys.executable, "-m", "ssvid", *arguments]),
        }
        timed = rates(sides, rounds)
        bare, ours = (1 / statistics.median(timed[side]) for side in ("base", "ours"))
        what = f"ssvid {arguments[0]} against an empty interpreter, at most 0.5 s"
        rows.append(
            {
                "what": what,
                "base": f"{bare:.2f} s",
                "ours": f"{ours:.2f} s",
                "ratio": round(bare / ours, 3),
                "target": "0.5 s",
            }
        )
        rows[-1]["met"] = ours <= 0.5
    return rows


def _per_second(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return 1 / (time.perf_counter() - began)
