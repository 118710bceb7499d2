"""Mean over time: what a network of single frames does with a clip, and what every order of its steps gives alike."""

from __future__ import annotations

from torch import Tensor, nn

from ssvid.zoo.recurrence import StepByStep

HEADS = {
    "avg_pooling": {
        "description": "mean over time of every cell",
        "source": "arXiv:1503.08909",
        "licence": "Apache-2.0",
    }
}


def build(name: str, dim: int) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,dim,1,h,w)."""
    return AvgPooling()


class AvgPooling(StepByStep):
    """Mean over time: (B,D,t,h,w) -> (B,D,1,h,w)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Compute."""
        return maps.mean(2, keepdim=True)

    def step(self, maps: Tensor, state: tuple[Tensor, int] | None) -> tuple[Tensor, tuple[Tensor, int]]:
        """The mean so far; state: the sum and how many steps it holds."""
        total, count = (maps, 1) if state is None else (state[0] + maps, state[1] + 1)
        return total / count, (total, count)
