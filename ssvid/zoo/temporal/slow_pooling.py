"""Slow pooling: a layer between a maximum over windows and one over all of them (Ng et al., CVPR 2015, arXiv:1503.08909).

Windows are 10 steps, 5 apart, see `ssvid.zoo.pooled_head`.
"""

from __future__ import annotations

from torch import Tensor, nn

from ssvid.zoo.pooled_head import STRIDE, WINDOW, dense, joined, larger, largest_in_windows
from ssvid.zoo.recurrence import StepByStep, as_map, mean_over_space

HEADS = {
    "slow_pooling": {
        "description": "maximum over windows, a layer, maximum over these, a layer",
        "source": "arXiv:1503.08909",
        "licence": "Apache-2.0",
    }
}


def build(name: str, dim: int, *, hidden: int = 0) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,1,1,1).

    hidden: units of each layer, 0 for the size of the encoder's vectors; the paper's 4096.
    """
    return SlowPooling(dim, hidden or dim)


State = tuple[
    Tensor, Tensor | None
]  # steps (B,n,D) of the windows that are not complete; the largest values of those that are


class SlowPooling(StepByStep):
    """Maximum over windows, a layer, maximum, a layer: (B,D,t,h,w) -> (B,H,1,1,1)."""

    def __init__(self, dim: int, units: int) -> None:
        super().__init__()
        self.window, self.whole = dense(dim, units), dense(units, units)

    def forward(self, maps: Tensor) -> Tensor:
        """Compute."""
        return as_map(self.whole(self.window(largest_in_windows(mean_over_space(maps))).amax(1)))

    def step(self, maps: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The next step of a stream."""
        recent, done = state or (None, None)
        recent = joined(recent, maps.mean((2, 3)), 1)
        given = self.window(largest_in_windows(recent))
        out: Tensor = self.whole(larger(done, given.amax(1)))[..., None, None]
        if recent.shape[1] == WINDOW:
            recent, done = recent[:, STRIDE:], larger(done, given[:, 0])
        return out, (recent, done)
