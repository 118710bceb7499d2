"""Weights, gradients and optimiser state shared out over the processes (FSDP), for a backbone that one device has no room for.

torch's second FSDP (`fully_shard`) through Fabric's ModelParallelStrategy: Fabric's own strategy "fsdp", the first one, runs on GPUs only.
Checkpoints hold whole tensors, as those of every run: a run may go on with another number of processes, or without sharing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning_fabric.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

LEAST = 100_000  # weights; fewer are not worth a message of their own


def sharding(processes: int) -> ModelParallelStrategy:
    """Fabric's strategy that shares a task out over all processes."""
    return ModelParallelStrategy(
        shard, data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False
    )


def shard(task: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Share out every block of a task, and what is in none; in place."""
    for module in [*blocks(task), task]:
        fully_shard(module, mesh=mesh["data_parallel"])
    return task


def blocks(task: nn.Module, least: int = LEAST) -> list[nn.Module]:
    """The elements of lists and sequences of layers that have `least` weights in no smaller such block; inner ones first."""
    found: list[nn.Module] = []
    taken: set[int] = set()
    elements = {
        id(child)
        for module in task.modules()
        if isinstance(module, nn.Sequential | nn.ModuleList)
        for child in module.children()
    }
    for module in reversed(list(task.modules())):  # a module comes before what is in it
        own = [weight for weight in module.parameters() if id(weight) not in taken]
        callable_block = id(module) in elements and not isinstance(module, nn.ModuleList)
        if callable_block and sum(weight.numel() for weight in own) >= least:
            found.append(module)
            taken |= {id(weight) for weight in own}
    return found


def gathered(state: Any) -> Any:
    """A snapshot with whole tensors on the CPU in place of shares; itself where there are none. All processes have to call it."""
    if isinstance(state, Mapping):
        return {key: gathered(value) for key, value in state.items()}
    if isinstance(state, list):
        return [gathered(value) for value in state]
    return state.full_tensor().cpu() if isinstance(state, DTensor) else state


def shared(value: Any, like: Tensor) -> Any:
    """A whole tensor shared out as `like` is, where that is and has its shape; else as it stands. All processes have to call it."""
    if not isinstance(like, DTensor) or not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value.to(like.device, like.dtype), like.device_mesh, like.placements)


def shared_optimizer_state(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimiser's whole state shared out as its weights are."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    states = {
        number: {name: shared(value, weights[number]) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return {**state, "state": states}
