"""What a network costs: parameters and multiply-adds, counted without computing anything."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ssvid.zoo import create_model


def count_parameters(model: nn.Module) -> int:
    """Number of trainable and frozen parameters; buffers, as batch norm's running statistics, do not count."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: str | nn.Module, frames: int, size: int) -> int:
    """Multiply-adds of encoding one clip (1,3,frames,size,size): what papers print as "FLOPs".

    Args:
        model: a backbone's name, or a network that takes such clips.
        frames: T.
        size: H = W, pixels.

    The forward pass runs on the meta device, where shapes are worked out and no number is computed: it takes no memory,
    and it is exact where counting on a CPU misses fused operations (LSTM, attention in evaluation mode).
    """
    with torch.device("meta"):
        net = create_model(model) if isinstance(model, str) else copy.deepcopy(model).to("meta")
        clip = torch.empty(1, 3, frames, size, size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(clip)
    return int(counter.get_total_flops()) // 2
