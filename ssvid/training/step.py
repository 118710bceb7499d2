"""One step of the optimiser: the shares of a batch forward and backward one after the other, then one update of the weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np
import torch
from lightly.utils.scheduler import cosine_warmup_schedule
from lightning_fabric import Fabric

from ssvid.config import PretrainConfig
from ssvid.data.loader import Batch
from ssvid.errors import SsvidError, some
from ssvid.training.state import TrainingState


class LossNotFinite(SsvidError):  # noqa: N818 it says what was met
    """The loss is infinite or no number; the weights are those before the step."""


def take_step(
    state: TrainingState, shares: Iterable[Batch], step: int, config: PretrainConfig, fabric: Fabric
) -> Iterator[tuple[Batch, dict[str, torch.Tensor]]]:
    """Learn from the shares of one step's batch and update the weights when all were seen; yields each with what the task says of it.

    Processes exchange gradients once, with the last share. Raises LossNotFinite, on all ranks alike.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(step, config)
    state.stepper.zero_grad()
    for share, batch in enumerate(shares):
        batch = batch.to(fabric.device).augmented()
        # for dropout, the only draw that is left to torch's own state; a share draws the same whichever process takes it
        torch.manual_seed(_mix(config.seed, step, fabric.global_rank * config.accumulate + share))
        state.task.first_share = share == 0
        with fabric.no_backward_sync(state.model, enabled=share + 1 < config.accumulate):
            values = state.model(batch.clips, batch.target)
            if not finite(values["loss"], fabric):
                raise LossNotFinite(not_finite(values["loss"], step, batch))
            fabric.backward(values["loss"] / config.accumulate)
        yield batch, values
    if config.clip_grad:
        fabric.clip_gradients(state.model, state.stepper, max_norm=config.clip_grad, error_if_nonfinite=False)
    state.stepper.step()
    if state.average:
        state.average.update()


def finite(loss: torch.Tensor, fabric: Fabric) -> bool:
    """Whether the loss is finite on all ranks: where one stopped alone, the others would wait for its gradients."""
    alright = torch.isfinite(loss.detach()).float()
    if fabric.world_size > 1:
        alright = cast(torch.Tensor, fabric.all_reduce(alright, reduce_op="min"))
    return bool(alright)


def not_finite(loss: torch.Tensor, step: int, batch: Batch) -> str:
    """What is said of a loss that is not finite: the step and the files of the batch."""
    if torch.isfinite(loss):
        return f"the loss of another process is not finite at step {step}"
    return (
        f"the loss is {loss.item()} at step {step}; lower lr or use precision=32-true. The weights before it are in checkpoints/last.pt. "
        f"Videos of the batch: {some(batch.paths)}"
    )


def learning_rate(step: int, config: PretrainConfig) -> float:
    """Learning rate of a step (1..steps): rises linearly over the warm-up, falls on a cosine to a thousandth."""
    warmup = round(config.warmup * config.steps)
    scale = cosine_warmup_schedule(
        step=step - 1,
        max_steps=config.steps,
        start_value=1.0,
        end_value=0.001,
        warmup_steps=warmup,
        warmup_start_value=0.0,
    )
    result: float = config.lr * scale
    return result


def _mix(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
