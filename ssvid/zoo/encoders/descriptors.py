"""Descriptors of the years before learnt features, without a weight: HOG, HOF and MBH (Dalal et al., CVPR 2005 and ECCV 2006).

Histograms of orientation, weighted with magnitude, in a grid of cells: of the gradients of grey (HOG), of the optical flow (HOF, with a bin
for what stands still), and of the gradients of the flow's two parts, which do not see the camera's even motion (MBH). They are taken in
every frame on a fixed grid, not along trajectories (Wang et al., IJCV 2013), which would need a tracker.
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
}


def build(name: str) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,t,1,1), t = T, and T - 1 where flow is taken but 1 for a single frame."""
    trunks: dict[str, Callable[[Tensor], Tensor]] = {
        "baseline_hog": hog,
        "baseline_hof": hof,
        "baseline_mbh": mbh,
        "baseline_hog_hof": hog_hof,
    }
    return Fixed(trunks[name])


def hog(pixels: Tensor) -> Tensor:
    """Orientation of the gradients of grey, opposite ones alike: (B,3,T,H,W) on 0..1 -> (B,BINS*GRID*GRID,T,1,1)."""
    grey = torch.einsum("bcthw,c->bthw", pixels, pixels.new_tensor(LUMA))
    dy, dx = torch.gradient(grey, dim=(2, 3))
    return _histograms(dx, dy, signed=False)


def hof(pixels: Tensor) -> Tensor:
    """Direction of the flow to the next frame, and what stands still: (B,3,T,H,W) on 0..1 -> (B,(BINS+1)*GRID*GRID,T,1,1)."""
    return _directions(*_flow(pixels))


def mbh(pixels: Tensor) -> Tensor:
    """Orientation of the gradients of each part of the flow: (B,3,T,H,W) on 0..1 -> (B,2*BINS*GRID*GRID,T,1,1)."""
    return _boundaries(*_flow(pixels))


def hog_hof(pixels: Tensor) -> Tensor:
    """All three, (B,3,T,H,W) on 0..1 -> (B,(4*BINS+1)*GRID*GRID,T,1,1)."""
    flow = _flow(pixels)
    return torch.cat([hog(pixels), _directions(*flow), _boundaries(*flow)], 1)


def _flow(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """x and y (B,T,H,W) of the flow to the next frame, in px of a frame of 48 px; the last frame has that of the one before."""
    if pixels.shape[2] < 2:
        still = torch.zeros_like(pixels[:, 0])
        return still, still
    flow = optical_flow(pixels).to(pixels.dtype) * 48 / pixels.shape[-1]
    x, y = torch.cat([flow, flow[:, :, -1:]], 2).unbind(1)
    return x, y


def _directions(x: Tensor, y: Tensor) -> Tensor:
    still = torch.hypot(x, y) < STILL
    return _histograms(x.masked_fill(still, 0), y.masked_fill(still, 0), signed=True, extra=still.to(x.dtype))


def _boundaries(x: Tensor, y: Tensor) -> Tensor:
    gradients = [torch.gradient(part, dim=(2, 3)) for part in (x, y)]
    return torch.cat([_histograms(dx, dy, signed=True) for dy, dx in gradients], 1)


def _histograms(dx: Tensor, dy: Tensor, signed: bool, extra: Tensor | None = None) -> Tensor:
    """Magnitude by orientation and cell, each frame's histogram of length 1: (B,T,H,W) twice -> (B,D,T,1,1).

    A magnitude is shared by the two bins whose middles its orientation lies between, so that a small turn changes little. signed: opposite
    orientations count as two. extra: a further bin (B,T,H,W).
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
    B, T = dx.shape[:2]
    stacked = torch.stack([*maps, *([] if extra is None else [extra])], 2).flatten(0, 1)  # (B*T,bins,H,W)
    cells = F.adaptive_avg_pool2d(stacked, GRID).flatten(1)
    lengths = cells.norm(dim=1, keepdim=True).clamp(min=1e-3)  # what hardly moves is not blown up
    normalised: Tensor = cells / lengths
    return normalised.view(B, T, -1).transpose(1, 2)[..., None, None]
