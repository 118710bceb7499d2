"""What a run is while it trains: a task, its optimiser and the average of its weights; as a checkpoint has them, and back from one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule

from ssvid.config import PretrainConfig
from ssvid.data.video_record import VideoRecord
from ssvid.training.average import AveragedWeights
from ssvid.training.build import build_task
from ssvid.training.resuming import check_data, data_mark
from ssvid.training.run import Run
from ssvid.training.sharding import gathered, shared, shared_optimizer_state
from ssvid.training.task import PretextTask


@dataclass
class TrainingState:
    """A task as it trains, and wrapped for its processes; its optimiser, bare and wrapped; the average of its weights where one is kept;
    the videos it trains on."""

    task: PretextTask
    model: _FabricModule
    optimizer: torch.optim.Optimizer
    stepper: Any
    average: AveragedWeights | None = None
    videos: Sequence[VideoRecord] = ()

    @cached_property
    def mark(self) -> dict[str, Any]:
        """What identifies the videos. It takes seconds where there are a million, so it is made once a run."""
        return data_mark(self.videos)

    def snapshot(self, step: int) -> dict[str, Any]:
        """All that a run needs to go on: weights, their average, optimiser state, step, and the mark of its videos.

        Tensors are whole ones. All processes have to call it where they share the weights out.
        """
        average = {"average": gathered(self.average.state_dict())} if self.average else {}
        return {
            "task": gathered(self.task.state_dict()),
            **average,
            "optimizer": gathered(self.optimizer.state_dict()),
            "step": step,
            "data": self.mark,
        }

    def whole(self, config: PretrainConfig, fabric: Fabric) -> PretextTask:
        """The task itself, or on rank 0 a copy with whole weights where they are shared out. All processes have to call it."""
        if config.strategy != "fsdp":
            return self.task
        weights = gathered(self.task.state_dict())
        if not fabric.is_global_zero:
            return self.task
        task = build_task(config)
        task.load_state_dict(weights)
        return task.to(fabric.device)

    def restore(self, run: Run) -> int:
        """Put the run's snapshot back where there is one; returns the number of steps done. Raises DataError for other videos."""
        state = run.checkpoint()
        if state is None:
            return 0
        check_data(run, state.get("data"), self.mark)
        now = self.task.state_dict()
        run.fill(self.task, {name: shared(value, now.get(name, value)) for name, value in state["task"].items()})
        if self.average:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(shared_optimizer_state(state["optimizer"], self.optimizer))
        return int(state["step"])

    def save(self, step: int, run: Run, fabric: Fabric) -> None:
        """Write the checkpoint, on rank 0."""
        snapshot = self.snapshot(step)
        if fabric.is_global_zero:
            run.save(snapshot)

    def save_last_good(self, step: int, run: Run, fabric: Fabric) -> None:
        """As `save`, before a loss that is not finite; an older checkpoint stays where the weights are not finite either."""
        snapshot = self.snapshot(step)
        if not fabric.is_global_zero:
            return
        weights = [value for value in snapshot["task"].values() if value.is_floating_point()]
        if all(bool(torch.isfinite(value).all()) for value in weights) or run.checkpoint() is None:
            run.save(snapshot)
