"""Measuring what a diagnosis rests on: the log of a run, how far its weights moved, what its windows show, how it does on other videos."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from ssvid.config import PretrainConfig
from ssvid.data.video_record import VideoRecord
from ssvid.errors import SsvidError
from ssvid.plugins import load_task
from ssvid.training.build import all_options, build_task
from ssvid.training.diagnosis import RunFacts
from ssvid.training.run import Run
from ssvid.training.task import PretextTask, usable
from ssvid.training.validate import per_video

ASKED = 64  # videos of each kind, at most
TAIL = 0.75  # share of the steps after which training accuracy counts
Measured = tuple[float, int]  # accuracy, and of how many videos


def measure(
    run: Run,
    task: PretextTask,
    videos: Sequence[VideoRecord],
    held_out: Measured | None,
    *,
    workers: int = 0,
    shortcuts: Collection[str] = (),
    padding: str = "",
) -> RunFacts | None:
    """The facts of a run, or None where its task logs no accuracy. Leaves the task in eval mode.

    task: trained, on its device. videos: it was trained on, none where they are no longer there. held_out: accuracy there, where it was
    measured. What decoding or building takes is measured only where the answer is at chance: accuracy on training videos in eval mode,
    and the change of the weights.
    """
    config, lines = run.config, [line for line in run.metrics() if "accuracy" in line]
    if not lines and held_out is None:
        return None
    last = [line for line in lines if line["step"] > TAIL * lines[-1]["step"]]
    before = [line["step"] for line in lines if line not in last]
    motion, seconds = windows(task, videos)
    facts = RunFacts(
        chance=float(np.mean([line["chance"] for line in last])) if last else task.chance,
        trained=float(np.mean([line["accuracy"] for line in last])) if last else None,
        samples=int((last[-1]["step"] - (before[-1] if before else 0)) * config.batch) if last else 0,
        videos=len(videos) or run.card["data"]["videos"],
        steps=config.steps,
        batch=config.batch,
        lr=config.lr,
        losses=[line["loss"] for line in lines],
        motion=motion,
        seconds=seconds,
        spread=last[-1].get("spread") if last else None,
        batch_norm=any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in task.modules()),
        options=list(all_options(load_task(config.task), config)),
        held_out=held_out and held_out[0],
        held_out_videos=held_out[1] if held_out else 0,
        shortcuts=tuple(shortcuts),
        padding=padding,
    )
    if not facts.learns:
        return replace(facts, weight_change=weight_change(task, config))
    if not facts.generalises and videos:
        asked = accuracy(task, videos, workers)
        return replace(facts, evaluated=asked and asked[0])
    return facts


def accuracy(task: PretextTask, videos: Sequence[VideoRecord], workers: int = 0) -> Measured | None:
    """Accuracy of a task in eval mode on up to 64 of the videos, drawn at random; None where it can use none, or returns no accuracy."""
    kept, _ = usable(task.eval(), videos)
    chosen = [kept[number] for number in sorted(np.random.default_rng(0).permutation(len(kept))[:ASKED])]
    _, metrics = per_video(task, chosen, workers, device=next(task.parameters()).device)
    values = metrics.get("accuracy", np.zeros(0))
    return (float(values.mean()), len(values)) if len(values) else None


def windows(task: PretextTask, videos: Sequence[VideoRecord]) -> tuple[float | None, float | None]:
    """Median motion of training clips (mean grey difference a frame, 0..255) and their median length in seconds."""
    kept, _ = usable(task.train(), videos[:: max(1, len(videos) // ASKED)])
    motion, seconds = [], []
    for number, video in enumerate(kept):
        for clip in task.sample(video, np.random.default_rng([number, 4])).indices:
            first, last = int(clip.min()), int(clip.max())
            motion.append(float(video.shots.motion[first + 1 : last + 1].mean()) if last > first else 0.0)
            seconds.append(float(video.info.times[last] - video.info.times[first]))
    task.eval()
    return (float(np.median(motion)), float(np.median(seconds))) if motion else (None, None)


def weight_change(task: PretextTask, config: PretrainConfig) -> float | None:
    """Length of the change of all weights since the first step, relative to their length then; None where they are no longer known."""
    try:
        before = dict(build_task(config).named_parameters())
    except SsvidError:  # the weights it began with are gone
        return None
    with torch.no_grad():
        pairs = [(before[name], weight.cpu().float()) for name, weight in task.named_parameters() if name in before]
        moved = sum(float((after - first).square().sum()) for first, after in pairs)
        length = sum(float(first.square().sum()) for first, _ in pairs)
    return float((moved / max(length, 1e-12)) ** 0.5)
