"""The errors a user can cause or meet, each with the exit code the command line gives it.

1 a run failed, 2 wrong usage or configuration, 3 bad or missing data; 130 and 75 where a signal stopped it. Every message names what is
wrong and what to do.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

NAMED = 5  # names that a message gives before it says how many more there are


class SsvidError(Exception):
    """A run failed. Parent of all errors that are shown to the user without a traceback."""

    exit_code = 1


class ConfigError(SsvidError):
    """Wrong usage: an unknown name, an option of the wrong type, options that contradict each other."""

    exit_code = 2


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def require(least: float, *, above: bool = False, **values: float | None) -> None:
    """Raise ConfigError for a value under `least`, or where above=True not above it; None is not looked at."""
    for name, value in values.items():
        if value is not None and not (value > least if above else value >= least):
            raise ConfigError(f"{name} must be {'above' if above else 'at least'} {least:g}, not {value:g}")


class DataError(SsvidError):
    """Data that is missing or cannot be used."""

    exit_code = 3


class VideoError(DataError):
    """One video file cannot be read: names the file and the reason, and survives pickling between processes."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(os.fspath(path), reason)
        self.path = os.fspath(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Interrupted(SsvidError):  # noqa: N818 an interruption is no error
    """A signal ended the run after a whole step; everything is saved."""

    exit_code = 130


class Preempted(Interrupted):
    """As Interrupted, by SIGTERM or SIGUSR1 and not by hand: whoever started the run may start it again (75, the system's EX_TEMPFAIL)."""

    exit_code = 75
