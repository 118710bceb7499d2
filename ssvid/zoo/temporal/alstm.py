"""LSTM that attends to the cells of each step (Sharma et al., Action Recognition using Visual Attention, arXiv:1511.04119).

What it has seen so far decides how much each cell of the next step counts, and their weighted sum goes into an ordinary LSTM.
`attention` gives the weights, which show where the head looks.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ssvid.zoo.recurrence import Attention, Attentive, ConvGates, MeanStart, State, first_hidden, lstm_state, over_steps

HEADS = {
    "alstm": {
        "description": "LSTM that attends to cells",
        "source": "arXiv:1511.04119",
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
    """Map to map, (B,dim,t,h,w) -> (B,hidden,t,1,1), or (B,hidden,1,1,1) for returns="last".

    hidden: size of the state and of the attention, 0 for that of the encoder's vectors; the paper's 512. start: the state before the first
    step, zeros, or learnt from the mean of all steps, which does not stream. returns: the state after all steps, or after the last.
    """
    return ALSTM(dim, hidden or dim, start == "mean", returns == "last")


class ALSTM(Attentive):
    """Attention over cells and an LSTM: (B,D,t,h,w) -> (B,H,t,1,1). State: hidden and cell (B,H,1,1), attention (B,1,h,w)."""

    def __init__(self, dim: int, hidden: int, mean_start: bool, last: bool) -> None:
        super().__init__()
        self.attend = Attention(dim, hidden, hidden)
        self.gates = ConvGates(dim, hidden, 1)
        self.first = MeanStart(dim, hidden, 1) if mean_start else None
        self.streams, self.last, self.dim = not mean_start, last, dim

    def project(self, maps: Tensor) -> Tensor:
        """The steps, and what they give to the attention."""
        return torch.cat([maps, over_steps(self.attend.of_input, maps).to(maps.dtype)], 1)

    def begin(self, maps: Tensor) -> State | None:
        """The state before the first step."""
        return None if self.first is None else self.first(maps.mean((3, 4), keepdim=True))

    def advance(self, projected: Tensor, state: State | None) -> State:
        """The state after one more step."""
        x, part = projected[:, : self.dim], projected[:, self.dim :]
        hidden = first_hidden(state)
        weights = self.attend(part, hidden)
        gates = self.gates((weights * x).sum((2, 3), keepdim=True), hidden)
        return *lstm_state(gates, state), weights
