"""Fixed features of the pixels, without a parameter: colours, mean frame and differences of frames, the floor for learnt features.

The maps of all but the patches are averaged down to a grid of fixed size, so that the number of channels does not depend on the size of
the frames. The patches give a map for label propagation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GRID = 48  # cells of a map along a side
BINS = 16  # of each colour's histogram
SEGMENTS = 4  # equal parts of a clip, each with its own map of differences
BLOCK = 4  # px that are averaged; a patch is 3 x 3 of these, and a cell of the map 2 x 2

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
    "baseline_patches": {
        "description": "No weights: the colours of 12 x 12 px around every cell of 8 px",
        # around mid-grey: of colours on 0..1 the cosine is nearly 1 between any two, so that neighbours in a bright place beat the match
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    },
    "baseline_difference": {
        "description": "No weights: where it moves, differences of frames in 4 stretches of 48 x 48",
    },
}


def build(name: str) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,T,1,1), (B,D,1,1,1) for the one that compares frames, (B,27,T,h,w) for patches."""
    trunks = {
        "baseline_histogram": histogram,
        "baseline_mean_frame": frame,
        "baseline_patches": patches,
        "baseline_difference": difference,
    }
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


def patches(pixels: Tensor) -> Tensor:
    """Colours of 3 x 3 blocks of 4 px around the middle of every cell of 8 px: -> (B,27,T,H/8,W/8), rounded up.

    Beyond the border is what is at it.
    """
    frames = pixels.transpose(1, 2).flatten(0, 1)
    down, right = (-side % (2 * BLOCK) for side in frames.shape[2:])
    half = BLOCK // 2  # so that a block, not a corner of four, lies in the middle of a cell
    blocks = F.avg_pool2d(F.pad(frames, (half, right + half, half, down + half), mode="replicate"), BLOCK)
    around = F.unfold(blocks, 3, stride=2)
    maps = around.unflatten(2, (blocks.shape[2] // 2, blocks.shape[3] // 2))
    clips: Tensor = maps.unflatten(0, (pixels.shape[0], pixels.shape[2])).transpose(1, 2)
    return clips


def difference(pixels: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring frames in grey, in `SEGMENTS` stretches: -> (B,SEGMENTS*GRID*GRID,1,1,1)."""
    grey = torch.einsum("bcthw,c->bthw", pixels, pixels.new_tensor([0.299, 0.587, 0.114]))
    moved = grey.diff(dim=1, prepend=grey[:, :1]).abs()  # nothing yet in the first frame
    maps = F.adaptive_avg_pool3d(moved[:, None], (SEGMENTS, GRID, GRID))
    return maps.flatten(1)[..., None, None, None]
