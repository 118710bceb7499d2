"""Time-domain convolution: kernels across windows of steps, before pooling (Ng et al., CVPR 2015, arXiv:1503.08909).

Windows are 10 steps, 5 apart, see `ssvid.zoo.pooled_head`; those that the end of a clip cuts are followed by zeros.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.zoo.pooled_head import STRIDE, WINDOW, dense, joined, larger, missing
from ssvid.zoo.recurrence import StepByStep, as_map, check_positive, mean_over_space

HEADS = {
    "time_conv": {
        "description": "convolution across windows of steps, maximum over time, then two layers",
        "source": "arXiv:1503.08909",
        "licence": "Apache-2.0",
    }
}


def build(name: str, dim: int, *, hidden: int = 0, kernels: int = 256) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,1,1,1).

    hidden: units of each layer, 0 for the size of the encoder's vectors; the paper's 4096. kernels: of the convolution, the paper's 256.
    """
    check_positive(name, kernels=kernels)
    return TimeConv(dim, hidden or dim, kernels)


State = tuple[
    Tensor, Tensor | None
]  # steps (B,D,n,h,w) of the windows that are not complete; the largest values of those that are


class TimeConv(StepByStep):
    """A convolution of 3 x 3 cells across windows of steps, maximum over time, two layers: (B,D,t,h,w) -> (B,H,1,1,1)."""

    def __init__(self, dim: int, units: int, kernels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(dim, kernels, (WINDOW, 3, 3), (STRIDE, 1, 1), (0, 1, 1))
        self.layers = nn.Sequential(dense(kernels, units), dense(units, units))

    def forward(self, maps: Tensor) -> Tensor:
        """Compute."""
        return as_map(self.layers(self.convolve(maps).amax(1)))

    def convolve(self, maps: Tensor) -> Tensor:
        """A vector for every window: (B,D,t,h,w) -> (B,ceil(t/5),kernels)."""
        return mean_over_space(self.conv(F.pad(maps, (0, 0, 0, 0, 0, missing(maps.shape[2])))).relu())

    def step(self, maps: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The next step of a stream."""
        recent, done = state or (None, None)
        recent = joined(recent, maps, 2)
        given = self.convolve(recent)
        out: Tensor = self.layers(larger(done, given.amax(1)))[..., None, None]
        if recent.shape[2] == WINDOW:
            recent, done = recent[:, :, STRIDE:], larger(done, given[:, 0])
        return out, (recent, done)
