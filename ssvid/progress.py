"""How long work reports where it stands: one type of callback for all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Called as work goes on: what is being done, how many units are done, how many there are in all."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Report that `done` of `total` units of `what` are done."""


Log = Callable[[str], None]  # takes a finished line of text, as one for every job of a table


def silent(what: str, done: int, total: int) -> None:
    """The `Progress` of a caller who wants to hear nothing."""


def counter(progress: Progress, what: str, total: int) -> Callable[[], None]:
    """A callable to call once a unit: it counts, and reports the count to `progress`."""
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        progress(what, done, total)

    return advance
