"""Fixed features of the pixels, without a parameter: colours, mean frame and differences of frames, the floor for learnt features.

The maps are averaged down to a grid of fixed size, so that the number of channels does not depend on the size of the frames.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GRID = 48  # cells of a map along a side
BINS = 16  # of each colour's histogram
SEGMENTS = 4  # equal parts of a clip, each with its own map of differences

MODELS = {
    "*": {
        "frames": 16,
        "size": 48,
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "learns": False,
        "source": "here",
        "licence": "Apache-2.0",
    },
    "baseline_histogram": {"description": "No weights: how much of each colour, 16 bins of R, G and B"},
    "baseline_mean_frame": {"description": "No weights: what is where on average, 48 x 48 x RGB"},
    "baseline_difference": {
        "description": "No weights: where it moves, differences of frames in 4 stretches of 48 x 48",
    },
}


def build(name: str) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,T,1,1), or (B,D,1,1,1) for the one that compares frames."""
    trunks = {"baseline_histogram": histogram, "baseline_mean_frame": frame, "baseline_difference": difference}
    return Fixed(trunks[name])


class Fixed(nn.Module):
    """A function of the pixels, (B,3,T,H,W) on 0..1, as a trunk."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        return self.function(x)


def histogram(pixels: Tensor) -> Tensor:
    """Share of the pixels of every frame whose R, G, B fall into each of `BINS` bins: (B,3,T,H,W) -> (B,3*BINS,T,1,1)."""
    bins = (pixels * BINS).long().clamp(0, BINS - 1)
    shares = torch.stack([(bins == number).to(pixels.dtype).mean((3, 4)) for number in range(BINS)], 2)
    return shares.flatten(1, 2)[..., None, None]


def frame(pixels: Tensor) -> Tensor:
    """Every frame, small, its pixels as channels, so that averaging over time gives the mean frame: -> (B,3*GRID*GRID,T,1,1)."""
    small = F.adaptive_avg_pool3d(pixels, (pixels.shape[2], GRID, GRID))
    return small.transpose(1, 2).flatten(2).transpose(1, 2)[..., None, None]


def difference(pixels: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring frames in grey, in `SEGMENTS` stretches: -> (B,SEGMENTS*GRID*GRID,1,1,1)."""
    grey = torch.einsum("bcthw,c->bthw", pixels, pixels.new_tensor([0.299, 0.587, 0.114]))
    moved = grey.diff(dim=1, prepend=grey[:, :1]).abs()  # nothing yet in the first frame
    maps = F.adaptive_avg_pool3d(moved[:, None], (SEGMENTS, GRID, GRID))
    return maps.flatten(1)[..., None, None, None]
