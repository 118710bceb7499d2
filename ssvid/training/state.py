"""What a run is while it trains: a task, its optimiser and the average of its weights; as a checkpoint has them, and back from one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule

from ssvid.data.index import VideoRecord
from ssvid.training.average import AveragedWeights
from ssvid.training.resuming import check_data, data_mark
from ssvid.training.run import Run
from ssvid.training.task import PretextTask


@dataclass
class TrainingState:
    """A task as it trains, and wrapped for its processes; its optimiser, bare and wrapped; the average of its weights where one is kept."""

    task: PretextTask
    model: _FabricModule
    optimizer: torch.optim.Optimizer
    stepper: Any
    average: AveragedWeights | None = None

    def snapshot(self, step: int, videos: Sequence[VideoRecord] = ()) -> dict[str, Any]:
        """All that a run needs to go on: weights, their average, optimiser state, step, and the mark of its videos."""
        average = {"average": self.average.state_dict()} if self.average else {}
        return {
            "task": self.task.state_dict(),
            **average,
            "optimizer": self.optimizer.state_dict(),
            "step": step,
            "data": data_mark(videos),
        }

    def restore(self, run: Run, videos: Sequence[VideoRecord] = ()) -> int:
        """Put the run's snapshot back where there is one; returns the number of steps done. Raises DataError for other videos."""
        state = run.checkpoint()
        if state is None:
            return 0
        if videos:
            check_data(run, state.get("data"), videos)
        run.fill(self.task, state["task"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])

    def save(self, step: int, videos: Sequence[VideoRecord], run: Run, fabric: Fabric) -> None:
        """Write the checkpoint, on rank 0."""
        if fabric.is_global_zero:
            run.save(self.snapshot(step, videos))

    def save_last_good(self, step: int, videos: Sequence[VideoRecord], run: Run, fabric: Fabric) -> None:
        """As `save`, before a loss that is not finite; an older checkpoint stays where the weights are not finite either."""
        if not fabric.is_global_zero:
            return
        snapshot = self.snapshot(step, videos)
        weights = [value for value in snapshot["task"].values() if value.is_floating_point()]
        if all(bool(torch.isfinite(value).all()) for value in weights) or run.checkpoint() is None:
            run.save(snapshot)
