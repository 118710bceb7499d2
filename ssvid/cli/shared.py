"""What several commands have: options, and how a table of results is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ssvid.cli import console

if TYPE_CHECKING:
    from ssvid.evaluation.tables.table import Table

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Workers = Annotated[int | None, typer.Option(help="Processes; default: one a core.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]

# how an evaluation looks at videos
Clips = Annotated[int, typer.Option(min=1, help="Clips a video.")]
Frames = Annotated[int | None, typer.Option(help="Frames a clip; default: as the first run was trained.")]
Stride = Annotated[int | None, typer.Option(help="Frames from one to the next; default: as trained.")]
Size = Annotated[int | None, typer.Option(help="Side, px; default: as trained.")]
Fps = Annotated[float | None, typer.Option(help="Clock that stride counts on; default: as trained.")]
Pool = Annotated[str | None, typer.Option(help="mean, max_space_mean_time or mean_std.")]

# how its cells are computed
Jobs = Annotated[int, typer.Option(min=1, help="Processes of one thread, each with cells of its own.")]
CellWorkers = Annotated[int, typer.Option(help="Decoding processes of each.")]


def show(table: Table, as_json: bool) -> None:
    """A table of results on stdout, as JSON or drawn; drawn, its protocol and its notes stand on stderr."""
    if as_json:
        typer.echo(table.json(), nl=False)
        return
    console.show_table(table.title, table.header(), table.cells())
    for line in (table.protocol, *table.below()):
        console.LOG.print(line, soft_wrap=True, markup=False)
