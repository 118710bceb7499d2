"""What a person sees in the terminal: progress on stderr, results on stdout, and no bars when piped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

LOG = Console(stderr=True, highlight=False)
OUT = Console(highlight=False)

Told = Callable[[str, int, int], None]  # what is being done, how many done, how many in all

NO_WAIT = 0.3  # share of the time spent waiting for video from which the log says what to do


@contextmanager
def counting() -> Iterator[Told]:
    """A callable (what, done, total) that shows a bar for every `what`; silent when stderr is not a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=LOG, transient=True, disable=not LOG.is_terminal) as progress:
        bars: dict[str, int] = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done, total=total)  # type: ignore[arg-type]

        yield told


@contextmanager
def training(steps: int, chance: float | None = None) -> Iterator[Callable[[dict[str, float]], None]]:
    """A callable that prints the loop's log lines, under a bar with the time left when stderr is a terminal."""
    columns = (TextColumn("pretraining"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=LOG, transient=True, disable=not LOG.is_terminal) as progress:
        bar = progress.add_task("steps", total=steps)

        def told(line: dict[str, float]) -> None:
            if "step" not in line:
                LOG.print(", ".join(f"{value} {name}" for name, value in line.items()), soft_wrap=True)
                return
            progress.update(bar, completed=line["step"])
            LOG.print(log_text(line, steps, chance), soft_wrap=True)

        yield told


def log_text(line: dict[str, float], steps: int, chance: float | None) -> str:
    """One log line as text, with the remedy where the loop waits for video."""
    known = {"step", "lr", "clips_per_second", "wait", "chance"}
    metrics = "  ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in line.items() if name not in known)
    chance = line.get("chance", chance)
    guess = f"  (chance {chance:.3g})" if chance is not None else ""
    text = f"step {line['step']:.0f}/{steps}  {metrics}{guess}  {line['clips_per_second']:.1f} videos/s  waiting {line['wait']:.0%}"
    if line["wait"] > NO_WAIT:
        text += "  (decoding is the limit: raise workers=, or make a training copy with ssvid index --transcode)"
    return text


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: drawn in a terminal, tab-separated when piped."""
    if not OUT.is_terminal:
        for row in (header, *rows):
            sys.stdout.write("\t".join(row) + "\n")
        return
    table = RichTable(*header, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    OUT.print(table)
