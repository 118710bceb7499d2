"""Convolutional LSTM that attends to the cells of each step (Li et al., VideoLSTM, arXiv:1607.01794).

As `alstm`, but cells are weighed and not summed up, so that the step stays a map, and a convolutional LSTM takes it.
`attention` gives the weights, which show where the head looks.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ssvid.zoo.recurrence import Attention, Attentive, ConvGates, MeanStart, State, first_hidden, lstm_state

HEADS = {
    "conv_alstm": {
        "description": "convolutional LSTM that attends to cells",
        "source": "arXiv:1607.01794",
        "licence": "Apache-2.0",
    }
}


def build(
    name: str,
    dim: int,
    *,
    hidden: int = 0,
    start: Literal["zeros", "mean"] = "zeros",
    returns: Literal["all", "last"] = "all",
) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,t,h,w), or (B,hidden,1,h,w) for returns="last".

    hidden: channels of the state and of the attention, 0 for as many as the encoder's; the paper's 512. start: the state before the first
    step, zeros, or learnt from the mean of all steps, which does not stream. returns: the state after all steps, or after the last.
    """
    return ConvALSTM(dim, hidden or dim, start == "mean", returns == "last")


class ConvALSTM(Attentive):
    """Attention over cells and a convolutional LSTM: (B,D,t,h,w) -> (B,H,t,h,w). State: hidden, cell, attention (B,1,h,w)."""

    def __init__(self, dim: int, hidden: int, mean_start: bool, last: bool) -> None:
        super().__init__()
        self.attend = Attention(dim, hidden, hidden)
        self.gates = ConvGates(dim, hidden, 3)
        self.first = MeanStart(dim, hidden, 3) if mean_start else None
        self.streams, self.last = not mean_start, last

    def begin(self, maps: Tensor) -> State | None:
        """The state before the first step."""
        return None if self.first is None else self.first(maps)

    def advance(self, projected: Tensor, state: State | None) -> State:
        """The state after one more step."""
        hidden = first_hidden(state)
        weights = self.attend(self.attend.project(projected), hidden)
        return *lstm_state(self.gates(weights * projected, hidden), state), weights
