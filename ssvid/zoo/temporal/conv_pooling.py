"""Conv pooling: the largest value of every cell over time, then two layers (Ng et al., CVPR 2015, arXiv:1503.08909)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.zoo.pooled_head import dense, larger
from ssvid.zoo.recurrence import StepByStep, check_positive

HEADS = {
    "conv_pooling": {
        "description": "maximum over time of every cell, then two layers",
        "source": "arXiv:1503.08909",
        "licence": "Apache-2.0",
    }
}


def build(name: str, dim: int, *, hidden: int = 0, grid: int = 1) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,1,1,1).

    hidden: units of each layer, 0 for the size of the encoder's vectors; the paper's 4096. grid: cells along a side, to which the pooled
    map is averaged before the layers: 1 is the mean over space, the paper keeps all cells of its map (6 or 7 along a side).
    """
    check_positive(name, grid=grid)
    return ConvPooling(dim, hidden or dim, grid)


class ConvPooling(StepByStep):
    """Maximum over time of every cell, a grid of cells, two layers: (B,D,t,h,w) -> (B,H,1,1,1)."""

    def __init__(self, dim: int, units: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.layers = nn.Sequential(dense(dim * grid * grid, units), dense(units, units))

    def forward(self, maps: Tensor) -> Tensor:
        """Compute."""
        return self.read(maps.amax(2)).unsqueeze(2)

    def read(self, largest: Tensor) -> Tensor:
        """What the layers make of the largest values (B,D,h,w): (B,H,1,1)."""
        vectors: Tensor = self.layers(F.adaptive_avg_pool2d(largest, self.grid).flatten(1))
        return vectors[..., None, None]

    def step(self, maps: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """The next step of a stream; state: the largest values so far."""
        largest = larger(state, maps)
        return self.read(largest), largest
