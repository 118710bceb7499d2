"""Parts that heads which pool over time share (Ng et al., Beyond Short Snippets, CVPR 2015, arXiv:1503.08909).

What differs between the paper's five is where two layers (FC) stand, before or after the maximum over time; GAP is the mean over space:

    conv_pooling     maximum over time of every cell, then GAP, FC, FC               the paper's best of the five
    late_pooling     GAP, FC, FC of every step, then maximum over time
    slow_pooling     GAP, maximum over windows, FC of each, maximum of these, FC
    local_pooling    GAP, maximum over windows, FC, FC of each, the windows kept apart
    time_conv        3 x 3 convolution across windows, GAP, maximum over time, FC, FC     the paper's worst

The paper has 4096 units a layer, and up to 120 frames at one a second. Its layers are shared by the steps. A window is 10 steps and the
next one begins 5 later, here with those that the end of a clip cuts, so that every step counts and short clips can be pooled too.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOW, STRIDE = 10, 5  # steps


def dense(dim: int, units: int) -> nn.Sequential:
    """One layer for vectors (...,dim) -> (...,units), started for its ReLU."""
    layer = nn.Linear(dim, units)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return nn.Sequential(layer, nn.ReLU())


def larger(one: Tensor | None, other: Tensor) -> Tensor:
    """The larger of each pair of values, where there is a pair."""
    return other if one is None else torch.maximum(one, other)


def missing(t: int) -> int:
    """Steps that the last window lacks, of those that begin every STRIDE steps of t."""
    return (-(-t // STRIDE) - 1) * STRIDE + WINDOW - t


def largest_in_windows(vectors: Tensor) -> Tensor:
    """The largest values of every window, the last ones cut by the end: (B,t,D) -> (B,ceil(t/STRIDE),D)."""
    padded = F.pad(vectors, (0, 0, 0, missing(vectors.shape[1])), value=-torch.inf)
    return padded.unfold(1, WINDOW, STRIDE).amax(3)


def joined(recent: Tensor | None, step: Tensor, dim: int) -> Tensor:
    """The steps of the windows that are not complete, and one more."""
    return step.unsqueeze(dim) if recent is None else torch.cat([recent, step.unsqueeze(dim)], dim)
