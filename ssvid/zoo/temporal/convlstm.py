"""Convolutional LSTM over an encoder's map, which stays a map (Shi et al., NeurIPS 2015, arXiv:1506.04214).

Gates are convolutions of the step and of the hidden state, with padding, and without the paper's peepholes, as VideoLSTM has it
(arXiv:1607.01794; 512 channels, kernels of 3 x 3).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ssvid.zoo.recurrence import ConvGates, MeanStart, Recurrent, State, first_hidden, lstm_state, over_steps

HEADS = {
    "convlstm": {
        "description": "convolutional LSTM over time",
        "source": "arXiv:1506.04214",
        "licence": "Apache-2.0",
    }
}


def build(
    name: str,
    dim: int,
    *,
    hidden: int = 0,
    kernel: Literal[1, 3, 5] = 3,
    start: Literal["zeros", "mean"] = "zeros",
    returns: Literal["all", "last"] = "all",
) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,t,h,w), or (B,hidden,1,h,w) for returns="last".

    hidden: channels of the state, 0 for as many as the encoder's. kernel: cells along a side. start: the state before the first step,
    zeros, or learnt from the mean of all steps, which does not stream. returns: the state after all steps, or after the last.
    """
    return ConvLSTM(dim, hidden or dim, kernel, start == "mean", returns == "last")


class ConvLSTM(Recurrent):
    """A convolutional LSTM: (B,D,t,h,w) -> (B,H,t,h,w). State: hidden and cell, each (B,H,h,w)."""

    def __init__(self, dim: int, hidden: int, kernel: int, mean_start: bool, last: bool) -> None:
        super().__init__()
        self.gates = ConvGates(dim, hidden, kernel)
        self.first = MeanStart(dim, hidden, kernel) if mean_start else None
        self.streams, self.last = not mean_start, last

    def project(self, maps: Tensor) -> Tensor:
        """What the steps give to the gates."""
        return over_steps(self.gates.of_input, maps)

    def begin(self, maps: Tensor) -> State | None:
        """The state before the first step."""
        return None if self.first is None else self.first(maps)

    def advance(self, projected: Tensor, state: State | None) -> State:
        """The state after one more step."""
        return lstm_state(self.gates.add_hidden(projected, first_hidden(state)), state)
