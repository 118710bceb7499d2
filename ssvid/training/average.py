"""The moving average of a task's weights: what is exported is less noisy than where the last step happens to end."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ssvid.training.sharding import shared

LEAST = torch.float32  # in bfloat16, a hundredth of a change is lost in rounding


class AveragedWeights:
    """Exponential moving average of the parameters: average <- decay * average + (1 - decay) * weights, once a step.

    It begins with the weights that the run begins with, and is kept in 32 bits at least. Buffers, as the running statistics of batch norm,
    are no weights: they are copied (as by `torch.optim.swa_utils.AveragedModel`). Polyak and Juditsky, 1992; decay: 0..1.
    """

    def __init__(self, task: nn.Module, decay: float) -> None:
        self.task = task
        self.weights = {name: _copy(weight) for name, weight in task.named_parameters()}
        self._update = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the task's weights after a step."""
        now = [weight.detach().to(self.weights[name].dtype) for name, weight in self.task.named_parameters()]
        self._update(list(self.weights.values()), now, 0)

    def state_dict(self) -> dict[str, Tensor]:
        """The task's state with the average in place of the weights."""
        return {**self.task.state_dict(), **self.weights}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on with the average of a checkpoint."""
        for name, weight in self.weights.items():
            weight.copy_(shared(state[name], weight))

    @torch.no_grad()
    def apply(self) -> None:
        """Give the task the average for its weights."""
        for name, weight in self.task.named_parameters():
            weight.copy_(self.weights[name])


def _copy(weight: Tensor) -> Tensor:
    return weight.detach().to(torch.promote_types(weight.dtype, LEAST), copy=True)
