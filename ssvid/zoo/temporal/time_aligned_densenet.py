"""Time-aligned DenseNet: a layer for every step, which sees that step and what all layers before it gave (Ghodrati, Gavves and Snoek,
Video Time: Properties, Encoders and Evaluation, BMVC 2018).

Layers do not share weights, so that the head has no memory to carry along and no gradient through time to lose; it has a fixed number of
steps instead. The paper left no code, and this is our reading of it: sizes are those of a reimplementation, and a clip of another number of
steps is averaged to as many, or its steps are repeated.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.zoo.recurrence import check_positive

HEADS = {
    "time_aligned_densenet": {
        "description": "a densely connected layer for every step",
        "source": "Ghodrati, Gavves and Snoek, Video Time, BMVC 2018; our reading",
        "licence": "Apache-2.0",
    }
}


def build(
    name: str, dim: int, *, hidden: int = 0, steps: Literal[4, 8, 16] = 8, width: int = 64, growth: int = 64
) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,1,h,w).

    hidden: channels of the map, 0 for as many as the encoder's. steps: layers, each for one step. width: channels to which the encoder's
    map is reduced. growth: channels that each layer gives.
    """
    check_positive(name, width=width, growth=growth)
    return TimeAlignedDenseNet(dim, hidden or dim, steps, width, growth)


class TimeAlignedDenseNet(nn.Module):
    """Reduced steps, a layer for each, and one for what all of them gave: (B,D,t,h,w) -> (B,H,1,h,w)."""

    def __init__(self, dim: int, hidden: int, steps: int, width: int, growth: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(nn.Conv3d(dim, width, 1, bias=False), nn.BatchNorm3d(width), nn.ReLU())
        self.layers = nn.ModuleList(dense_layer(width + growth * step, growth) for step in range(steps))
        self.embed = nn.Sequential(
            nn.Conv2d(steps * growth, hidden, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(hidden), nn.Dropout(0.5)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Compute."""
        aligned = F.adaptive_avg_pool3d(self.reduce(maps), (len(self.layers), *maps.shape[3:]))
        given: list[Tensor] = []
        for layer, step in zip(self.layers, aligned.unbind(2), strict=True):
            given.append(layer(torch.cat([step, *given], 1)))
        embedded: Tensor = self.embed(torch.cat(given, 1))
        return embedded.unsqueeze(2)


def dense_layer(channels: int, growth: int) -> nn.Sequential:
    """Batch norm, ReLU, a 3 x 3 convolution: (B,channels,h,w) -> (B,growth,h,w)."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, growth, 3, padding=1, bias=False))
