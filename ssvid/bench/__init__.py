"""Our parts beside the bare libraries, timed in turns in one run, as ratios, because a busy machine slows both sides alike.

Each benchmark is a file NAME.py with `bench_NAME(folder, rounds)`. Every round times both sides; a row gives the medians and the target.
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

BENCHES = (
    "loader",
    "step",
    "start",
    "transfer",
    "retrieval",
    "search_growth",
    "data",
    "scale",
    "speedup",
    "track",
    "stream",
    "zoo",
    "reader",
    "fuzz",
)
OPTIONS = {"videos": "reader", "models": "zoo", "kept": "zoo"}  # which bench each belongs to
TESTS = {  # what the rows of those tell that time no rounds
    "data": "One fresh process a size: seconds of the processor (of the clock), and by how much its memory grows.",
    "scale": "Seconds and videos a second, the engine's start included; both cores' work on each engine, and whether the results are the "
    "same bit for bit. The ratio is of ray with two workers to local:2.",
    "reader": "Frames that differ from decoding in order.",
    "fuzz": "Damaged files: slow, wrong and failed must be none.",
}


def run_bench(what: str, rounds: int = 5, **options: Any) -> list[dict[str, Any]]:
    """Rows of one benchmark: what was timed, both sides, their ratio and the target; of `reader`, what was right and wrong.

    options: videos, a folder whose files the reader is tried on as well; models, a shell pattern of the backbones of zoo; kept, a file
    of rows that zoo adds to and does not time again; None is not given. Raises ConfigError for an unknown bench, and for an option of
    another one.
    """
    if what not in BENCHES:
        raise ConfigError(f"there is no bench {what!r}; there are: {', '.join(BENCHES)}")
    options = {name: value for name, value in options.items() if value is not None}
    for name in options:
        if OPTIONS.get(name) != what:
            raise ConfigError(f"--{name} goes with: ssvid bench {OPTIONS.get(name, '?')}")
    bench = getattr(importlib.import_module(f"{__name__}.{what}"), f"bench_{what}")
    with tempfile.TemporaryDirectory() as folder, _own_cache(folder):
        result: list[dict[str, Any]] = bench(Path(folder), rounds, **options)
        return result


def bench_markdown(what: str, rounds: int, rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table, with the machine they were timed on."""
    machine = environment()
    most = "at most " if what == "zoo" else ""  # networks that take long are measured in fewer
    lines = [
        f"### ssvid bench {what}",
        "",
        TESTS[what]
        if what in TESTS
        else f"Medians of {most}{rounds} rounds on {machine['cores']} cores ({machine['machine']}, {machine['device']}).",
    ]
    lines += ["", "| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    lines += ["| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows]
    return "\n".join(lines) + "\n"


@contextmanager
def _own_cache(folder: str) -> Iterator[None]:
    """Give a benchmark a cache folder of its own: it must find nothing computed before, and leave nothing behind."""
    before = os.environ.get("SSVID_CACHE")
    os.environ["SSVID_CACHE"] = f"{folder}/cache"
    try:
        yield
    finally:
        os.environ.pop("SSVID_CACHE")
        os.environ |= {} if before is None else {"SSVID_CACHE": before}
