"""Output in the terminal: progress on stderr, results on stdout, and no bars when piped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console
from rich.table import Table as RichTable

from ssvid.files import printable
from ssvid.progress import Progress

# brackets and colons are parts of people's file names, no markup and no emoji
LOG = Console(stderr=True, highlight=False, markup=False, emoji=False)
OUT = Console(highlight=False, markup=False, emoji=False)

NO_WAIT = 0.3  # share of time spent waiting for video above which the log names the remedy


def log(line: str) -> None:
    """A line of text on stderr."""
    LOG.print(printable(line), soft_wrap=True)


def say(line: str) -> None:
    """A line of text on stdout."""
    sys.stdout.write(printable(line) + "\n")


def row(cells: Sequence[str]) -> None:
    """Cells on stdout, tab-separated, at once: whoever reads them may be waiting."""
    sys.stdout.write("\t".join(map(printable, cells)) + "\n")
    sys.stdout.flush()


class RateColumn(bars.ProgressColumn):
    """How many units are done a second."""

    def render(self, task: bars.Task) -> str:
        """The rate, empty before it is known."""
        return f"{task.speed:.1f}/s" if task.speed else ""


@contextmanager
def counting() -> Iterator[Progress]:
    """A callable (what, done, total) that shows a bar for every `what`; silent when stderr is not a terminal."""
    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        RateColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=LOG, transient=True, disable=not LOG.is_terminal) as shown:
        tasks: dict[str, int] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(printable(what), total=total)
            shown.update(tasks[what], completed=done, total=total)  # type: ignore[arg-type]

        yield report


@contextmanager
def training(steps: int, chance: float | None = None) -> Iterator[Callable[[dict[str, float]], None]]:
    """A callable that prints the loop's log lines, under a bar with the time left when stderr is a terminal."""
    columns = (bars.TextColumn("pretraining"), bars.BarColumn(), bars.MofNCompleteColumn(), bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=LOG, transient=True, disable=not LOG.is_terminal) as shown:
        task = shown.add_task("steps", total=steps)

        def report(line: dict[str, float]) -> None:
            if "step" not in line:
                log(", ".join(f"{value} {name}" for name, value in line.items()))
                return
            shown.update(task, completed=line["step"])
            log(log_text(line, steps, chance))

        yield report


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
            sys.stdout.write("\t".join(map(printable, row)) + "\n")
        return
    table = RichTable(*header, title=printable(title), title_justify="left")
    for row in rows:
        table.add_row(*map(printable, row))
    OUT.print(table)
