"""Our parts beside the bare libraries, timed in one run in turns, as ratios; a busy machine slows both sides alike.

One file a bench, `bench_NAME(folder, rounds)` in NAME.py. The target of each line is stated with it. Medians over the rounds; every round
times both sides.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssvid.environment import environment
from ssvid.errors import ConfigError

BENCHES = ("loader", "step", "start", "transfer", "retrieval", "speedup")


def run_bench(what: str, rounds: int = 5) -> list[dict[str, Any]]:
    """SegmentTable of one benchmark: what was timed, both sides, their ratio and the target. Raises ConfigError for an unknown one."""
    if what not in BENCHES:
        raise ConfigError(f"there is no bench {what!r}; there are: {', '.join(BENCHES)}")
    bench = getattr(importlib.import_module(f"{__name__}.{what}"), f"bench_{what}")
    with tempfile.TemporaryDirectory() as folder, _own_cache(folder):
        return bench(Path(folder), rounds)


def to_markdown(what: str, rounds: int, rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table, with the machine they were timed on."""
    machine = environment()
    lines = [
        f"### ssvid bench {what}",
        "",
        f"Medians of {rounds} rounds on {machine['cores']} cores ({machine['machine']}, {machine['device']}).",
    ]
    lines += ["", "| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    lines += ["| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows]
    return "\n".join(lines) + "\n"


@contextmanager
def _own_cache(folder: str) -> Iterator[None]:
    """What a bench computes shall neither be found there already nor stay in the user's cache."""
    before = os.environ.get("SSVID_CACHE")
    os.environ["SSVID_CACHE"] = f"{folder}/cache"
    try:
        yield
    finally:
        os.environ.pop("SSVID_CACHE")
        os.environ |= {} if before is None else {"SSVID_CACHE": before}
