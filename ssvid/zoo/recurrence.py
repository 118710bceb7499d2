"""Parts that recurrent heads share: going over a map step by step, and convolutional gates.

A head streams where it has `streams = True` and two methods, which hold no state of their own (see `ssvid.zoo.stream`):

    step(maps (B,D,h,w), state) -> (out, state)    the next step; the state is None before the first; out is None while nothing is due
    flush(state) -> [out, ...]                     what is still to come after the last step

Each `out` (B,D',h',w') is the last step of the head's map of all that has come.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ssvid.errors import ConfigError

State = tuple[Tensor, ...]  # of a cell after a step; the first is what it gives, (B,D',h,w)
Returns = Literal["all", "last"]  # the state after every step (many-to-many), or after the last one alone (many-to-one)


class Recurrent(nn.Module):
    """A head that goes over the steps of a map: (B,D,t,h,w) -> (B,D',t,h,w), or (B,D',1,h,w) where `last` is set.

    A head of this kind defines `advance`, and `project` where something can be computed for all steps at once.
    """

    streams = True
    last = False

    def project(self, maps: Tensor) -> Tensor:
        """What does not depend on the state, of a whole map: (B,D,t,h,w) -> (B,P,t,h,w)."""
        return maps

    def begin(self, maps: Tensor) -> State | None:
        """The state before the first step of a map (B,D,t,h,w); None is a state of zeros."""
        return None

    def advance(self, projected: Tensor, state: State | None) -> State:
        """The state after one more step (B,P,h,w)."""
        raise NotImplementedError

    def forward(self, maps: Tensor) -> Tensor:
        """Compute."""
        state, given = self.begin(maps), []
        for step in self.project(maps).unbind(2):
            state = self.advance(step, state)
            given.append(state[0])
        return torch.stack(given[-1:] if self.last else given, 2)

    def step(self, maps: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The next step of a stream."""
        after = self.advance(self.project(maps.unsqueeze(2)).squeeze(2), state)
        return after[0], after

    def flush(self, state: State | None) -> list[Tensor]:
        """Nothing is left."""
        return []


class VectorRecurrence(nn.Module):
    """A recurrent network of torch, over the steps of a map averaged over space: (B,D,t,h,w) -> (B,D',t,1,1), or (B,D',1,1,1).

    It is a subclass's `rnn`, which goes by a name of its own among the weights.
    """

    streams = True

    def __init__(self, returns: Returns) -> None:
        super().__init__()
        self.last = returns == "last"

    @property
    def rnn(self) -> nn.RNNBase:
        """The network, batch first."""
        raise NotImplementedError

    def forward(self, maps: Tensor) -> Tensor:
        """Hidden states of a map."""
        states: Tensor = self.rnn(mean_over_space(maps))[0]
        return as_map(states[:, -1:] if self.last else states)

    def step(self, maps: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The next step of a stream; the state is torch's: (layers,B,D'), or two of them."""
        out, state = self.rnn(mean_over_space(maps.unsqueeze(2)), state)
        return as_map(out).squeeze(2), state

    def flush(self, state: Any) -> list[Tensor]:
        """Nothing is left."""
        return []


def lstm_state(gates: Tensor, cell: Tensor | None) -> State:
    """The state (hidden, cell) after gates (B,4H,...), in torch's order: input, forget, candidate, output."""
    take, keep, new, show = gates.chunk(4, 1)
    fresh = take.sigmoid() * new.tanh()
    cell = fresh if cell is None else keep.sigmoid() * cell + fresh
    return show.sigmoid() * cell.tanh(), cell


def check_positive(head: str, **values: int) -> None:
    """Raise ConfigError for an option of a head that has to be 1 at least."""
    for name, value in values.items():
        if value < 1:
            raise ConfigError(f"{head}: {name} is {value} and has to be 1 at least.")


def mean_over_space(maps: Tensor) -> Tensor:
    """One vector a step: (B,D,t,h,w) -> (B,t,D)."""
    return maps.mean((3, 4)).transpose(1, 2)


def as_map(vectors: Tensor) -> Tensor:
    """Vectors (B,t,D) as a map of one cell, (B,D,t,1,1); (B,D) as one step (B,D,1,1,1)."""
    steps = vectors if vectors.dim() == 3 else vectors.unsqueeze(1)
    return steps.transpose(1, 2)[..., None, None]
