"""Descriptors of the years before learnt features, without a weight: HOG, HOF and MBH (Dalal et al., CVPR 2005 and ECCV 2006).

Histograms of orientation, weighted with magnitude, in a grid of cells: of the gradients of grey (HOG), of the optical flow (HOF, with a bin
for what stands still), and of the gradients of the flow's two parts, which do not see the camera's even motion (MBH). They are taken in
every frame on a fixed grid, not along trajectories (Wang et al., IJCV 2013), which would need a tracker.

`baseline_local` gives a map of them, a descriptor for every 8 px and 5 frames, for protocols that fit a codebook on the training videos:
`fisher` and `bag_of_words`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.data.flow import LUMA, optical_flow
from ssvid.zoo.encoders.baselines import Fixed

GRID = 6  # cells along a side
BINS = 8  # of orientation
CELL, SPAN = 8, 5  # px and frames that a cell of local descriptors averages; a descriptor is of 2 x 2 cells
STILL = 0.4  # px a frame at 48 px: slower counts as standing still (HOF)

MODELS = {
    "*": {
        "frames": 16,
        "size": 96,
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "learns": False,
        "source": "here",
        "licence": "Apache-2.0",
    },
    "baseline_hog": {"description": "No weights: orientations of edges, 8 bins in 6 x 6 cells"},
    "baseline_hof": {"description": "No weights: directions of optical flow, 8 bins and standing still in 6 x 6 cells"},
    "baseline_mbh": {"description": "No weights: orientations of motion boundaries, 2 x 8 bins in 6 x 6 cells"},
    "baseline_hog_hof": {"description": "No weights: HOG, HOF and MBH side by side"},
    "baseline_local": {"description": "No weights: HOG, HOF and MBH of 16 x 16 px and 5 frames, every 8 px"},
}


def build(name: str) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,T,1,1), and (B,D,ceil(T/5),H//8-1,W//8-1) for local descriptors."""
    trunks: dict[str, Callable[[Tensor], Tensor]] = {
        "baseline_hog": hog,
        "baseline_hof": hof,
        "baseline_mbh": mbh,
        "baseline_hog_hof": hog_hof,
        "baseline_local": local,
    }
    return Fixed(trunks[name])


def hog(pixels: Tensor) -> Tensor:
    """Orientation of the gradients of grey, opposite ones alike: (B,3,T,H,W) on 0..1 -> (B,BINS*GRID*GRID,T,1,1)."""
    return _histograms(_edges(pixels))


def hof(pixels: Tensor) -> Tensor:
    """Direction of the flow to the next frame, and what stands still: (B,3,T,H,W) on 0..1 -> (B,(BINS+1)*GRID*GRID,T,1,1)."""
    return _histograms(_directions(*_flow(pixels)))


def mbh(pixels: Tensor) -> Tensor:
    """Orientation of the gradients of each part of the flow: (B,3,T,H,W) on 0..1 -> (B,2*BINS*GRID*GRID,T,1,1)."""
    return torch.cat([_histograms(bins) for bins in _boundaries(*_flow(pixels))], 1)


def hog_hof(pixels: Tensor) -> Tensor:
    """All three, (B,3,T,H,W) on 0..1 -> (B,(4*BINS+1)*GRID*GRID,T,1,1)."""
    flow = _flow(pixels)
    kinds = [_edges(pixels), _directions(*flow), *_boundaries(*flow)]
    return torch.cat([_histograms(bins) for bins in kinds], 1)


def local(pixels: Tensor) -> Tensor:
    """All three of 2 x 2 cells of 8 px and 5 frames: (B,3,T,H,W) on 0..1 -> (B,4*(4*BINS+1),ceil(T/5),H//8-1,W//8-1).

    Each kind is scaled to the sum 1 and its roots are taken, so that the distance of two descriptors is that of Hellinger.
    """
    flow = _flow(pixels)
    return torch.cat([_blocks(bins) for bins in (_edges(pixels), _directions(*flow), *_boundaries(*flow))], 1)


def _flow(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """x and y (B,T,H,W) of the flow to the next frame, in px of a frame of 48 px; the last frame has that of the one before."""
    if pixels.shape[2] < 2:
        still = torch.zeros_like(pixels[:, 0])
        return still, still
    flow = optical_flow(pixels).to(pixels.dtype) * 48 / pixels.shape[-1]
    x, y = torch.cat([flow, flow[:, :, -1:]], 2).unbind(1)
    return x, y


def _edges(pixels: Tensor) -> Tensor:
    grey = torch.einsum("bcthw,c->bthw", pixels, pixels.new_tensor(LUMA))
    dy, dx = torch.gradient(grey, dim=(2, 3))
    return _oriented(dx, dy, signed=False)


def _directions(x: Tensor, y: Tensor) -> Tensor:
    still = torch.hypot(x, y) < STILL
    moving = _oriented(x.masked_fill(still, 0), y.masked_fill(still, 0), signed=True)
    return torch.cat([moving, still.to(x.dtype)[:, :, None]], 2)


def _boundaries(x: Tensor, y: Tensor) -> list[Tensor]:
    gradients = [torch.gradient(part, dim=(2, 3)) for part in (x, y)]
    return [_oriented(dx, dy, signed=True) for dy, dx in gradients]


def _oriented(dx: Tensor, dy: Tensor, signed: bool) -> Tensor:
    """Magnitude by orientation at every pixel: (B,T,H,W) twice -> (B,T,BINS,H,W).

    A magnitude is shared by the two bins whose middles its orientation lies between, so that a small turn changes little. signed: opposite
    orientations count as two.
    """
    around = 2 * math.pi if signed else math.pi
    place = (torch.atan2(dy, dx) % around) / around * BINS
    low = place.floor()
    share = place - low
    magnitude = torch.hypot(dx, dy)
    maps = [
        magnitude * ((low % BINS == number) * (1 - share) + ((low + 1) % BINS == number) * share)
        for number in range(BINS)
    ]
    return torch.stack(maps, 2)


def _histograms(bins: Tensor) -> Tensor:
    """Bins of every cell of the grid, each frame's of length 1: (B,T,bins,H,W) -> (B,bins*GRID*GRID,T,1,1)."""
    cells = F.adaptive_avg_pool2d(bins.flatten(0, 1), GRID).flatten(1)
    lengths = cells.norm(dim=1, keepdim=True).clamp(min=1e-3)  # what hardly moves is not blown up
    return torch.unflatten(cells / lengths, 0, bins.shape[:2]).transpose(1, 2)[..., None, None]


def _blocks(bins: Tensor) -> Tensor:
    """Bins of 2 x 2 neighbouring cells of CELL px and SPAN frames, as roots of shares: (B,T,bins,H,W) -> (B,4*bins,t,h,w)."""
    cells = F.avg_pool3d(bins.transpose(1, 2), (1, CELL, CELL))
    cells = F.avg_pool3d(cells, (SPAN, 1, 1), ceil_mode=True)  # frames over at the end make a step of their own
    corners = [
        cells[..., down : down + cells.shape[3] - 1, right : right + cells.shape[4] - 1]
        for down in (0, 1)
        for right in (0, 1)
    ]
    block = torch.cat(corners, 1)
    return (block / block.sum(1, keepdim=True).clamp(min=4e-3)).sqrt()  # what hardly moves is not blown up
