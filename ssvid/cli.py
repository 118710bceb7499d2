"""The command line. Every command only reads its arguments and calls a function of the package; heavy imports are inside.

Exit codes: 0 done, 1 a run failed, 2 wrong usage or settings, 3 bad or missing data, 130 interrupted (and saved).
Results go to stdout, progress and messages to stderr; nothing is drawn when piped.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ssvid import __version__, console
from ssvid.errors import ConfigError, DataError, SsvidError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Self-supervised video pretraining with temporal pretext tasks.",
    epilog="Start with:  ssvid demo",
)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Workers = Annotated[int | None, typer.Option(help="Processes; default: one a core.")]


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


@app.command()
def index(
    paths: Annotated[list[str], typer.Argument(help="Folders, 'path label' lists, CSVs, videos, or LAYOUT:FOLDER.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Index file to make or go on with.")] = Path("index.sqlite"),
    root: Annotated[Path | None, typer.Option(help="Folder that the paths in lists start from.")] = None,
    transcode: Annotated[
        Path | None, typer.Option(help="Also write small, quick-to-seek training copies here.")
    ] = None,
    short_side: Annotated[int, typer.Option(help="Short side of the training copies, px.")] = 160,
    limit: Annotated[float, typer.Option(help="Seconds one file may take.")] = 600.0,
    workers: Workers = None,
    strict: Annotated[bool, typer.Option(help="Exit with 3 when a file is bad.")] = False,
    as_json: Json = False,
) -> None:
    """Scan videos once into an index; call again to go on or to add.

    Example:  ssvid index videos/ -o videos.sqlite --transcode copies/
    """
    from ssvid.data.index import Index
    from ssvid.data.scanning import make_copies, scan_videos

    opened = Index(out, create=True)
    with console.counting() as told:
        found = scan_videos(paths, opened, root=root, workers=workers, limit=limit, progress=told)
        copies = 0
        if transcode is not None:
            copies = make_copies(opened, transcode, short_side=short_side, workers=workers, progress=told)
    bad = opened.bad()
    if as_json:
        report = {"index": str(out), "usable": found.usable, "scanned": found.scanned, "copies": copies}
        typer.echo(json.dumps(report | {"notes": opened.notes, "bad": [vars(video) for video in bad]}, indent=2))
    else:
        typer.echo(
            f"{out}: {found.usable} videos, {found.bad} bad files ({found.scanned} scanned now, {copies} copies written)"
        )
        for note in opened.notes:
            typer.echo(f"  note: {note}")
        for video in sorted(bad, key=lambda video: video.missing)[:20]:
            typer.echo(f"  bad: {video.path}: {video.reason}")
        if len(bad) > 20:
            typer.echo(f"  bad: {len(bad) - 20} more; --json names them all")
    if strict and bad:
        raise typer.Exit(DataError.exit_code)


@app.command("make-world")
def make_world(
    folder: Annotated[Path, typer.Argument(help="Folder to write; an unfinished one is gone on with.")],
    per_class: Annotated[int, typer.Option(help="Videos a class.")] = 20,
    frames: Annotated[int, typer.Option(help="Frames a video.")] = 64,
    size: Annotated[int, typer.Option(help="Side, px.")] = 128,
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Every video depends on seed, class and number only.")] = 0,
    varying_speed: Annotated[float, typer.Option(help="Share of videos whose speed changes, 0 to 1.")] = 0.0,
    masks: Annotated[bool, typer.Option(help="Also write instance masks as palette PNG.")] = False,
    davis: Annotated[bool, typer.Option(help="Also write frames and masks in the DAVIS layout.")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Also write one moving picture of all classes (.webp or .gif).")
    ] = None,
    workers: Workers = None,
) -> None:
    """Make the motion world: labelled videos whose classes only time tells apart.

    Example:  ssvid make-world world/ --per-class 40 --masks --picture world.webp
    """
    from ssvid.data.synthetic import make_world as make

    with console.counting() as told:
        written = make(
            folder,
            per_class=per_class,
            frames=frames,
            size=size,
            fps=fps,
            seed=seed,
            varying_speed=varying_speed,
            masks=masks,
            davis=davis,
            workers=workers or 0,
            progress=lambda done, total: told("rendering", done, total),
        )
    if picture is not None:
        from ssvid.data.gallery import animate_classes

        animate_classes(picture, seed)
    typer.echo(f"{written}: use it as --data {written}")


@app.command()
def pretrain(
    task: Annotated[
        str | None, typer.Argument(help="Task, or path/to/file.py (its code is run). See: ssvid list tasks")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Argument(help="key=value of the run or the task, as steps=2000 frames=8")
    ] = None,
    data: Annotated[list[str] | None, typer.Option(help="Index, or folders, lists and videos; repeatable.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Backbone. See: ssvid list models")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Run folder; default runs/TASK-BACKBONE-sSEED.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    devices: Annotated[int | None, typer.Option(help="Processes on this machine, one a device.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a run that is there.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Print the settings and stop.")] = False,
) -> None:
    """Pretrain a backbone with one pretext task.

    Example:  ssvid pretrain speednet --data videos.sqlite --backbone s3dg_tiny steps=2000 batch=32

    Settings of the run and their defaults: ssvid pretrain --dry-run. Options of a task: ssvid list tasks.
    """
    from ssvid.config import default_out, load_config, resume_config, to_yaml

    words = list(settings or [])
    if task is not None and "=" in task:  # no task named: it comes from --config or --resume
        words, task = [task, *words], None
    if resume is not None:
        given = {"--data": data, "--backbone": backbone, "-o": out, "--config": config, "the task": task}
        if any(value is not None for value in given.values()):
            raise ConfigError(
                "--resume goes on with a run as it is; leave out the task, --data, --backbone, -o and --config"
            )
        chosen = resume_config(resume, words, devices)
    else:
        values = {"task": task, "data": data, "backbone": backbone, "out": out and str(out), "devices": devices}
        chosen = load_config(config, words, values)
    chosen.out = chosen.out or default_out(chosen)
    if dry_run:
        typer.echo(to_yaml(chosen), nl=False)
        return
    from ssvid.plugins import load_task
    from ssvid.training.fit import pretrain as run_it

    with console.training(chosen.steps, load_task(chosen.task).chance) as told:
        run = run_it(chosen, resume=resume is not None, overwrite=overwrite, report=told)
    console.LOG.print(f"done: {run.path}  (next: ssvid transfer {run.path} --data LABELLED_VIDEOS)", soft_wrap=True)


@app.command()
def transfer(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Run folders, or names of backbones. Runs of one task that differ in the seed make one row."
        ),
    ],
    data: Annotated[
        list[str],
        typer.Option(
            help="Labelled videos: LAYOUT:FOLDER, a folder per class, a list, a CSV or an index. Repeatable: set a motion-centred data "
            "set beside an appearance-centred one, for the order of models differs between them."
        ),
    ],
    protocol: Annotated[
        list[str] | None, typer.Option(help="Repeatable; default linear, knn and few. See: ssvid list protocols")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="PROTOCOL.NAME=VALUE, as finetune.epochs=5; repeatable.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Write OUT.md, .csv, .tex, .json, .png and .html, and a file a cell in OUT/cells."
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Inits of the rows *random init* and *supervised*, draws of a single run.")
    ] = 3,
    published: Annotated[
        Path | None, typer.Option(help="YAML or CSV of published scores to add as rows, as configs/published.yaml.")
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="Clips a video.")] = 5,
    frames: Annotated[int | None, typer.Option(help="Frames a clip; default: as the first run was trained.")] = None,
    stride: Annotated[int | None, typer.Option(help="Frames from one to the next; default: as trained.")] = None,
    size: Annotated[int | None, typer.Option(help="Side, px; default: as trained.")] = None,
    fps: Annotated[float | None, typer.Option(help="Clock that stride counts on; default: as trained.")] = None,
    pool: Annotated[str | None, typer.Option(help="mean, max_space_mean_time or mean_std.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes of one thread, each with cells of its own.")] = 1,
    workers: Annotated[int, typer.Option(help="Decoding processes of each.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
    as_json: Json = False,
) -> None:
    """The transfer accuracy table: runs and models by protocols on labelled videos, beside random init and training with labels.

    A second call computes only what is missing, and an interrupted one goes on.

    Example:  ssvid transfer runs/speednet-s3dg_tiny-s* --data ut_interaction:videos/set1 --data world.sqlite -o results/transfer
    """
    from downstream.transfer import DEFAULT
    from downstream.transfer import transfer as run_it

    with console.counting() as told:
        made = run_it(
            models,
            data,
            protocols=protocol or DEFAULT,
            options=option or (),
            view={"clips": clips, "frames": frames, "stride": stride, "size": size, "fps": fps, "pool": pool},
            seeds=seeds,
            published=published,
            out=out,
            jobs=jobs,
            workers=workers,
            device=device,
            command=shlex.join(["ssvid", *sys.argv[1:]]),
            progress=told,
            told=lambda line: console.LOG.print(line, soft_wrap=True, markup=False),
        )
    table = made.table
    if out is not None:
        made.write(out)
    if as_json:
        typer.echo(table.json(), nl=False)
    else:
        console.show_table(table.title, table.header(), table.cells())
        for line in (table.protocol, *table.below()):
            console.LOG.print(line, soft_wrap=True, markup=False)


@app.command()
def survey(
    configs: Annotated[list[Path], typer.Argument(help="YAML files of settings, one a task.")],
    data: Annotated[str, typer.Option(help="Videos to pretrain on: an index, folder, list or CSV.")],
    labelled: Annotated[str | None, typer.Option(help="Labelled videos to probe on; default: the same.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write OUT.md, OUT.csv, OUT.json and OUT/RUN.json.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs a task.")] = 3,
    runs: Annotated[Path, typer.Option(help="Folder of the run folders; what is there is not done again.")] = Path(
        "runs"
    ),
    jobs: Annotated[int, typer.Option(help="Runs at a time, one thread each.")] = 1,
    as_json: Json = False,
) -> None:
    """Compare pretext tasks: does each learn, does it cheat, what are its features worth?

    Example:  ssvid survey configs/pretrain/*_world.yaml --data world.sqlite --jobs 2 -o results/pretext
    """
    from ssvid.survey import survey as run_it
    from ssvid.survey import write

    table, facts = run_it(
        configs,
        data,
        labelled=labelled,
        seeds=seeds,
        runs=runs,
        jobs=jobs,
        told=lambda line: console.LOG.print(line, soft_wrap=True),
    )
    if out is not None:
        write(table, facts, out)
    if as_json:
        typer.echo(table.json(), nl=False)
    else:
        console.show_table(table.title, table.header(), table.cells())
        console.LOG.print(table.protocol, soft_wrap=True)


@app.command()
def audit(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    data: Annotated[list[str] | None, typer.Option(help="Held-out videos; default: the run's test split.")] = None,
    other: Annotated[
        str | None, typer.Option(help="Videos of another camera and codec, to take the accuracy on too.")
    ] = None,
    videos: Annotated[int, typer.Option(help="Videos of each control.", min=8)] = 128,
    workers: Annotated[int, typer.Option(help="Decoding processes.")] = 0,
    as_json: Json = False,
) -> None:
    """Does the trained task see time, or a shortcut? Writes RUN/audit/; exit code 1 when a control is beaten.

    Example:  ssvid audit runs/speednet-s3dg_tiny-s0
    """
    from ssvid.evaluation.audit_report import HEADER, facts, rows, write
    from ssvid.training.audit import audit as run_it
    from ssvid.training.run import Run

    with console.counting() as told:
        found = run_it(Run(run), data, other, videos=videos, workers=workers, progress=told)
    write(found, run / "audit")
    if as_json:
        typer.echo(json.dumps(facts(found), indent=2))
    else:
        console.show_table(f"audit of {run}", HEADER, rows(found))
    if found.beaten:
        console.LOG.print(f"beaten: {', '.join(found.beaten)}; see {run / 'audit' / 'audit.md'}", soft_wrap=True)
        raise typer.Exit(SsvidError.exit_code)
    console.LOG.print(f"no control beaten; see {run / 'audit' / 'audit.md'}", soft_wrap=True)


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help="tasks, models, layouts, or all.")] = "all",
    pattern: Annotated[str, typer.Argument(help="Shell pattern of the names.")] = "*",
    as_json: Json = False,
) -> None:
    """List the tasks, backbones and data layouts there are.

    Example:  ssvid list models '*_tiny'
    """
    from ssvid.catalogue import HEADERS, catalogue

    listed = catalogue(kind, pattern)
    if as_json:
        typer.echo(json.dumps(listed, indent=2))
        return
    for name, rows in listed.items():
        console.show_table(name, HEADERS[name], [[str(row[column]) for column in HEADERS[name]] for row in rows])


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check this installation: versions, devices, and a decoding test of every kind of video.

    Example:  ssvid doctor --json
    """
    from ssvid.doctor import examine

    report = examine()
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        console.show_table("ssvid doctor", ["what", "found"], [[key, str(value)] for key, value in report.items()])
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
    from ssvid.demo import demo as run_it

    page, table = run_it(out, steps=steps, seed=seed)
    console.show_table(table.title, table.header(), table.cells())
    typer.echo(f"Page: {page.resolve()}")


@app.command()
def bench(
    what: Annotated[str, typer.Argument(help="loader, step, start or transfer.")],
    rounds: Annotated[int, typer.Option(help="Rounds, each timing both sides; the median counts.")] = 5,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write the table as Markdown.")] = None,
    as_json: Json = False,
) -> None:
    """Time our parts beside the bare libraries, in one run, as ratios.

    Example:  ssvid bench loader
    """
    from ssvid.bench import run_bench, to_markdown

    rows = run_bench(what, rounds)
    if out is not None:
        out.write_text(to_markdown(what, rounds, rows))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        header = list(rows[0])
        console.show_table(f"bench {what}", header, [[str(row[column]) for column in header] for row in rows])


def main() -> None:
    """Run the command line; errors of ours become one line on stderr and their exit code."""
    try:
        app()
    except SsvidError as error:
        if {"-v", "--verbose"} & set(sys.argv):
            raise
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(error.exit_code) from None
