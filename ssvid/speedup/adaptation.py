"""Adapt a model to one video by its own pretext task, telling normal from sped-up windows; no labels are needed."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch

from ssvid.config import PretrainConfig
from ssvid.data.loader import load
from ssvid.data.video_record import VideoRecord
from ssvid.errors import DataError
from ssvid.progress import Progress, silent
from ssvid.speedup.models import SpeedModel, device_of, load_model
from ssvid.training.optimizer import make_optimizer
from ssvid.training.sampler import PlanSampler
from ssvid.training.step import learning_rate
from ssvid.training.task import PretextTask
from ssvid.video.raw import keep_raw
from ssvid.video.scan import scan

STEPS, BATCH = 200, 8
RATE = 3e-4  # a tenth of pretraining's learning rate: one video must not undo what was learnt from many
MOST_KEPT = 20_000  # frames up to which the video is decoded once and kept small on disk while fitting, half a gigabyte


def adapt_to_video(
    path: str | os.PathLike[str],
    model: str | os.PathLike[str] | SpeedModel | None = None,
    steps: int = STEPS,
    progress: Progress | None = None,
    *,
    device: str = "auto",
    seed: int = 0,
    losses: list[float] | None = None,
) -> SpeedModel:
    """A copy of a SpeedNet (as `load_model` takes it, or a task) trained for some steps on a video's own windows; on a CPU
    the result is the same every time.

    losses: gets the loss of every step. Raises VideoError for a file that cannot be used, DataError for one without a window to learn from.
    """
    task = cast(PretextTask, copy.deepcopy(load_model(model, device))).train()
    info, shots = scan(path)
    record = VideoRecord(0, info, shots)
    reason = task.why_unusable(record)
    if reason is not None:
        raise DataError(f"{info.path}: has no window to adapt to: {reason}; leave out --fit")
    with tempfile.TemporaryDirectory() as folder:
        if info.frames <= MOST_KEPT:
            kept = keep_raw(info.path, Path(folder) / "frames.npy", info, task.augment.decode_size)
            record = VideoRecord(0, info, shots, copy=kept)
        _train(task, [record], steps, seed, progress or silent, losses)
    return cast(SpeedModel, task.eval())


def _train(
    task: PretextTask,
    videos: Sequence[VideoRecord],
    steps: int,
    seed: int,
    progress: Progress,
    losses: list[float] | None,
) -> None:
    """Train the task in place for some steps.

    The loop is written out here, not shared with pretraining, because it has no run folder, checkpoints, log, signals or processes;
    the sampler, the optimiser and its schedule are those of pretraining.
    """
    device = device_of(task)
    config = PretrainConfig(steps=steps, batch=BATCH, lr=RATE, seed=seed)
    optimizer = make_optimizer(task, config)
    batches = load(PlanSampler(task, videos, config), task.augment.decode_size, device=device, augment=True)
    for step, batch in enumerate(batches, 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        batch = batch.to(device).augmented()
        loss = task(batch.clips, batch.target)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
        if losses is not None:
            losses.append(loss.item())
        progress("fitting", step, steps)
