"""Random walks over the nodes of a video: patches of its frames or cells of their feature maps, and the way there and back again."""

from __future__ import annotations

import torch
from torch import Tensor

from ssvid.data.augment import crop_and_resize

DROPPED = (
    -3.0
)  # likeness of an edge that is cut: under any cosine, yet finite, so a node that lost all its edges keeps them all


def cut_patches(frames: Tensor, boxes: Tensor, patch: int, grid: int) -> Tensor:
    """A lattice of grid x grid patches over each frame, each then cut to its own box: (B,T,C,H,W) -> (B,T,N,C,patch,patch).

    boxes: (B,T,N,4), inside the patch, as Augment draws them. The lattice reaches from edge to edge; patches may overlap.
    """
    rows, columns = (torch.linspace(0, side - patch, grid).round().long().tolist() for side in frames.shape[3:])
    patches = torch.stack([frames[..., y : y + patch, x : x + patch] for y in rows for x in columns], 2)
    return crop_and_resize(patches.flatten(0, 2)[:, None], boxes.reshape(-1, 1, 4), patch).view_as(patches)


def cut_twice(frames: Tensor, boxes: Tensor) -> Tensor:
    """Every frame by two boxes (B,2,T,4), resized to the whole: (B,T,C,H,H) -> (B,2,T,C,H,H)."""
    return torch.stack([crop_and_resize(frames, way, frames.shape[-1]) for way in boxes.unbind(1)], 1)


def same_place(first: Tensor, second: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Which cell of one crop of a frame shows what lies at the centre of each cell of another crop of it, and whether any does.

    first, second: boxes (B,4) in one frame, each of cells x cells. Returns long and bool (B,N), row by row; where none does, a near one.
    """
    centres = (torch.arange(cells, device=first.device) + 0.5) / cells * 2 - 1
    x, y = (first[:, i, None] + first[:, i + 2, None] * centres for i in (0, 1))  # in the frame, (B,cells)
    x, y = (((place - second[:, i, None]) / second[:, i + 2, None] + 1) / 2 * cells for i, place in enumerate((x, y)))
    inside = ((y >= 0) & (y < cells))[:, :, None] & ((x >= 0) & (x < cells))[:, None]
    row, column = (place.floor().long().clamp(0, cells - 1) for place in (y, x))
    return (row[:, :, None] * cells + column[:, None]).flatten(1), inside.flatten(1)


def homes(boxes: Tensor | None, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For nodes (B,W,T,N,D): their numbers, those of the nodes where walks from them should end, and the weight of each, all (B,N).

    boxes: those of `cut_twice`; None where a walk comes back to the very patch it left. The weights of a video sum to 1; they are 0
    where the content of a node is not in the second crop.
    """
    B, N = len(nodes), nodes.shape[3]
    start = torch.arange(N, device=nodes.device).expand(B, N)
    if boxes is None:
        return start, start, torch.full_like(start, 1 / N, dtype=torch.float32)
    home, inside = same_place(boxes[:, 0, 0], boxes[:, 1, 0], round(N**0.5))
    return start, home, inside / inside.sum(1, keepdim=True).clamp(min=1)


Walks = list[Tensor]


def palindromes(there: Tensor, back: Tensor, temperature: float, dropout: float = 0.0) -> tuple[Walks, Walks]:
    """Where walks from the nodes of frame 0 stand at frame k, and where they end back at frame 0: log-probabilities (B,N,N).

    One of each for every k = 1 .. T-1. there, back: unit vectors (B,T,N,D) of the nodes on the way there and on the way back, the same
    where the frames are seen once. dropout: share of the edges cut, by a draw of its own for every step and direction.
    In fp32 whatever comes in.
    """
    with torch.autocast(there.device.type, enabled=False):
        there, back = there.float(), back.float()
        away: list[Tensor] = []
        ends: list[Tensor] = []
        home: Tensor | None = None
        for k in range(1, there.shape[1]):
            away.append(follow(away[-1] if away else None, step(there[:, k - 1], there[:, k], temperature, dropout)))
            turn = step(there[:, k], back[:, k - 1], temperature, dropout)
            end, last = follow(away[-1], turn), step(back[:, k], back[:, k - 1], temperature, dropout)
            ends.append(end if home is None else follow(end, home))
            home = last if home is None else follow(last, home)
        return away, ends


def step(a: Tensor, b: Tensor, temperature: float, dropout: float = 0.0) -> Tensor:
    """Log-probability of each step from a node of one frame to one of another: unit vectors (B,N,D), (B,M,D) -> (B,N,M)."""
    likeness = a @ b.transpose(1, 2)
    if dropout:
        likeness = likeness.masked_fill(torch.rand_like(likeness) < dropout, DROPPED)
    return (likeness / temperature).log_softmax(-1)


def follow(first: Tensor | None, then: Tensor) -> Tensor:
    """Log-probabilities of one step after another, log(exp(first) @ exp(then)); None stands still.

    The largest of each row and column is taken out, so that what is far below 1 does not vanish in the product.
    """
    if first is None:
        return then
    row, column = first.detach().amax(2, keepdim=True), then.detach().amax(1, keepdim=True)
    product = (first - row).exp() @ (then - column).exp()
    return product.clamp(min=torch.finfo(product.dtype).tiny).log() + row + column
