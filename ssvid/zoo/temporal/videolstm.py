"""VideoLSTM: a convolutional LSTM whose attention follows motion (Li et al., VideoLSTM, arXiv:1607.01794).

Two convolutional LSTMs stand on one another. The lower one, with kernels of one cell, sees motion and what the upper one remembers; its
state decides how much each cell of the step counts; and the upper one, with kernels of 3 x 3, sees the cells so weighed. What comes out is
the upper one's hidden state. `attention` gives the weights, which show where the head looks.

The paper has a network of its own for optical flow: two_stream/NAME+videolstm with fusion=concat and videolstm_motion=half is that. On any
other encoder, motion is what changes in the map from one step to the next.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo.recurrence import Attention, Attentive, ConvGates, MeanStart, State, first_hidden, lstm_state

HEADS = {
    "videolstm": {
        "description": "convolutional LSTM whose attention follows motion",
        "source": "arXiv:1607.01794",
        "licence": "Apache-2.0",
    }
}


def build(
    name: str,
    dim: int,
    *,
    hidden: int = 0,
    motion: Literal["change", "half"] = "change",
    start: Literal["zeros", "mean"] = "zeros",
    returns: Literal["all", "last"] = "all",
) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,t,h,w), or (B,hidden,1,h,w) for returns="last".

    Args:
        name: videolstm.
        dim: channels of the encoder's map.
        hidden: channels of both states and of the attention, 0 for as many as the encoder's; the paper's 512.
        motion: "change", from one step of the map to the next, or "half", the second half of its channels.
        start: the states before the first step, zeros, or learnt from the mean of all steps, as the paper has it, which does not stream.
        returns: the state after all steps, or after the last.

    Raises ConfigError where half of the channels is asked for and their number is odd.
    """
    if motion == "half" and dim % 2:
        raise ConfigError(f"videolstm: {dim} channels have no half for motion; use videolstm_motion=change.")
    return VideoLSTM(dim, hidden or dim, motion == "half", start == "mean", returns == "last")


class VideoLSTM(Attentive):
    """Two convolutional LSTMs and attention between them: (B,D,t,h,w) -> (B,H,t,h,w).

    State: hidden and cell of the upper one and of the lower one, the step (B,D,h,w), attention (B,1,h,w).
    """

    def __init__(self, dim: int, hidden: int, halves: bool, mean_start: bool, last: bool) -> None:
        super().__init__()
        part = dim // 2 if halves else dim
        self.halves, self.streams, self.last = halves, not mean_start, last
        self.lower = ConvGates(part, hidden, 1, sources=2)
        self.attend = Attention(part, hidden, hidden)
        self.upper = ConvGates(part, hidden, 3)
        self.first = nn.ModuleList([MeanStart(part, hidden, 3), MeanStart(part, hidden, 1)] if mean_start else [])

    def split(self, maps: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """What is seen and how it moves, of a step (B,D,h,w) and the one before it, None for the first."""
        if self.halves:
            seen, moving = maps.chunk(2, 1)
            return seen, moving
        return maps, torch.zeros_like(maps) if before is None else maps - before

    def begin(self, maps: Tensor) -> State | None:
        """The states before the first step."""
        if not self.first:
            return None
        if self.halves:
            seen, moving = maps.chunk(2, 1)
        else:
            seen, moving = maps, torch.cat([torch.zeros_like(maps[:, :, :1]), maps.diff(dim=2)], 2)
        upper, lower = self.first
        return *upper(seen), *lower(moving), maps[:, :, 0], maps[:, :1, 0]

    def advance(self, projected: Tensor, state: State | None) -> State:
        """The states after one more step."""
        upper, lower, before = (state[:2], state[2:4], state[4]) if state else (None, None, None)
        seen, moving = self.split(projected, before)
        lower = lstm_state(self.lower(moving, first_hidden(lower), first_hidden(upper)), lower)
        weights = self.attend(self.attend.project(seen), lower[0])
        upper = lstm_state(self.upper(weights * seen, first_hidden(upper)), upper)
        return *upper, *lower, projected, weights
