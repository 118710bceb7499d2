"""The optimiser of a run, by name."""

from __future__ import annotations

import torch
from lightly.models.utils import get_weight_decay_parameters
from lightly.utils.lars import LARS
from torch import nn

from ssvid.config import OPTIMIZERS, PretrainConfig
from ssvid.errors import ConfigError


def make_optimizer(task: nn.Module, config: PretrainConfig) -> torch.optim.Optimizer:
    """The optimiser by name: adamw, sgd (momentum 0.9) or lars; norms and biases are not decayed."""
    decayed, free = get_weight_decay_parameters([task])
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9)
    if config.optimizer == "lars":
        result: torch.optim.Optimizer = LARS(groups, lr=config.lr, momentum=0.9)
        return result
    raise ConfigError(f"optimizer {config.optimizer!r} is not one of {', '.join(OPTIMIZERS)}")
