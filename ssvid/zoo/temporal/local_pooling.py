"""Local pooling: a maximum over each window, and two layers, windows kept apart (Ng et al., CVPR 2015, arXiv:1503.08909).

Windows are 10 steps, 5 apart, see `ssvid.zoo.pooled_head`. The paper's classifier sees all windows side by side, as it does with the pool
"none" of `ssvid.zoo.views`; what averages over the map's steps mixes them.
"""

from __future__ import annotations

from torch import Tensor, nn

from ssvid.zoo.pooled_head import STRIDE, WINDOW, dense, joined, largest_in_windows
from ssvid.zoo.recurrence import StepByStep, as_map, mean_over_space

HEADS = {
    "local_pooling": {
        "description": "maximum over windows and two layers, windows kept apart",
        "source": "arXiv:1503.08909",
        "licence": "Apache-2.0",
    }
}


def build(name: str, dim: int, *, hidden: int = 0) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,ceil(t/5),1,1).

    hidden: units of each layer, 0 for the size of the encoder's vectors; the paper's 4096.
    """
    return LocalPooling(dim, hidden or dim)


class LocalPooling(StepByStep):
    """Maximum over windows, two layers for each: (B,D,t,h,w) -> (B,H,ceil(t/5),1,1)."""

    delay = WINDOW // 2  # a window is given with its last step, and stands for the step in its middle

    def __init__(self, dim: int, units: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(dense(dim, units), dense(units, units))

    def forward(self, maps: Tensor) -> Tensor:
        """Compute."""
        return self.read(mean_over_space(maps))

    def read(self, vectors: Tensor) -> Tensor:
        """The map of some steps (B,n,D)."""
        return as_map(self.layers(largest_in_windows(vectors)))

    def step(self, maps: Tensor, state: Tensor | None) -> tuple[Tensor | None, Tensor]:
        """The next step of a stream, due where a window is complete; state: the steps (B,n,D) of the windows that are not."""
        recent = joined(state, maps.mean((2, 3)), 1)
        if recent.shape[1] < WINDOW:
            return None, recent
        return self.read(recent)[:, :, 0], recent[:, STRIDE:]

    def flush(self, state: Tensor | None) -> list[Tensor]:
        """The windows that the end has cut."""
        return [] if state is None else list(self.read(state).unbind(2))
