"""What tasks share that ask for the order of pieces: all orders, places apart, a head for pairs, cutting.

And what keeps a network from reading the order off something else than motion: noise, bars, level frames, channel replication.
"""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import torch
from torch import Tensor, nn

WIDEST = 0.35  # share of the side that a bar covers at most


def every(pieces: int) -> Tensor:
    """All K = N! orders of N pieces, int (K,N): row k says which piece stands at each place, counted as itertools counts.

    A task encodes its pieces once and asks for all K orders of the features. That costs a head, not a backbone, it is the loss of
    one random order on average with less noise, and every answer is asked for equally often, so that no habit of answering pays.
    """
    return torch.tensor(list(permutations(range(pieces))))


def up_to_reversal(pieces: int) -> tuple[Tensor, Tensor]:
    """All K = N! orders (K,N), and the class (K,) of each, 0..K/2-1, where an order and its reverse are one."""
    rows = every(pieces).tolist()
    forward = [row for row in rows if row[0] < row[-1]]
    return torch.tensor(rows), torch.tensor([forward.index(min(row, row[::-1])) for row in rows])


def spread_apart(count: int, length: int, gap: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """Rising places (count,) in 0..length-1, at least `gap` (1 or more) from each other: any, or without rng evenly over all."""
    if rng is None:
        result: np.ndarray = np.linspace(0, length - 1, count).round().astype(int)
        return result
    free = length - (count - 1) * (gap - 1)
    return np.sort(rng.choice(free, count, replace=False)) + np.arange(count) * (gap - 1)


class PairwiseHead(nn.Module):
    """Logits from features of N pieces at their places: each pair through one layer, all pairs side by side through another.

    Lee et al. (ICCV 2017) and Xu et al. (CVPR 2019): pieces are compared first, and what the comparisons say is weighed then.

    dim: D of a piece. pieces: N. classes: K. hidden: width of a pair. dropout: between the two layers. distances: a pair is told by how far
    its features are apart, channel by channel, and the square of that, instead of by both of them.
    """

    def __init__(
        self,
        dim: int,
        pieces: int,
        classes: int,
        *,
        hidden: int = 512,
        dropout: float = 0.5,
        distances: bool = False,
    ) -> None:
        super().__init__()
        self.pairs, self.distances = list(combinations(range(pieces), 2)), distances
        self.compare = nn.Sequential(nn.Linear(2 * dim, hidden), nn.ReLU())
        self.answer = nn.Sequential(nn.Dropout(dropout), nn.Linear(len(self.pairs) * hidden, classes))

    def forward(self, pieces: Tensor) -> Tensor:
        """(...,N,D) -> (...,K)."""
        pairs = pieces[..., self.pairs, :]  # (...,P,2,D)
        if self.distances:
            apart = (pairs[..., 0, :] - pairs[..., 1, :]).abs()
            pairs = torch.stack([apart, apart.square()], -2)
        pairs = pairs.flatten(-2)  # (...,P,2D)
        result: Tensor = self.answer(self.compare(pairs).flatten(-2))
        return result


def guard(clips: Tensor, mean: Tensor, std: Tensor, training: bool) -> Tensor:
    """What keeps frames that are compared from the three cues of their order: (B,V,C,T,H,W) -> the same shape.

    In training, noise up to a tenth of the spread of colours and bars on half of the frames; then, always, all frames on one level.
    mean, std: of the colours of usual videos on 0..1, (3,1,1,1).
    """
    standard = (clips - mean) / std
    return level(bars(noise(standard, 0.1, frame=True), 0.5) if training else standard) * std + mean


def noise(clips: Tensor, most: float | Tensor, frame: bool = False) -> Tensor:
    """Adds normal noise of a standard deviation drawn from 0 to `most` for every clip, or every frame: (B,V,C,T,H,W) -> the same shape.

    most: a number, or one a channel (C,1,1,1).

    Compression leaves a file less noise, picture by picture, from one key frame to the next; the order of frames shows in it.
    """
    strength = most * torch.rand_like(clips[:, :, :1, :, :1, :1] if frame else clips[:, :, :1, :1, :1, :1])
    return clips + strength * torch.randn_like(clips)


def bars(clips: Tensor, share: float) -> Tensor:
    """Covers a share of the frames by bars at the sides, at top and bottom, or at both, of widths drawn for every frame, up to WIDEST.

    clips (B,V,C,T,H,W) of standardised colours; the bars are two standard deviations below their mean. Bars that close or open in the
    video, as a title does, tell the order no more.
    """
    draw = torch.rand(3, *clips[:, :, :1, :, :1, :1].shape, device=clips.device)
    width = WIDEST * draw[0] * (draw[1] < share)
    down, across = (_from_edge(length, clips) for length in clips.shape[-2:])
    open_ = ((down[:, None] >= width) | (draw[2] < 1 / 3)) & ((across >= width) | (draw[2] > 2 / 3))
    return clips.where(open_, torch.full_like(clips, -2.0))


def level(clips: Tensor) -> Tensor:
    """Every channel of every frame brought to mean 0 and spread 1, so that no fade is left: (B,V,C,T,H,W) -> the same shape."""
    mean, spread = clips.mean((-2, -1), keepdim=True), clips.std((-2, -1), keepdim=True)
    return (clips - mean) / (spread + 0.05)  # 0.05: a frame of one colour stays so


def _from_edge(length: int, like: Tensor) -> Tensor:
    """Distance of each row or column from the nearer edge, as a share of the side: (length,)."""
    middle = (torch.arange(length, device=like.device) + 0.5) / length
    return torch.minimum(middle, 1 - middle)


def replicate_channel(clips: Tensor, share: float) -> Tensor:
    """In a share of the clips (N,C,T,H,W), one channel drawn for each clip stands for all: no colour and no fringe of a lens is left."""
    one = clips[torch.arange(len(clips)), torch.randint(clips.shape[1], (len(clips),)).tolist()][:, None]
    chosen = torch.rand(len(clips)) < share
    return torch.where(chosen.to(clips.device).view(-1, 1, 1, 1, 1), one, clips)


def cut(clips: Tensor, corners: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Cuboids of `shape` (t,h,w) out of clips (B,V,C,T,H,W) -> (B,N,C,t,h,w); corners int (B,N,4): clip, first frame, top, left."""
    frames, rows, columns = (torch.arange(length, device=clips.device) for length in shape)
    video = torch.arange(len(clips), device=clips.device).view(-1, 1, 1, 1, 1)
    clip, first, top, left = corners[..., None, None, None].unbind(2)  # (B,N,1,1,1) each
    pieces = clips[video, clip, :, first + frames.view(-1, 1, 1), top + rows.view(-1, 1), left + columns]
    return pieces.movedim(-1, 2)
