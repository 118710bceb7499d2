"""The command that makes a fast version of a video: speedup."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssvid.cli import console
from ssvid.cli.shared import Device, Engine, Json
from ssvid.cli.speediness import ModelFolder
from ssvid.engine import check_engine
from ssvid.errors import ConfigError, SsvidError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ssvid.speedup.on_engine import SpeedupJob
    from ssvid.speedup.pipeline import SpeedupOptions

app = typer.Typer()
INTERRUPTED = 130
HEADER = ("video", "result", "seconds", "fast", "least", "speed", "most")

Videos = Annotated[list[str], typer.Argument(metavar="IN...", help="Videos, or folders of them.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o", "--out", help="Result: .mp4, .mov, .mkv or .webm; a folder for several. Default: NAME.fast.mp4."
    ),
]
Speed = Annotated[float | None, typer.Option(help="Overall speed; 2 by default.")]
Duration = Annotated[str | None, typer.Option(help="Length of the result, seconds or h:mm:ss.")]
Fit = Annotated[bool, typer.Option("--fit", help="Train the model on the video itself first; this needs no labels.")]
By = Annotated[
    str, typer.Option(help="What decides the natural speed: model, motion (the slower the faster) or constant.")
]
MinSpeed = Annotated[float, typer.Option(help="Least speed anywhere.")]
MaxSpeed = Annotated[float, typer.Option(help="Greatest speed anywhere.")]
Smooth = Annotated[float, typer.Option(help="Time scale of changes of speed, seconds of the source; 0: none.")]
Objective = Annotated[str, typer.Option(help="exact, or paper: as recalled from the paper, the length is not met.")]
Audio = Annotated[str, typer.Option(help="keep-pitch, pitch (it rises with the speed) or mute.")]
ConstantRate = Annotated[
    float | None, typer.Option(help="Constant frames a second, for editors; default: every frame, at a variable rate.")
]
PlanFile = Annotated[
    Path | None, typer.Option(help="Render this plan: OUT.plan.json edited, or an auto-editor v1 timeline.")
]
Export = Annotated[Path | None, typer.Option(help="Also write the plan as an auto-editor v1 timeline.")]
Html = Annotated[Path | None, typer.Option(help="Also write a page: both videos in step, over the curves.")]
Cam = Annotated[bool, typer.Option(help="With --html: also render where the model looks (OUT.cam.mp4).")]
DryRun = Annotated[bool, typer.Option(help="Print the plan and write OUT.plan.json, but render nothing.")]


@app.command()
def speedup(
    videos: Videos,
    out: Out = None,
    speed: Speed = None,
    duration: Duration = None,
    model: ModelFolder = None,
    fit: Fit = False,
    by: By = "model",
    min_speed: MinSpeed = 1.0,
    max_speed: MaxSpeed = 8.0,
    smooth: Smooth = 1.0,
    objective: Objective = "exact",
    audio: Audio = "keep-pitch",
    cfr: ConstantRate = None,
    plan: PlanFile = None,
    export: Export = None,
    html: Html = None,
    cam: Cam = True,
    dry_run: DryRun = False,
    engine: Engine = "local:1",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Play a video faster where that looks natural and slower where it would not; the length is exact, the sound keeps its pitch.

    Example:  ssvid speedup IN.mp4 -o OUT.mp4 --speed 2

    The plan is kept in OUT.plan.json, so that another speed needs no new look at the video, and a stopped rendering goes on. You may add
    rows of start, end (seconds) and speed to its "segments". Exit code 1 when one of several videos failed.
    """
    from ssvid.speedup.pipeline import SpeedupOptions

    if by != "model" and (fit or model is not None):
        raise ConfigError(f"--fit and --model belong to --by model, not to --by {by}")
    length, folder = None if duration is None else seconds(duration), None if model is None else str(model)
    numbers = speed, length, min_speed, max_speed, smooth
    options = SpeedupOptions(*numbers, objective, by, folder, fit, audio, fps=cfr, device=device, plan=plan)
    several, jobs = _jobs(videos, out, options, export=export, html=html, cam=cam and by == "model", render=not dry_run)
    _run(jobs, several, check_engine(engine), as_json)


def seconds(text: str) -> float:
    """Seconds from 90, 1:30 or 0:01:30.5. Raises ConfigError for another text."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or min(parts) < 0:
        raise ConfigError(f"{text!r} is no duration; write seconds or h:mm:ss, as 90 or 1:30")
    result: float = sum(part * 60**power for power, part in enumerate(reversed(parts)))
    return result


def _jobs(
    videos: list[str],
    out: Path | None,
    options: SpeedupOptions,
    *,
    export: Path | None,
    html: Path | None,
    cam: bool,
    render: bool,
) -> tuple[bool, list[SpeedupJob]]:
    """Whether these are several, which fail one by one; and the work of every video."""
    from ssvid.speedup.on_engine import SpeedupJob
    from ssvid.speedup.pipeline import companion_path, result_paths

    pairs = result_paths(videos, out)
    several = len(pairs) > 1 or Path(videos[0]).is_dir()
    jobs = []
    for source, result in pairs:
        timeline, page = (
            companion_path(export, result, several, ".v1.json"),
            companion_path(html, result, several, ".html"),
        )
        jobs.append(SpeedupJob(source, result, options, timeline, page, cam, render))
    return several, jobs


def _run(jobs: list[SpeedupJob], several: bool, engine: str, as_json: bool) -> None:
    """Process every video and print a row for each."""
    from ssvid.speedup.on_engine import run_jobs

    rows: list[dict[str, Any]] = []
    try:
        for job, done in _here(jobs, several) if engine == "local:1" else run_jobs(jobs, engine):
            outcome = {"error": done} if isinstance(done, str) else done
            rows.append({"video": str(job.source), "result": str(job.out), **outcome})
            if isinstance(done, str):
                console.log(f"failed: {done}")
    except KeyboardInterrupt:
        console.log("interrupted; the same command goes on from here")
        raise typer.Exit(INTERRUPTED) from None
    _show(rows, as_json)
    if any("error" in row for row in rows):
        raise typer.Exit(SsvidError.exit_code)


def _here(jobs: list[SpeedupJob], several: bool) -> Iterator[tuple[SpeedupJob, dict[str, float] | str]]:
    """In this process, with progress; of several, one that fails does not end the others."""
    for job in jobs:
        with console.counting() as progress:
            yield job, job.summary(progress) if several else job.run(progress).summary()


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    names = ("seconds", "result_seconds", "min_speed", "speed", "max_speed")
    cells = [
        [row["video"], "failed" if "error" in row else row["result"], *(_number(row.get(name)) for name in names)]
        for row in rows
    ]
    console.show_table("speedup", HEADER, cells)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
