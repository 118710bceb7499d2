"""Joint task: what do two other tasks ask, answered by one backbone?

Several self-supervised tasks on one network are after Doersch and Zisserman, Multi-task Self-Supervised Visual Learning, ICCV 2017 (arXiv
1708.07860). The balance is that of Kendall, Gal and Cipolla, CVPR 2018 (arXiv 1705.07115): each loss L counts as exp(-s) L + s with a
learned s, so that a task whose loss stays large does not drown the other.

Both tasks draw their own clips of a video, of equally many frames, which stand side by side in the batch. Augmentation is that of the
first; where the second relies on another scope of its crops or colours to close a shortcut, audit it on its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ssvid.training.task import (
    Backbone,
    CaptionedFrames,
    Clips,
    ClipView,
    ConfigError,
    PretextTask,
    VideoRecord,
    task_on,
)


class Joint(PretextTask):
    """The heads of two tasks on one backbone; accuracy and chance are the means of both.

    first, second: names of the tasks, or paths of their files. frames: of a clip of either. size: side in px, of either. Their other
    options keep their defaults.
    """

    needs = ("time",)
    chance = 0.375

    def __init__(
        self,
        backbone: Backbone,
        *,
        first: str = "pace",
        second: str = "arrow_of_time",
        frames: int = 16,
        size: int = 112,
    ) -> None:
        if first == second:
            raise ConfigError(f"joint: first and second are both {first}; name two tasks")
        tasks = [task_on(backbone, name, frames=frames, size=size) for name in (first, second)]
        super().__init__(backbone, tasks[0].augment, tasks[0].train_window, tasks[0].test_window)
        self.tasks, self.names = nn.ModuleList(tasks), [Path(name).stem for name in (first, second)]
        self.uncertainty = nn.Parameter(torch.zeros(2))
        self.whole_batch = any(task.whole_batch for task in tasks)
        self.chance = float(np.mean([task.chance for task in tasks]))
        # by the number of clips of a sample: of each task its clips, and shape and type of its target, which a batch does not tell
        self.layouts: dict[int, list[tuple[int, tuple[int, ...], np.dtype]]] = {}

    def both(self) -> list[PretextTask]:
        """The two tasks."""
        return [cast(PretextTask, task) for task in self.tasks]

    @property
    def view(self) -> ClipView:
        """That of the first task."""
        return self.both()[0].view

    def why_unusable(self, video: VideoRecord) -> str | None:
        """The reason of the task that cannot use the video."""
        return next((reason for task in self.both() if (reason := task.why_unusable(video)) is not None), None)

    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Indices (V,T) of the clips of the first task and then of the second, and both targets as one row of float64."""
        asked = [task.sample(video, rng, training) for task in self.both()]
        lengths = [clips.indices.shape[1] for clips in asked]
        if lengths[0] != lengths[1]:
            raise ConfigError(
                f"joint: clips of {lengths[0]} and of {lengths[1]} frames cannot stand in one batch; name other tasks"
            )
        indices = np.concatenate([clips.indices for clips in asked])
        self.layouts[len(indices)] = [(len(clips.indices), clips.target.shape, clips.target.dtype) for clips in asked]
        return Clips(indices, np.concatenate([clips.target.ravel().astype(np.float64) for clips in asked]))

    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips (B,V,C,T,H,W), target (B,N) -> the balanced loss, the mean accuracy, and what each task returns under its name."""
        values: dict[str, Tensor] = {}
        losses, accuracies, chances = [], [], []
        for task, name, (shown, answer) in zip(self.both(), self.names, self.parts(clips, target), strict=True):
            task.first_share = self.first_share
            found = task(shown, answer)
            losses.append(found["loss"])
            accuracies.append(found["accuracy"])
            chances.append(found.get("chance", torch.full_like(found["accuracy"], task.chance)))
            values |= {f"{name}_{key}": value for key, value in found.items()}
        loss = torch.stack([(-s).exp() * one + s for s, one in zip(self.uncertainty, losses, strict=True)]).sum()
        mean = {"accuracy": torch.stack(accuracies).mean(0), "chance": torch.stack(chances).mean(0)}
        return {"loss": loss, **mean, **values}

    def parts(self, clips: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Clips and targets of each task, of those of a batch."""
        clip = place = 0
        for count, shape, kind in self.layouts[clips.shape[1]]:
            size = prod(shape)
            answer = target[:, place : place + size].unflatten(1, shape) if shape else target[:, place]
            yield clips[:, clip : clip + count], answer.to(torch.from_numpy(np.zeros(0, kind)).dtype)
            clip, place = clip + count, place + size

    def prepare(self, clips: Tensor) -> None:
        """Each task with its own clips."""
        place = 0
        for task, (count, _, _) in zip(self.both(), self.layouts[clips.shape[1]], strict=True):
            task.prepare(clips[:, place : place + count])
            place += count

    def visualize(self, clips: Tensor, target: Tensor) -> Iterator[CaptionedFrames]:
        """What each task draws."""
        for task, (shown, answer) in zip(self.both(), self.parts(clips, target), strict=True):
            yield from task.visualize(shown, answer)
