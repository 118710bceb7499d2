"""Late pooling: two layers for every step, then the largest values over time (Ng et al., CVPR 2015, arXiv:1503.08909)."""

from __future__ import annotations

from torch import Tensor, nn

from ssvid.zoo.pooled_head import dense, larger
from ssvid.zoo.recurrence import StepByStep, as_map, mean_over_space

HEADS = {
    "late_pooling": {
        "description": "two layers for every step, then maximum over time",
        "source": "arXiv:1503.08909",
        "licence": "Apache-2.0",
    }
}


def build(name: str, dim: int, *, hidden: int = 0) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,1,1,1).

    hidden: units of each layer, 0 for the size of the encoder's vectors; the paper's 4096.
    """
    return LatePooling(dim, hidden or dim)


class LatePooling(StepByStep):
    """Two layers for every step, maximum over time: (B,D,t,h,w) -> (B,H,1,1,1)."""

    def __init__(self, dim: int, units: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(dense(dim, units), dense(units, units))

    def forward(self, maps: Tensor) -> Tensor:
        """Compute."""
        return as_map(self.layers(mean_over_space(maps)).amax(1))

    def step(self, maps: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """The next step of a stream; state: the largest values so far, (B,H,1,1)."""
        out = self.forward(maps.unsqueeze(2)).squeeze(2)
        largest = larger(state, out)
        return largest, largest
