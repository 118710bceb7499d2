"""Parts that recurrent heads share: going over a map step by step, and convolutional gates.

A head streams where it has `streams = True`, a `delay`, and two methods, which hold no state of their own (see `ssvid.zoo.stream`):

    step(maps (B,D,h,w), state) -> (out, state)    the next step; the state is None before the first; out is None while nothing is due
    flush(state) -> [out, ...]                     what is still to come after the last step

Each `out` (B,D',h',w') is the last step of the head's map of all that has come.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo.backbone import PerFrame

State = tuple[Tensor, ...]  # of a cell after a step; the first is what it gives, (B,D',h,w)
Returns = Literal["all", "last"]  # the state after every step (many-to-many), or after the last one alone (many-to-one)


class StepwiseHead(Protocol):
    """A temporal head that takes a map step by step, and holds no state itself.

    delay: steps after which the step that stands for a step is given.
    """

    delay: int

    def step(self, maps: Any, state: Any) -> tuple[Tensor | None, Any]:
        """Take the next step of the encoder's map (B,D,h,w), or of several; the state is None before the first. The step (B,D',h',w')
        that is now due, None where none is, and the state after it."""
        ...

    def flush(self, state: Any) -> list[Tensor]:
        """The steps that are still to come."""
        ...


class StepByStep(nn.Module):
    """A head that takes a map step by step, see above.

    delay: steps after which the step that stands for a step is given.
    """

    streams = True
    delay = 0

    def stepwise(self) -> StepwiseHead:
        """What is run on a stream: the head itself."""
        return cast(StepwiseHead, self)

    def flush(self, state: Any) -> list[Tensor]:
        """Nothing is left."""
        return []


class Recurrent(StepByStep, ABC):
    """A head that goes over the steps of a map: (B,D,t,h,w) -> (B,D',t,h,w), or (B,D',1,h,w) where `last` is set.

    A head of this kind defines `advance`, and `project` where something can be computed for all steps at once.
    """

    last = False

    def project(self, maps: Tensor) -> Tensor:
        """What does not depend on the state, of a whole map: (B,D,t,h,w) -> (B,P,t,h,w)."""
        return maps

    def begin(self, maps: Tensor) -> State | None:
        """The state before the first step of a map (B,D,t,h,w); None is a state of zeros."""
        return None

    @abstractmethod
    def advance(self, projected: Tensor, state: State | None) -> State:
        """The state after one more step (B,P,h,w)."""

    def states(self, maps: Tensor) -> list[State]:
        """The states after each step of a map (B,D,t,h,w)."""
        given: list[State] = []
        state = self.begin(maps)
        for step in self.project(maps).unbind(2):
            state = self.advance(step, state)
            given.append(state)
        return given

    def forward(self, maps: Tensor) -> Tensor:
        """Compute."""
        given = [state[0] for state in self.states(maps)]
        return torch.stack(given[-1:] if self.last else given, 2)

    def step(self, maps: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The next step of a stream."""
        after = self.advance(self.project(maps.unsqueeze(2)).squeeze(2), state)
        return after[0], after


class VectorRecurrence(StepByStep, ABC):
    """A recurrent network of torch, over the steps of a map averaged over space: (B,D,t,h,w) -> (B,D',t,1,1), or (B,D',1,1,1).

    It is a subclass's `rnn`, which goes by a name of its own among the weights.
    """

    def __init__(self, returns: Returns) -> None:
        super().__init__()
        self.last = returns == "last"

    @property
    @abstractmethod
    def rnn(self) -> nn.RNNBase:
        """The network, batch first."""

    def forward(self, maps: Tensor) -> Tensor:
        """Hidden states of a map."""
        states: Tensor = self.rnn(mean_over_space(maps))[0]
        return as_map(states[:, -1:] if self.last else states)

    def step(self, maps: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The next step of a stream; the state is torch's: (layers,B,D'), or two of them."""
        out, state = self.rnn(mean_over_space(maps.unsqueeze(2)), state)
        return as_map(out).squeeze(2), state


def over_steps(layer: nn.Module, maps: Tensor) -> Tensor:
    """A layer for pictures, applied to every step of a map: (B,D,t,h,w) -> (B,D',t,h',w')."""
    out: Tensor = PerFrame(layer)(maps)
    return out


def lstm_state(gates: Tensor, state: State | None) -> State:
    """The state (hidden, cell) after gates (B,4H,...), in torch's order: input, forget, candidate, output; and after the state before."""
    take, keep, new, show = gates.chunk(4, 1)
    cell = take.sigmoid() * new.tanh()
    if state is not None:
        cell = cell + keep.sigmoid() * state[1]
    return show.sigmoid() * cell.tanh(), cell


def first_hidden(state: State | None) -> Tensor | None:
    """The hidden state before a step, None for zeros."""
    return None if state is None else state[0]


class ConvGates(nn.Module):
    """Gates of a convolutional LSTM, without peepholes: an input (B,D,h,w) and hidden states (B,H,h,w) -> (B,4H,h,w).

    Hidden states that are None are zeros and cost nothing. sources: channels of each hidden state that the gates see.
    """

    def __init__(self, dim: int, hidden: int, kernel: int, sources: int = 1) -> None:
        super().__init__()
        self.of_input = nn.Conv2d(dim, 4 * hidden, kernel, padding=kernel // 2)
        self.of_hidden = nn.ModuleList(
            nn.Conv2d(hidden, 4 * hidden, kernel, padding=kernel // 2, bias=False) for _ in range(sources)
        )

    def forward(self, x: Tensor, *hidden: Tensor | None) -> Tensor:
        """Compute."""
        return self.add_hidden(self.of_input(x), *hidden)

    def add_hidden(self, gates: Tensor, *hidden: Tensor | None) -> Tensor:
        """The gates, of what the input gave to them."""
        for conv, state in zip(self.of_hidden, hidden, strict=True):
            gates = gates if state is None else gates + conv(state)
        return gates


class MeanStart(nn.Module):
    """Hidden and cell before the first step, as a layer tells them from the mean of all steps: (B,D,t,h,w) -> two (B,H,h,w).

    It has seen the end of the clip before its beginning, so what starts from it does not stream.
    """

    def __init__(self, dim: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, 2 * hidden, kernel, padding=kernel // 2)

    def forward(self, maps: Tensor) -> State:
        """Compute."""
        return tuple(self.conv(maps.mean(2)).tanh().chunk(2, 1))


class Attention(nn.Module):
    """How much each cell counts, given a state (Sharma et al., arXiv:1511.04119): softmax over cells of u tanh(W x + V h + b).

    `project`: what the cells give to it, (B,D,h,w) -> (B,A,h,w). Called with that and a state (B,H,h,w), or (B,H,1,1), or None for zeros:
    -> (B,1,h,w), which sums to 1.
    """

    def __init__(self, dim: int, hidden: int, size: int) -> None:
        super().__init__()
        self.of_input = nn.Conv2d(dim, size, 1)
        self.of_hidden = nn.Conv2d(hidden, size, 1, bias=False)
        self.score = nn.Conv2d(size, 1, 1, bias=False)

    def project(self, x: Tensor) -> Tensor:
        """The part of the cells."""
        part: Tensor = self.of_input(x)
        return part

    def forward(self, part: Tensor, hidden: Tensor | None) -> Tensor:
        """Compute."""
        scores = self.score((part if hidden is None else part + self.of_hidden(hidden)).tanh())
        return torch.unflatten(scores.flatten(2).softmax(2), 2, scores.shape[2:])


class Attentive(Recurrent):
    """A recurrent head whose state ends with what it attended to, (B,1,h,w)."""

    def attention(self, maps: Tensor) -> Tensor:
        """Where it looks at every step: (B,D,t,h,w) -> (B,t,h,w); each step sums to 1."""
        return torch.cat([state[-1] for state in self.states(maps)], 1)


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
