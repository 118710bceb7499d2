"""Commands about ssvid itself: list, show, doctor, demo, bench."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ssvid.bench import BENCHES
from ssvid.cli import completion, console
from ssvid.cli.shared import Json
from ssvid.errors import SsvidError

app = typer.Typer()


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help="tasks, models, protocols, layouts, all of these, or weights.")] = "all",
    pattern: Annotated[str, typer.Argument(help="Shell pattern of the names.")] = "*",
    needs: Annotated[str, typer.Option(help="Only backbones that offer this: time, any_length, or a task.")] = "",
    as_json: Json = False,
) -> None:
    """List tasks, backbones, weights, evaluation protocols and data layouts.

    Example:  ssvid list models '*_tiny' --needs speednet
    """
    from ssvid.cli.catalogue import HEADERS, catalogue, cell_text

    listed = catalogue(kind, pattern, needs)
    if as_json:
        typer.echo(json.dumps(listed, indent=2))
        return
    for name, rows in listed.items():
        console.show_table(name, HEADERS[name], [[cell_text(row[column]) for column in HEADERS[name]] for row in rows])


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A backbone: a name of `ssvid list models`, timm/NAME, FILE.py:NAME ...",
            autocompletion=completion.models,
        ),
    ],
    as_json: Json = False,
) -> None:
    """Tell all that is known of one backbone.

    Example:  ssvid show resnet18+lstm
    """
    from ssvid.cli.model_sheet import model_sheet, sheet_lines

    sheet = model_sheet(name)
    if as_json:
        typer.echo(json.dumps(sheet, indent=2))
    else:
        console.show_table(sheet["name"], ["what", "found"], list(sheet_lines(sheet)))


@app.command()
def doctor(
    index: Annotated[Path | None, typer.Argument(help="An index to look at as well.")] = None, as_json: Json = False
) -> None:
    """Check this installation: versions, what gets in each other's way, devices, and a decoding test of every kind of video.

    Exits with 1 where something does not work. With --json, one object to put into a report of a fault.

    Example:  ssvid doctor --json
    """
    from ssvid.cli.doctor import check_installation

    report = check_installation(index)
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        facts = {key: value for key, value in report.items() if key not in ("notes", "problems")}
        console.show_table("ssvid doctor", ["what", "found"], [[key, str(value)] for key, value in facts.items()])
        for word in ("notes", "problems"):
            for line in report[word]:
                console.say(f"{word[:-1]}: {line}")
    if report["problems"]:
        raise typer.Exit(SsvidError.exit_code)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.")] = Path("ssvid-demo"),
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 600,
    seed: Annotated[int, typer.Option(help="Seed of the weights and the order.")] = 0,
) -> None:
    """Make a small world, pretrain on it, probe the result and write a page: a few minutes on two cores.

    Example:  ssvid demo -o /tmp/ssvid-demo
    """
    from ssvid.cli.demo_run import demo as run_it

    page, table = run_it(out, steps=steps, seed=seed)
    console.show_table(table.title, table.header(), table.cells())
    console.say(f"Page: {page.resolve()}")


@app.command()
def bench(
    what: Annotated[
        str,
        typer.Argument(
            help=f"{', '.join(BENCHES[:-1])} or {BENCHES[-1]}.",
        ),
    ],
    rounds: Annotated[int, typer.Option(help="Rounds, each timing both sides; the median counts.")] = 5,
    models: Annotated[
        str | None, typer.Option(help="With zoo: shell pattern of the backbones; default: *_tiny.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Also write the table as Markdown; zoo keeps its rows beside it, and goes on from there.",
        ),
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="With reader: a folder whose videos are compared as well.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Time ssvid beside the bare libraries it builds on, in one run, as ratios.

    Example:  ssvid bench loader
    """
    from ssvid.bench import bench_markdown, run_bench
    from ssvid.files import write_text

    kept = out.with_suffix(".cells.jsonl") if out is not None and what == "zoo" else None
    rows = run_bench(what, rounds, videos=videos, models=models, kept=kept)
    if out is not None:
        write_text(out, bench_markdown(what, rounds, rows))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        header = list(rows[0])
        console.show_table(f"bench {what}", header, [[str(row[column]) for column in header] for row in rows])
