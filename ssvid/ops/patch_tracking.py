"""Places of a patch in a frame: (x, y, angle) of its middle and turn at a fixed scale, the frame being -1..1; places are (B,3)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.ops.affinity import affinity

SCALE = 1 / 3  # side of the patch, of the frame's
LATTICE, LIVELIEST = 7, 10  # cells along a side that middles fall in, and how many of these, by motion, are drawn from
TURN = math.pi / 4  # largest angle, radians


def side_of(size: int) -> int:
    """Side of the patch in px, or in cells, for that of the frame."""
    return round(size * SCALE)


def tracker(cells: int, inner: int) -> nn.Sequential:
    """Two convolutions and a linear layer from matches (B,h*w,p,p) to a place. cells: h = w, of a frame; inner: p, of its patch."""
    first, second = (nn.Conv2d(*width, 3, padding=1) for width in ((cells**2, 128), (128, 64)))
    last = nn.Linear(64 * inner**2, 3)
    return nn.Sequential(first, nn.LeakyReLU(0.1), second, nn.LeakyReLU(0.1), nn.Flatten(), last)


def lively(now: Tensor, later: Tensor, draws: Tensor) -> Tensor:
    """A place where two frames (B,C,H,H) differ: draws (B,4) on 0..1 say which of the liveliest cells, where in it (y, x), what angle.

    A cell's motion is that of the patches around it: the mean absolute difference. The patch lies inside the frame before it is turned.
    """
    motion = F.avg_pool2d((later - now).abs().mean(1, keepdim=True), side_of(now.shape[-1]), 1)  # by the patch's middle
    cells = F.adaptive_avg_pool2d(motion, LATTICE).flatten(1).topk(LIVELIEST).indices
    cell = cells.gather(1, (draws[:, :1] * LIVELIEST).long())  # (B,1)
    y, x = (torch.cat([cell // LATTICE, cell % LATTICE], 1) + draws[:, 1:3]).mul(2 / LATTICE).sub(1).unbind(1)
    return torch.stack([x * (1 - SCALE), y * (1 - SCALE), (2 * draws[:, 3] - 1) * TURN], 1)


def points(place: Tensor, side: int) -> Tensor:
    """Where the side x side cells of a patch lie in the frame: (B,side,side,2) of x, y."""
    x, y, angle = place.unbind(1)
    cos, sin = SCALE * angle.cos(), SCALE * angle.sin()
    affine = torch.stack([torch.stack([cos, -sin, x], 1), torch.stack([sin, cos, y], 1)], 1)
    return F.affine_grid(affine, [len(place), 1, side, side], align_corners=False)


def cut_patch(frames: Tensor, place: Tensor, side: int) -> Tensor:
    """The patch (B,C,side,side) at a place of frames or feature maps (B,C,h,w), bilinear; beyond the edge, what is at the edge."""
    return F.grid_sample(frames, points(place, side), padding_mode="border", align_corners=False)


def match(patch: Tensor, frame: Tensor, temperature: float) -> Tensor:
    """Probability (B,p,p,h,w) of each frame cell for each patch cell, by the cosine of their features (B,D,p,p) and (B,D,h,w); in fp32."""
    query, keys = (features.flatten(2).transpose(1, 2) for features in (patch, frame))
    weights = affinity(query, keys, similarity="cosine", temperature=temperature)  # (B,p*p,h*w)
    cells: Tensor = weights.unflatten(2, frame.shape[2:]).unflatten(1, patch.shape[2:])
    return cells


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared distance (B,) of the points of a patch at place a from the same points at place b.

    In closed form: points spread evenly over a square of half side s lie 2 s**2 / 3 from its middle in the mean square.
    """
    turned = 4 / 3 * SCALE**2 * (1 - (a[:, 2] - b[:, 2]).cos())
    return (a[:, :2] - b[:, :2]).square().sum(1) + turned


def explained(match: Tensor, place: Tensor) -> Tensor:
    """Share (B,) of the matches that a place explains: match (B,p,p,h,w), the probability of each frame cell for each patch cell.

    A match counts by a Gaussian of one cell's width around where the place puts the patch cell, so that both learn.
    """
    p, h, w = match.shape[2:]
    y, x = ((torch.arange(n, device=match.device) + 0.5) / n * 2 - 1 for n in (h, w))
    there = points(place, p)
    off_y, off_x = (
        (there[..., 1, None] - y) * h / 2,
        (there[..., 0, None] - x) * w / 2,
    )  # in cells, (B,p,p,h) and (B,p,p,w)
    near = (-off_y.square() / 2).exp()[..., :, None] * (-off_x.square() / 2).exp()[..., None, :]
    return (match * near).sum((3, 4)).mean((1, 2))


def hit(answer: Tensor, truth: Tensor) -> Tensor:
    """1 where the middle of a patch is placed less than a quarter of its side away from where it is, else 0: (B,3), (B,3) -> (B,)."""
    result: Tensor = ((answer - truth)[:, :2].norm(dim=1) < SCALE / 2).float()
    return result
