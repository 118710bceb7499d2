"""GRU over the steps of an encoder's map (Cho et al., EMNLP 2014, arXiv:1406.1078), in the place of LRCN's LSTM (arXiv:1411.4389).

The map is averaged over space, so that one vector a step goes in; the hidden state after each step comes out, or after the last alone. It
has three gates where an LSTM has four, and so three quarters of its weights.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from ssvid.zoo.recurrence import Returns, VectorRecurrence, check_positive

HEADS = {
    "gru": {
        "description": "GRU over time, hidden states as the map",
        "source": "torch.nn.GRU, arXiv:1406.1078",
        "licence": "BSD-3-Clause",
    }
}


def build(
    name: str, dim: int, *, hidden: int = 0, layers: int = 1, returns: Literal["all", "last"] = "all"
) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,t,1,1), or (B,hidden,1,1,1) for returns="last".

    hidden: size of the state, 0 for that of the encoder's vectors. layers: GRUs, each over the states of the one before. returns: the
    state after all steps, or after the last.
    """
    check_positive(name, layers=layers)
    return GRUHead(dim, hidden or dim, layers, returns)


class GRUHead(VectorRecurrence):
    """A GRU as a head: the step t of its map has seen the steps up to t."""

    def __init__(self, dim: int, hidden: int, layers: int, returns: Returns) -> None:
        super().__init__(returns)
        self.gru = nn.GRU(dim, hidden, layers, batch_first=True)

    @property
    def rnn(self) -> nn.RNNBase:
        """The network."""
        return self.gru
