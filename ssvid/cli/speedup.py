"""The command that makes a fast version of a video: speedup."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssvid.cli import console
from ssvid.cli.shared import Json
from ssvid.errors import ConfigError, SsvidError

if TYPE_CHECKING:
    from ssvid.speedup.plan import SpeedPlan

app = typer.Typer()
INTERRUPTED = 130
HEADER = ("video", "result", "seconds", "fast", "least", "speed", "most")


def seconds(text: str) -> float:
    """Seconds from 90, 1:30 or 0:01:30.5. Raises ConfigError for another text."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or min(parts) < 0:
        raise ConfigError(f"{text!r} is no duration; write seconds or h:mm:ss, as 90 or 1:30")
    return sum(part * 60**power for power, part in enumerate(reversed(parts)))


@app.command()
def speedup(
    videos: Annotated[list[Path], typer.Argument(metavar="IN...", help="Videos, or folders of them.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Result: .mp4, .mov, .mkv or .webm; a folder for several. Default: NAME.fast.mp4."
        ),
    ] = None,
    speed: Annotated[float | None, typer.Option(help="Overall speed; 2 by default.")] = None,
    duration: Annotated[str | None, typer.Option(help="Length of the result, seconds or h:mm:ss.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Run folder of speednet; default: the model in the package.")
    ] = None,
    fit: Annotated[bool, typer.Option("--fit", help="Adapt the model to the video first; needs no labels.")] = False,
    by: Annotated[str, typer.Option(help="Evidence: model, motion (the slower the faster) or constant.")] = "model",
    min_speed: Annotated[float, typer.Option(help="Least speed anywhere.")] = 1.0,
    max_speed: Annotated[float, typer.Option(help="Greatest speed anywhere.")] = 8.0,
    smooth: Annotated[float, typer.Option(help="Time scale of changes, seconds of the source; 0: none.")] = 1.0,
    objective: Annotated[str, typer.Option(help="exact, or paper: as recalled, the length is not met.")] = "exact",
    audio: Annotated[str, typer.Option(help="keep-pitch, pitch (it rises) or mute.")] = "keep-pitch",
    cfr: Annotated[float | None, typer.Option(help="Constant frames a second, for editors.")] = None,
    vfr: Annotated[bool, typer.Option("--vfr", help="Every frame, re-timed, at a variable rate; the default.")] = False,
    plan: Annotated[
        Path | None, typer.Option(help="Render this plan: OUT.plan.json edited, or an auto-editor v1 timeline.")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="Also write the plan as an auto-editor v1 timeline.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page: both videos in step, and why.")] = None,
    cam: Annotated[bool, typer.Option(help="With --html: also render where the model looks (OUT.cam.mp4).")] = True,
    dry_run: Annotated[bool, typer.Option(help="SpeedPlan and print, write OUT.plan.json, render nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Play a video faster where it stays natural, slower where it would not; the length is met to a frame, the sound keeps its pitch.

    Example:  ssvid speedup IN.mp4 -o OUT.mp4 --speed 2

    The plan is kept in OUT.plan.json: another speed costs no new evidence, a rendering that was stopped goes on, and a hand may put rows of
    start, end (seconds) and speed into its "segments". Exit code 1 when one of several videos failed.
    """
    from ssvid.speedup.pipeline import (
        SpeedupOptions,
        companion_path,
        plan_speedup,
        process_each,
        result_paths,
        speed_up,
    )

    if cfr is not None and vfr:
        raise ConfigError("--cfr and --vfr contradict each other; give one")
    if by != "model" and (fit or model is not None):
        raise ConfigError(f"--fit and --model belong to --by model, not to --by {by}")
    options = SpeedupOptions(
        speed=speed,
        duration=None if duration is None else seconds(duration),
        min_speed=min_speed,
        max_speed=max_speed,
        smooth=smooth,
        objective=objective,
        by=by,
        model=None if model is None else str(model),
        fit=fit,
        audio=audio,
        fps=cfr,
        plan=plan,
    )
    pairs = result_paths(videos, out)
    several = len(pairs) > 1 or videos[0].is_dir()

    def act(source: Path, result: Path) -> SpeedPlan:
        with console.counting() as progress:
            timeline = companion_path(export, result, several, ".v1.json")
            if dry_run:
                return plan_speedup(source, result, options, progress, export=timeline)
            page = companion_path(html, result, several, ".html")
            return speed_up(source, result, options, progress, export=timeline, html=page, cam=cam and by == "model")

    rows: list[dict[str, Any]] = []
    try:
        for source, result, done in process_each(pairs, act):
            if isinstance(done, Exception) and not several:
                raise done
            rows.append({"video": str(source), "result": str(result)} | _row(done))
            if isinstance(done, Exception):
                console.LOG.print(f"failed: {done}", soft_wrap=True)
    except KeyboardInterrupt:
        console.LOG.print("interrupted; the same command goes on from here", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    _show(rows, as_json)
    if any("error" in row for row in rows):
        raise typer.Exit(SsvidError.exit_code)


def _row(done: SpeedPlan | Exception) -> dict[str, Any]:
    return {"error": str(done)} if isinstance(done, Exception) else done.summary()


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    names = ("seconds", "result_seconds", "min_speed", "speed", "max_speed")
    cells = [
        [row["video"], "failed" if "error" in row else row["result"], *(_cell(row.get(name)) for name in names)]
        for row in rows
    ]
    console.show_table("speedup", HEADER, cells)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
