"""What several commands share: options, and how a table of results is printed."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ssvid.cli import console
from ssvid.errors import ConfigError

if TYPE_CHECKING:
    from ssvid.evaluation.tables.table import Table

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Engine = Annotated[
    str,
    typer.Option(
        help="Where the work runs: local:N, N processes of this machine (local: one a core); ray, the cluster it belongs to; or "
        "ray://HOST:PORT."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]

# the view under which an evaluation sees videos
Clips = Annotated[int, typer.Option(min=1, help="Clips a video.")]
Frames = Annotated[int | None, typer.Option(help="Frames a clip; default: as the first run was trained.")]
Stride = Annotated[int | None, typer.Option(help="Frames from one frame of a clip to the next; default: as trained.")]
Size = Annotated[int | None, typer.Option(help="Side, px; default: as trained.")]
Fps = Annotated[
    float | None, typer.Option(help="Frames a second of the clock that stride counts in; default: as trained.")
]
Pool = Annotated[str | None, typer.Option(help="mean, max_space_mean_time, mean_std or grid.")]

# how the cells of a table are computed
CellWorkers = Annotated[int, typer.Option(help="Decoding processes of each task.")]


class WithSettings(TyperCommand):
    """A command that takes settings as key=value, and says so to whoever writes one as an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # typer keeps the type of this context to itself
        """Raise ConfigError for an option that the command does not have."""
        known = {name for parameter in self.params for name in (*parameter.opts, *parameter.secondary_opts)}
        for word, after in zip_longest(args, args[1:], fillvalue=""):
            name, equals, value = word.partition("=")
            if name.startswith("--") and name not in {"--", *known, *ctx.help_option_names}:
                setting = f"{name[2:].replace('-', '_')}={value if equals or after.startswith('-') else after}"
                raise ConfigError(f"there is no option {name}; settings are written without dashes: {setting}")
        return super().parse_args(ctx, args)


def show(table: Table, as_json: bool) -> None:
    """Print a table of results on stdout, as JSON or drawn; the notes of a drawn table go to stderr."""
    if as_json:
        typer.echo(table.json(), nl=False)
        return
    for one in (table, *table.gains):
        console.show_table(one.title, one.header(), one.cells())
        for line in (one.protocol, *one.below()):
            console.log(line)
