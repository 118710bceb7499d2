"""The command that classifies a video or a camera frame by frame: stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssvid.cli import console
from ssvid.cli.shared import Device, Json

if TYPE_CHECKING:
    from ssvid.streaming.classify import StreamAnswer

app = typer.Typer()
INTERRUPTED = 130
COLUMNS = ("seconds", "class", "probability", "mean class", "mean probability", "latency ms")

Source = Annotated[
    str, typer.Argument(metavar="VIDEO|CAMERA", help="A video, or a camera: 0, /dev/video0 or rtsp://ADDRESS.")
]
Model = Annotated[str, typer.Option(help="Run folder, NAME or NAME@WEIGHTS: the model the classifier was trained on.")]
Classifier = Annotated[Path, typer.Option(help="A head kept by: ssvid transfer --save-head.")]
Window = Annotated[
    int, typer.Option(min=0, help="Steps that the running average takes, 0 for all. Longer costs no more time.")
]
Out = Annotated[Path | None, typer.Option("-o", "--out", help="Also write the lines to a .csv or .json file.")]


@app.command()
def stream(
    source: Source,
    model: Model,
    classifier: Classifier,
    window: Window = 16,
    out: Out = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Classify a video or a camera frame by frame as it comes, each frame encoded once.

    Example:  ssvid stream CLIP.mp4 --model RUN --classifier head.safetensors -o answers.csv

    Every line tells a frame's seconds, the likeliest class of its step and of the last steps' mean, and the latency. Ctrl-C ends it; what
    was written stays. A network that sees whole clips runs over a sliding window, slower and not exact: the last line says so.
    """
    from ssvid.streaming.answer_file import answer_file
    from ssvid.streaming.classify import answers, open_classifier

    opened = open_classifier(model, classifier, window, device)
    told: list[StreamAnswer] = []
    try:
        with ExitStack() as stack:
            keep = stack.enter_context(answer_file(out)) if out else _nowhere
            if not as_json:
                console.row(COLUMNS)
            for answer in answers(opened, source):
                _tell(answer, as_json)
                keep(answer)
                told = [answer]
    except KeyboardInterrupt:
        console.log("interrupted" + (f"; what was told is in {out}" if out else ""))
        raise typer.Exit(INTERRUPTED) from None
    _sum_up(told, out)


def _tell(answer: StreamAnswer, as_json: bool) -> None:
    if as_json:
        console.row([json.dumps(answer.line())])
        return
    now, mean = (answer.label, f"{answer.probability:.2f}"), (answer.mean_label, f"{answer.mean_probability:.2f}")
    console.row([f"{answer.time:.2f}", *now, *mean, f"{1000 * answer.latency:.1f}"])


def _sum_up(told: list[StreamAnswer], out: Path | None) -> None:
    """A last line on stderr."""
    if not told:
        console.log("the video is shorter than what the network needs for one step")
        return
    how = "exactly as a clip" if told[0].exact else "over a sliding window"
    console.log(
        f"{how}; in the end {told[0].mean_label} ({told[0].mean_probability:.2f})" + (f"; {out}" if out else "")
    )


_nowhere: Callable[[StreamAnswer], None] = lambda answer: None  # noqa: E731
