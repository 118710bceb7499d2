"""`ssvid long` asks how much of a video a temporal head has to see, and what that costs: seconds, a minute, or all of it.

Hussein et al. (Timeception, arXiv:1812.01289; VideoGraph, arXiv:1905.05143) train such heads on frozen features of minutes, and claim that
complex actions are told only over that long, and that order helps. Here every head is trained on windows of several lengths of the same
videos; accuracy, and time and memory of training a second of video, stand beside one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssvid.data.long_world import LONG_CLASSES, UNORDERED
from ssvid.environment import environment
from ssvid.errors import DataError
from ssvid.evaluation.features import View, extract
from ssvid.evaluation.folds import chance
from ssvid.evaluation.sequence_heads import HeadTraining, head_accuracy, train_head, training_memory, training_time
from ssvid.evaluation.splits import Labelled, open_labelled
from ssvid.evaluation.tables.cells import CellFile
from ssvid.evaluation.tables.table import Row, Table
from ssvid.evaluation.tables.table import write as write_table
from ssvid.progress import Progress, silent
from ssvid.training.models import open_model

LONG_HEADS = ("late_pooling", "lstm", "timeception", "videograph")
WINDOWS = (8.0, 60.0, 300.0)  # seconds


@dataclass(frozen=True)
class LongRequest:
    """What `ssvid long` compares.

    data: long videos of one length with labels. backbone: a run folder or a name, frozen. heads: of `ssvid.zoo`. seconds: lengths of
    windows. frames: of a segment, which gives one vector; size: px. seeds: trainings of each head. out: the table's files, without an
    ending; its cells are kept in OUT.cells.jsonl and not computed again. command: noted in the table.
    """

    data: str
    backbone: str
    out: Path
    heads: Sequence[str] = LONG_HEADS
    seconds: Sequence[float] = WINDOWS
    frames: int = 8
    size: int = 32
    seeds: int = 3
    training: HeadTraining = field(default_factory=HeadTraining)
    command: str = ""


def long_videos(request: LongRequest, progress: Progress = silent) -> Table:
    """Compute what is missing of a request and write its table: OUT.md, .csv, .tex, .json, .png and .cells.jsonl.

    Raises DataError where the videos are not of one length, shorter than a window, or are not labelled and split.
    """
    from ssvid.evaluation.plots import long_figure

    labelled = open_labelled(request.data)
    features, target, train, test = _features(request, labelled, progress)
    duration = float(np.median([video.info.duration for video in labelled.videos]))
    lengths = {second: steps_of(second, duration, features.shape[1]) for second in request.seconds}
    file = CellFile(request.out.with_name(f"{request.out.name}.cells.jsonl"))
    cells, asked = (
        file.read(),
        [(s, head, seed) for s in lengths for head in request.heads for seed in range(request.seeds)],
    )
    about = {"training": asdict(request.training), "data": labelled.fingerprint, "segments": int(features.shape[1])}
    for number, (second, head, seed) in enumerate(asked):
        key = f"{head} {second:g} s seed {seed}"
        if key not in cells or {name: cells[key].get(name) for name in about} != about:
            steps = lengths[second]
            model = train_head(head, features[train], target[train], steps, seed, request.training)
            cells[key] = {
                "accuracy": 100 * head_accuracy(model, features[test], target[test], steps),
                "steps": steps,
                "ms": 1000 * training_time(model.train(), features.shape[2], steps) / second,
                "kib": training_memory(model, features.shape[2], steps) / 1024 / second,
                **about,
            }
            file.add(key, cells[key])
        progress("heads", number + 1, len(asked))
    table = tabulate(request, labelled, cells, duration)
    write_table(table, request.out)
    long_figure(
        cells, request.heads, request.seconds, chance(labelled.videos, labelled.folds), _ceiling(labelled)
    ).savefig(request.out.with_name(f"{request.out.name}.png"), dpi=110)
    return table


def steps_of(seconds: float, duration: float, segments: int) -> int:
    """Segments that a window of some seconds has, of videos of `duration` seconds in `segments`.

    Raises DataError for a window longer than the videos, by more than a segment.
    """
    steps = round(seconds * segments / duration)
    if steps > segments:
        raise DataError(
            f"the videos last {duration:.0f} s, so there is no window of {seconds:g} s; give shorter --seconds"
        )
    return max(1, steps)


def _features(
    request: LongRequest, labelled: Labelled, progress: Progress
) -> tuple[torch.Tensor, torch.Tensor, np.ndarray, np.ndarray]:
    """Standardised features (N,T,D), classes (N,), positions of training and of test videos."""
    frames = {video.info.frames for video in labelled.videos}
    if max(frames) - min(frames) > request.frames:
        raise DataError(
            f"{request.data}: videos of {min(frames):,} to {max(frames):,} frames; ssvid long compares windows of videos of one length "
            "(ssvid make-long-world)"
        )
    view = View(clips=max(1, min(frames) // request.frames), frames=request.frames, stride=1, size=request.size)
    found = extract(open_model(request.backbone).backbone, labelled.videos, view, batch=1, workers=0, progress=progress)
    vectors = torch.from_numpy(found[np.arange(len(found))])
    train, test = labelled.folds[0]
    mean, deviation = vectors[train].mean((0, 1)), vectors[train].std((0, 1))
    target = torch.tensor([labelled.classes.index(str(video.label)) for video in labelled.videos])
    return (vectors - mean) / deviation.clamp(min=1e-6), target, train, test


def _ceiling(labelled: Labelled) -> float | None:
    """Accuracy in percent of whoever knows the sub-actions and not their order, of the long motion world; of other videos it is unknown."""
    return 100 / UNORDERED if set(labelled.classes) == set(LONG_CLASSES) else None


def tabulate(request: LongRequest, labelled: Labelled, cells: dict[str, dict[str, Any]], duration: float) -> Table:
    """One row a head: accuracy at every length, and what training a second of video costs."""
    guess, ceiling = chance(labelled.videos, labelled.folds), _ceiling(labelled)
    training = request.training
    table = Table(
        title="Long videos",
        protocol=f"{labelled.name}: {labelled.split}, {len(labelled.classes)} classes, {duration:.0f} s each. Heads on frozen features of "
        f"{_name_of(request.backbone)}, one vector for {request.frames} frames of {request.size} px, {training.steps} steps of "
        f"{training.batch} random windows; accuracy in percent over windows of that length, mean ± standard deviation over seeds. Time and "
        "memory: training one window forward and backward, for each second of video, of the head alone, at "
        f"{' / '.join(f'{second:g}' for second in request.seconds)} s."
        + (f" Made by `{request.command}`." if request.command else ""),
        chance={f"{second:g} s": guess for second in request.seconds},
    )
    if ceiling:
        table.notes.append(
            f"Every {UNORDERED} classes have the same sub-actions: who knows these and not their order is right in {ceiling:g} %."
        )
    for head in request.heads:
        of_head = {
            second: [cells[f"{head} {second:g} s seed {seed}"] for seed in range(request.seeds)]
            for second in request.seconds
        }
        facts = {
            f"{unit} a second": " / ".join(f"{min(cell[name] for cell in group):.3g}" for group in of_head.values())
            for name, unit in (("ms", "ms"), ("kib", "KiB"))
        }
        scores = {f"{second:g} s": [cell["accuracy"] for cell in group] for second, group in of_head.items()}
        table.rows.append(Row(head, facts, scores))
    table.made_with = {"command": request.command, **environment()}
    return table


def _name_of(backbone: str) -> str:
    return Path(backbone).name
