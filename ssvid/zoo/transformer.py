"""Parts of vision transformers (Dosovitskiy et al., ICLR 2021, arXiv:2010.11929): attention and block, under the names of timm."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Each token looks at all tokens of its item: (N,tokens,D) -> (N,tokens,D)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        query, key, value = (
            self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )  # each (N,heads,tokens,D/heads)
        seen = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(seen.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """Two linear layers, the inner one four times as wide: (...,D) -> (...,D)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """Attention and two linear layers, each with a shortcut and its norm before it: (N,tokens,D) -> (N,tokens,D)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = SelfAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = FeedForward(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x


def initialise(net: nn.Module) -> None:
    """The usual random weights of vision transformers, in place: linear layers narrowly normal, their biases zero."""
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)


def resized(table: Tensor, size: tuple[int, ...]) -> Tensor:
    """A table of positions on a grid (*old size,D) for another grid: (*size,D), interpolated linearly between the cells' centres."""
    if tuple(table.shape[:-1]) == size:
        return table
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    return F.interpolate(table.movedim(-1, 0)[None], size, mode=mode, align_corners=False)[0].movedim(0, -1)
