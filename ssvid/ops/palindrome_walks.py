"""Random walks over the nodes of a video: patches of its frames or cells of their feature maps, and the way there and back again."""

from __future__ import annotations

import torch
from torch import Tensor

from ssvid.ops.affinity import affinity_logits
from ssvid.ops.patches import same_place

DROPPED = (
    -3.0
)  # cosine of an edge that is cut: under any real one, yet finite, so a node that lost all its edges keeps them all


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
    logits = affinity_logits(a, b, temperature=temperature)
    if dropout:
        logits = logits.masked_fill(torch.rand_like(logits) < dropout, DROPPED / temperature)
    return logits.log_softmax(-1)


def follow(first: Tensor | None, then: Tensor) -> Tensor:
    """Log-probabilities of one step after another, log(exp(first) @ exp(then)); None stands still.

    The largest of each row and column is taken out, so that what is far below 1 does not vanish in the product.
    """
    if first is None:
        return then
    row, column = first.detach().amax(2, keepdim=True), then.detach().amax(1, keepdim=True)
    product = (first - row).exp() @ (then - column).exp()
    return product.clamp(min=torch.finfo(product.dtype).tiny).log() + row + column
