"""LSTM over the steps of an encoder's map (LRCN, Donahue et al., CVPR 2015, arXiv:1411.4389).

The map is averaged over space, so that one vector a step goes in; the hidden state after each step comes out. LRCN puts 256 units on 4096
numbers a frame; Ng et al. (CVPR 2015, arXiv:1503.08909) five layers of 512: lstm_layers=5, lstm_hidden=512.

With lstm_returns=all, many-to-many, a task's head sees every step, and with the mean of its answers the loss reaches every step. With
lstm_returns=last, many-to-one, it sees the state after the last step alone.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from ssvid.zoo.recurrence import Returns, VectorRecurrence, check_positive

HEADS = {
    "lstm": {
        "description": "LSTM over time, hidden states as the map",
        "source": "torch.nn.LSTM, arXiv:1411.4389",
        "licence": "BSD-3-Clause",
    }
}


def build(
    name: str, dim: int, *, hidden: int = 0, layers: int = 1, returns: Literal["all", "last"] = "all"
) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,t,1,1), or (B,hidden,1,1,1) for returns="last".

    hidden: size of the state, 0 for that of the encoder's vectors. layers: LSTMs, each over the states of the one before. returns: the
    state after all steps, or after the last.
    """
    check_positive(name, layers=layers)
    return LSTMHead(dim, hidden or dim, layers, returns)


class LSTMHead(VectorRecurrence):
    """An LSTM as a head: the step t of its map has seen the steps up to t."""

    def __init__(self, dim: int, hidden: int, layers: int, returns: Returns) -> None:
        super().__init__(returns)
        self.lstm = nn.LSTM(dim, hidden, layers, batch_first=True)

    @property
    def rnn(self) -> nn.RNNBase:
        """The network."""
        return self.lstm
