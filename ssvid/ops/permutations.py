"""Orders of pieces: all of them, places apart, and a head that compares pieces in pairs."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import torch
from torch import Tensor, nn


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

    dim: D of a piece. pieces: N. classes: K. hidden: width of a pair. dropout: between the two layers. distances: a pair is
    represented by how far
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
