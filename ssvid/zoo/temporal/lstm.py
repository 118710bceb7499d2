"""LSTM over the steps of an encoder's map (LRCN, Donahue et al., CVPR 2015, arXiv:1411.4389).

The map is averaged over space, so that one vector a step goes in; the hidden state after each step comes out.
"""

from __future__ import annotations

from torch import Tensor, nn

HEADS = {
    "lstm": {
        "description": "LSTM over time, hidden states as the map",
        "source": "torch.nn.LSTM, arXiv:1411.4389",
        "licence": "BSD-3-Clause",
    }
}


def build(name: str, dim: int, *, hidden: int = 0, layers: int = 1) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,t,1,1).

    hidden: size of the state, 0 for that of the encoder's vectors. layers: LSTMs, each over the states of the one before.
    """
    return LSTMHead(dim, hidden or dim, layers)


class LSTMHead(nn.Module):
    """An LSTM as a head: the step t of its map has seen the steps up to t."""

    def __init__(self, dim: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, hidden, layers, batch_first=True)

    def forward(self, maps: Tensor) -> Tensor:
        """Hidden states of a map: (B,D,t,h,w) -> (B,D',t,1,1)."""
        states: Tensor = self.lstm(maps.mean((3, 4)).transpose(1, 2))[0]
        return states.transpose(1, 2)[..., None, None]
