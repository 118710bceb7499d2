"""How well a trained task answers its question on videos it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ssvid.data.loader import load
from ssvid.data.video_record import VideoRecord
from ssvid.errors import DataError
from ssvid.training.build import build_task
from ssvid.training.run import Run
from ssvid.training.sampler import test_plans
from ssvid.training.task import PretextTask, usable
from ssvid.zoo.backbone import to_device


def validate(run: Run, videos: Sequence[VideoRecord], workers: int = 1) -> dict[str, tuple[float, float]]:
    """(mean, standard error over videos) of every metric of the run's task, with its deterministic test samples,
    on the videos masked as in training.

    videos: those the task cannot use are passed over. Raises DataError as `trained_task` does.
    """
    return evaluate(trained_task(run), run.masked(videos), workers)


def trained_task(run: Run, device: torch.device | None = None) -> PretextTask:
    """The task of a run, head included, as its last checkpoint left it, in eval mode and on a device (by default the CPU).

    Its weights are their average where the run keeps one (ema), as those of the exported backbone are.
    Raises DataError when there is no checkpoint, or one of a task that is no longer built the same.
    """
    task = build_task(run.config)
    state = run.checkpoint()
    if state is None:
        raise DataError(f"{run.path} has no checkpoint; finish it with: ssvid pretrain --resume {run.path}")
    run.fill(task, state.get("average", state["task"]))
    return to_device(task, device or torch.device("cpu")).eval()


def evaluate(
    task: PretextTask, videos: Sequence[VideoRecord], workers: int = 1, batch: int = 8
) -> dict[str, tuple[float, float]]:
    """(mean, standard error over videos) of every per-video metric of a task in eval mode."""
    _, values = per_video(task, videos, workers, batch)
    return {
        name: (float(np.mean(row)), float(np.std(row) / max(len(row) - 1, 1) ** 0.5)) for name, row in values.items()
    }


def per_video(
    task: PretextTask,
    videos: Sequence[VideoRecord],
    workers: int = 1,
    batch: int = 8,
    device: torch.device | None = None,
) -> tuple[list[VideoRecord], dict[str, np.ndarray]]:
    """The videos a task in eval mode was asked about, in its order, and every per-video metric (N,) of them.

    device: where the task is; by default the CPU.
    """
    kept, _ = usable(task, videos)
    plans = list(test_plans(task, kept, batch))
    values: dict[str, list[float]] = {}
    device = device or torch.device("cpu")
    for loaded in load(plans, task.augment.decode_size, workers, device, augment=True):
        loaded = loaded.to(device).augmented()
        with torch.inference_mode():
            result = task(loaded.clips, loaded.target)
        for name, value in result.items():
            if value.ndim == 1:
                values.setdefault(name, []).extend(value.tolist())
    asked = [plan.video for step in plans for plan in step]
    return asked, {name: np.array(row) for name, row in values.items()}
