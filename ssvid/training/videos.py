"""What a run trains on: the videos of an index that its task can use, and the first clips of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from ssvid.config import PretrainConfig
from ssvid.data.index import Index
from ssvid.data.loader import load
from ssvid.data.splits import not_trained_on, training_part
from ssvid.data.video_record import VideoRecord
from ssvid.errors import DataError
from ssvid.training.sampler import PlanSampler
from ssvid.training.task import PretextTask, usable

PREPARE = 4  # batches


def training_videos(task: PretextTask, index: Index, split: str) -> tuple[list[VideoRecord], dict[str, int]]:
    """The videos to train on, and how many were left out for which reason; held-out ones are none, see `ssvid.data.splits`.

    Raises DataError when none is left.
    """
    videos = index.videos()
    try:
        kept, reasons = usable(task, training_part(videos, split))
    except DataError as error:
        raise DataError(f"{index.path}: {error}") from error
    if not kept:
        why = "; ".join(f"{count} {reason}" for reason, count in reasons.items())
        raise DataError(
            f"{index.path}: no video that {type(task).__name__} can use: {why}. Lower frames, or name other data"
        )
    return kept, not_trained_on(videos, split) | reasons


def first_clips(
    task: PretextTask,
    videos: Sequence[VideoRecord],
    config: PretrainConfig,
) -> torch.Tensor:
    """Clips (B,V,C,T,H,W) of the first batches, all ranks' together, for the task to prepare itself on; none where it does not."""
    if type(task).prepare is PretextTask.prepare:
        return torch.zeros(0)
    steps = PlanSampler(task, videos, replace(config, steps=PREPARE))
    size = steps.plans(0)[0].size  # one for all, where the task varies it
    plans = ([replace(plan, size=size) for plan in batch] for batch in steps)
    batches = load(plans, task.augment.decode_size, augment=True)
    return torch.cat([batch.clips for batch in batches])
