"""GRU-RCN: recurrent convolutions over several levels of an encoder (Ballas et al., ICLR 2016, arXiv:1511.06432).

Fine maps show motion that coarse ones have lost, so each level has its own convolutional GRU, whose state has half of the level's channels.
Its states, averaged over space, go through a linear layer of the level, and the mean of the levels comes out, as the paper averages the
answers of a classifier for each level. The paper has five levels of VGG-16, from its second pool to its fully connected layers.

Levels are the last map that the encoder makes at each size of cells (`ssvid.zoo.levels`). gru_rcn_both_ways=true adds GRUs that go backward
in time, the paper's best; it does not stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.zoo.recurrence import Recurrent, State, StepByStep, as_map, mean_over_space, over_steps

HEADS = {
    "gru_rcn": {
        "description": "convolutional GRUs over levels of the encoder",
        "source": "arXiv:1511.06432",
        "licence": "Apache-2.0",
        "levels": True,
    }
}


def build(
    name: str,
    dim: int | Sequence[int],
    *,
    hidden: int = 0,
    levels: Literal[1, 2, 3, 4, 5] = 3,
    both_ways: bool = False,
    returns: Literal["all", "last"] = "all",
) -> nn.Module:
    """Maps to map, a (B,dim,t,h,w) for each level -> (B,hidden,t,1,1), or (B,hidden,1,1,1) for returns="last".

    dim: channels of each level, from fine to coarse. hidden: size of the vectors, 0 for that of the last level's. levels: how many of the
    coarsest are used, all where the encoder has fewer. both_ways: backward in time as well. returns: the state after all steps, or after
    the last.
    """
    dims = [dim] if isinstance(dim, int) else list(dim)
    return GRURCN(dims[-levels:], hidden or dims[-1], both_ways, returns == "last")


class ConvGRU(Recurrent):
    """A convolutional GRU: (B,D,t,h,w) -> (B,H,t,h,w). State: what it gives."""

    def __init__(self, dim: int, hidden: int, kernel: int = 3) -> None:
        super().__init__()
        self.of_input = nn.Conv2d(dim, 3 * hidden, kernel, padding=kernel // 2, bias=False)
        self.gates = nn.Conv2d(hidden, 2 * hidden, kernel, padding=kernel // 2, bias=False)
        self.candidate = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, bias=False)

    def project(self, maps: Tensor) -> Tensor:
        """What the steps give to update gate, reset gate and candidate."""
        return over_steps(self.of_input, maps)

    def advance(self, projected: Tensor, state: State | None) -> State:
        """The state after one more step."""
        update, reset, new = projected.chunk(3, 1)
        if state is None:
            return (update.sigmoid() * new.tanh(),)
        (hidden,) = state
        more_update, more_reset = self.gates(hidden).chunk(2, 1)
        update, reset = (update + more_update).sigmoid(), (reset + more_reset).sigmoid()
        return ((1 - update) * hidden + update * (new + self.candidate(reset * hidden)).tanh(),)


class GRURCN(StepByStep):
    """A convolutional GRU for each level and the mean of what they give, a map or a list of them -> (B,H,t,1,1)."""

    def __init__(self, dims: Sequence[int], hidden: int, both_ways: bool, last: bool) -> None:
        super().__init__()
        ways = 2 if both_ways else 1
        self.cells = nn.ModuleList(ConvGRU(dim, max(1, dim // 2)) for dim in dims for _ in range(ways))
        self.read = nn.ModuleList(nn.Linear(max(1, dim // 2), hidden) for dim in dims for _ in range(ways))
        self.ways, self.last, self.streams = ways, last, not both_ways

    def forward(self, maps: Tensor | Sequence[Tensor]) -> Tensor:
        """Compute."""
        used = self.used(maps)
        steps = 1 if self.last else used[-1].shape[2]
        vectors = []
        for i, (cell, read) in enumerate(zip(self.cells, self.read, strict=True)):
            level, backward = used[i // self.ways], i % self.ways == 1
            states = cell(level.flip(2) if backward else level)
            states = states[:, :, -1:] if self.last else states.flip(2) if backward else states
            # where a 3-D network's finer levels have more steps, as many as belong to one of the last level's are averaged
            aligned = F.adaptive_avg_pool1d(mean_over_space(states).transpose(1, 2), steps).transpose(1, 2)
            vectors.append(read(aligned))
        return as_map(torch.stack(vectors).mean(0))

    def used(self, maps: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """The levels that have a GRU."""
        return [maps] if isinstance(maps, Tensor) else list(maps)[-len(self.cells) // self.ways :]

    def step(
        self, maps: Tensor | Sequence[Tensor], state: tuple[State, ...] | None
    ) -> tuple[Tensor, tuple[State, ...]]:
        """The next step of a stream, of every level (B,D,h,w); state: that of every GRU."""
        before = state or (None,) * len(self.cells)
        after = tuple(
            cast(ConvGRU, cell).step(level, one)[1]
            for cell, level, one in zip(self.cells, self.used(maps), before, strict=True)
        )
        vectors = [read(one[0].mean((2, 3))) for read, one in zip(self.read, after, strict=True)]
        return torch.stack(vectors).mean(0)[..., None, None], after
