"""Commands that train tasks and test what they learnt: pretrain, audit, survey, videotime."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssvid.cli import completion, console
from ssvid.cli.shared import Device, Engine, Json, WithSettings, show
from ssvid.errors import ConfigError, SsvidError

if TYPE_CHECKING:
    from ssvid.config import PretrainConfig

app = typer.Typer()

TaskName = Annotated[
    str | None,
    typer.Argument(
        help="Task, or path/to/file.py (its code is run). See: ssvid list tasks", autocompletion=completion.tasks
    ),
]


@app.command(cls=WithSettings)
def pretrain(
    task: TaskName = None,
    settings: Annotated[
        list[str] | None, typer.Argument(help="key=value of the run or the task, as steps=2000 frames=8")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="Index, folder, list or video; repeatable. With --resume: where they are now."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Backbone. See: ssvid list models", autocompletion=completion.models)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Run folder; default runs/TASK-BACKBONE-sSEED.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    devices: Annotated[int | None, typer.Option(help="Processes on this machine, one a device.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Resume this run folder.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing run.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Print the settings and stop.")] = False,
) -> None:
    """Pretrain a backbone with one pretext task.

    Example:  ssvid pretrain speednet --data videos.sqlite --backbone s3dg_tiny steps=2000 batch=32

    Settings of the run and their defaults: ssvid pretrain --dry-run. Options of a task: ssvid list tasks.

    Several machines, on each:  torchrun --nnodes 2 --nproc_per_node 8 --rdzv_backend c10d --rdzv_endpoint FIRST_HOST:29500 --max-restarts 3
    -m ssvid pretrain TASK ..., with index, videos and -o on shared storage. Started again by torchrun or SLURM, it goes on where it was.
    Exit code 75: stopped by SIGTERM or SIGUSR1 and saved; on SLURM, SIGUSR1 puts the job back in the queue (requeue=auto, always, never).
    """
    from ssvid.config import default_out, load_config, resume_config, to_yaml

    words = list(settings or [])
    if task is not None and "=" in task:  # no task named: it comes from --config or --resume
        words, task = [task, *words], None
    if resume is not None:
        if any(value is not None for value in (task, backbone, out, config)):
            raise ConfigError(
                "--resume continues a run with its own settings; leave out the task, --backbone, -o and --config"
            )
        chosen = resume_config(resume, words, devices, data)
    else:
        values = {"task": task, "data": data, "backbone": backbone, "out": out and str(out), "devices": devices}
        chosen = load_config(config, words, values)
    chosen.out = chosen.out or default_out(chosen)
    if dry_run:
        typer.echo(to_yaml(chosen), nl=False)
        return
    _pretrain(chosen, resume is not None, overwrite)


def _pretrain(config: PretrainConfig, resume: bool, overwrite: bool) -> None:
    from ssvid.plugins import load_task
    from ssvid.training.fit import pretrain as run_it
    from ssvid.training.resuming import resumed_config

    config = resumed_config(config) if resume else config
    with console.training(config.steps, load_task(config.task).chance) as progress:
        run = run_it(config, resume=resume, overwrite=overwrite, report=progress)
    _tell(run.card["diagnosis"], f"done: {run.path}  (next: ssvid transfer {run.path} --data LABELLED_VIDEOS)")


@app.command()
def audit(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    data: Annotated[list[str] | None, typer.Option(help="Held-out videos; default: the run's test split.")] = None,
    other: Annotated[
        str | None, typer.Option(help="Videos of another camera and codec, to measure the accuracy on as well.")
    ] = None,
    videos: Annotated[int, typer.Option(help="Number of videos of each control.", min=8)] = 128,
    workers: Annotated[int, typer.Option(help="Decoding processes.")] = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Test whether a trained task sees time or uses a shortcut. Writes RUN/audit/; exit code 1 when it uses a shortcut.

    Example:  ssvid audit runs/speednet-s3dg_tiny-s0
    """
    from ssvid.audit.audit import audit as run_it
    from ssvid.audit.report import HEADER, facts, rows, write

    with console.counting() as progress:
        found = run_it(run, data, other, videos=videos, workers=workers, device=device, progress=progress)
    write(found, run / "audit")
    if as_json:
        typer.echo(json.dumps(facts(found), indent=2))
    else:
        console.show_table(f"audit of {run}", HEADER, rows(found))
    result = f"shortcuts: {', '.join(found.shortcuts)}" if found.shortcuts else "no shortcut found"
    _tell(found.diagnosis, f"{result}; see {run / 'audit' / 'audit.md'}")
    if found.shortcuts:
        raise typer.Exit(SsvidError.exit_code)


@app.command(cls=WithSettings)
def survey(
    configs: Annotated[
        list[str],
        typer.Argument(help="YAML files of settings, one a task; key=value for all of them, CONFIG.key=value for one."),
    ],
    data: Annotated[str, typer.Option(help="Videos to pretrain on: an index, folder, list or CSV.")],
    labelled: Annotated[
        str | None, typer.Option(help="Labelled videos for the linear probe; default: the same.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Write OUT.md, .csv, .tex and .json; the runs are kept in OUT.cells.jsonl."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each task, each with its own seed.")] = 3,
    runs: Annotated[Path, typer.Option(help="Folder of the run folders; finished runs are not repeated.")] = Path(
        "runs"
    ),
    engine: Engine = "local:1",
    as_json: Json = False,
) -> None:
    """Compare pretext tasks: accuracy on held-out videos, shortcuts, and probes of the features.

    Example:  ssvid survey configs/pretrain/*_world.yaml --data world.sqlite --engine local:2 -o results/pretext
    """
    from ssvid.audit.survey import survey as run_it
    from ssvid.audit.survey import write

    table, facts = run_it(
        [word for word in configs if "=" not in word],
        data,
        settings=[word for word in configs if "=" in word],
        labelled=labelled,
        seeds=seeds,
        runs=runs,
        engine=engine,
        command=shlex.join(["ssvid", *sys.argv[1:]]),
        log=console.log,
    )
    if out is not None:
        write(table, facts, out)
    show(table, as_json)


@app.command(cls=WithSettings)
def videotime(
    configs: Annotated[
        list[str],
        typer.Argument(help="YAML files of settings, one a task; key=value for all of them, CONFIG.key=value for one."),
    ],
    data: Annotated[str, typer.Option(help="The motion world: an index, or its list. See: ssvid make-world")],
    backbone: Annotated[
        list[str] | None, typer.Option(help="Backbone; repeatable. Default: ten ways of putting frames together.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write OUT.md, .csv, .tex, .json, .png and .cells.jsonl.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each backbone and task, each with its own seed.", min=1)] = 3,
    runs: Annotated[Path, typer.Option(help="Folder of the run folders; finished runs are not repeated.")] = Path(
        "runs"
    ),
    engine: Engine = "local:1",
    as_json: Json = False,
) -> None:
    """Compare ways of putting frames together: which see the order of time? Exit code 1 where an order-blind one does.

    Example:  ssvid videotime configs/videotime/*.yaml --data world.sqlite --engine local:2 -o results/videotime
    """
    from ssvid.audit.videotime import BACKBONES, require_controls, write
    from ssvid.audit.videotime import videotime as run_it

    table, facts = run_it(
        [word for word in configs if "=" not in word],
        data,
        backbones=backbone or BACKBONES,
        settings=[word for word in configs if "=" in word],
        seeds=seeds,
        runs=runs,
        engine=engine,
        command=shlex.join(["ssvid", *sys.argv[1:]]),
        log=console.log,
    )
    if out is not None:
        write(table, facts, runs, out)
    show(table, as_json)
    require_controls(facts)


def _tell(diagnosis: list[str], end: str) -> None:
    """What keeps a run at chance, a line a sentence, and how the command ended."""
    for line in (*diagnosis, end):
        console.log(line)
