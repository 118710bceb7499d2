"""Transformer encoder over the steps of an encoder's map (Vaswani et al., NeurIPS 2017, arXiv:1706.03762), each averaged over space.

Attention alone is blind to order: with transformer_positions=none the steps of the map change places as those of the clip do, and their
mean stays. The sines and cosines of arXiv:1706.03762 tell the steps apart, for clips of any length.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo.recurrence import as_map, check_positive, mean_over_space
from ssvid.zoo.transformer import Block, initialise

HEADS = {
    "transformer": {
        "description": "transformer encoder over time",
        "source": "arXiv:1706.03762, blocks as in arXiv:2010.11929",
        "licence": "Apache-2.0",
    }
}


def build(
    name: str,
    dim: int,
    *,
    hidden: int = 0,
    layers: int = 2,
    heads: int = 4,
    positions: Literal["sines", "none"] = "sines",
) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,t,1,1); every step has looked at all others.

    hidden: size of the tokens, 0 for that of the encoder's vectors. layers: blocks. heads: of attention, a divisor of the tokens' size.
    positions: how steps know their place in time; "none": they do not, and the order of the steps changes nothing.

    Raises ConfigError where the heads do not divide the size.
    """
    check_positive(name, layers=layers, heads=heads)
    size = hidden or dim
    if size % heads:
        raise ConfigError(f"{name}: {heads} heads do not divide {size} channels; give {name}_hidden or {name}_heads.")
    return TransformerHead(dim, size, layers, heads, positions == "sines")


class TransformerHead(nn.Module):
    """Blocks of attention over steps: (B,D,t,h,w) -> (B,D',t,1,1)."""

    def __init__(self, dim: int, size: int, layers: int, heads: int, placed: bool) -> None:
        super().__init__()
        self.embed = nn.Linear(dim, size)
        self.blocks = nn.Sequential(*(Block(size, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(size)
        self.placed = placed
        initialise(self)

    def forward(self, maps: Tensor) -> Tensor:
        """Compute."""
        tokens = self.embed(mean_over_space(maps))
        if self.placed:
            tokens = tokens + sines(tokens.shape[1], tokens.shape[2]).to(tokens)
        return as_map(self.norm(self.blocks(tokens)))


def sines(steps: int, size: int) -> Tensor:
    """The positions of arXiv:1706.03762, (steps,size): sines in even channels, cosines in odd ones; periods up to 10,000 x 2 pi steps."""
    channel = torch.arange(size)
    speed = torch.exp(-math.log(10000.0) * (channel - channel % 2) / size)
    angle = torch.arange(steps)[:, None] * speed
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos())
