"""The command line, a file a group of commands. A command only reads its arguments and calls a function of the package; heavy
imports are inside.

Exit codes: 0 done, 1 a run failed, 2 wrong usage or settings, 3 bad or missing data, 75 stopped by SIGTERM or SIGUSR1 (and saved: start
it again), 130 interrupted (and saved).
Results go to stdout, progress and messages to stderr; nothing is drawn when piped.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from ssvid import __version__
from ssvid.cli import (
    cache,
    localise,
    long_videos,
    project,
    retrieve,
    speediness,
    speedup,
    stream,
    track,
    training,
    transfer,
    videos,
)
from ssvid.errors import SsvidError
from ssvid.files import from_system, printable

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Self-supervised video pretraining with temporal pretext tasks.",
    epilog="Start with:  ssvid demo",
)
for group in (
    videos,
    training,
    transfer,
    long_videos,
    retrieve,
    speediness,
    speedup,
    track,
    stream,
    localise,
    project,
    cache,
):  # in the order of the help
    app.add_typer(group.app)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"ssvid {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.")] = False,
) -> None:
    """Self-supervised video pretraining with temporal pretext tasks."""


def main() -> None:
    """Run the command line; errors of ours, and of the system's files and disks, become one line on stderr and their exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # the name of a file ends no job, whatever the terminal's letters
    try:
        try:
            app()
        finally:
            _flush()
    except (SsvidError, OSError) as error:
        if {"-v", "--verbose"} & set(sys.argv):
            raise
        told = from_system(error) if isinstance(error, OSError) else error
        sys.stderr.write(f"error: {printable(str(told))}\n")
        raise SystemExit(told.exit_code) from None


def _flush() -> None:
    """Write what is left of the output while an error can still be told. A reader that has gone, as `head` does, is none."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # else the interpreter tries once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise
