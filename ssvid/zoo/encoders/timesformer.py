"""TimeSformer with divided attention (Bertasius et al., ICML 2021, arXiv:2102.05095): every frame is kept.

In each block, a patch first attends to the same place of all frames, then to all places of its frame and to the class token, of which every
frame has its copy there. The map is made of the patches' tokens after the last norm. Clips of another size than the network was built with
get positions interpolated from those of that size.

Tensors have the names of TimeSformer's programs, whose files fit by path, as do those of transformers.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from ssvid.zoo.transformer import FeedForward, SelfAttention, initialise, resized
from ssvid.zoo.weights import bare

MODELS = {
    "*": {
        "frames": 8,
        "size": 224,
        "mean": (0.45, 0.45, 0.45),
        "std": (0.225, 0.225, 0.225),
        "isolation": "still",
        "source": "here, after arXiv:2102.05095",
        "licence": "Apache-2.0",
    },
    "timesformer_base": {
        "description": "TimeSformer-B: attention over time, then over space, keeps every frame",
        "published": [
            ["Kinetics-400", "supervised from ImageNet-21k, 3 views of 8x224", "top-1", 77.9, "arXiv:2102.05095"]
        ],
    },
    "timesformer_tiny": {"description": "Small TimeSformer, for tests and laptops, keeps every frame", "size": 32},
}


def build(name: str) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,T,h,w), one cell a patch; what is left of a frame after whole ones is not seen."""
    if name == "timesformer_tiny":
        return TimeSformer(dim=32, depth=2, heads=2, patch=8, grid=(8, 4, 4))
    return TimeSformer(dim=768, depth=12, heads=12, patch=16, grid=(8, 14, 14))


class DividedBlock(nn.Module):
    """A block with attention over time first: class token (B,1,D) and patches (B,T,P,D) -> the same."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = SelfAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = FeedForward(dim)
        self.temporal_norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.temporal_attn = SelfAttention(dim, heads)
        self.temporal_fc = nn.Linear(dim, dim)

    def forward(self, token: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Compute."""
        B, T, P, _ = patches.shape
        over_time = patches.transpose(1, 2).flatten(0, 1)  # (B*P,T,D)
        over_time = self.temporal_fc(self.temporal_attn(self.temporal_norm1(over_time)))
        patches = patches + over_time.unflatten(0, (B, P)).transpose(1, 2)
        frames = torch.cat([token[:, None].expand(-1, T, -1, -1), patches], 2).flatten(0, 1)  # (B*T,1+P,D)
        over_space = self.attn(self.norm1(frames)).unflatten(0, (B, T))
        token = token + over_space[:, :, :1].mean(1)
        patches = patches + over_space[:, :, 1:]
        return token + self.mlp(self.norm2(token)), patches + self.mlp(self.norm2(patches))


class TimeSformer(nn.Module):
    """Attention over time and over space in turn: (B,3,T,H,W) -> (B,D,T,H/patch,W/patch). grid: patches of the clip it is built for."""

    def __init__(self, dim: int, depth: int, heads: int, patch: int, grid: tuple[int, int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, patch, patch)})
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + grid[1] * grid[2], dim))
        # the paper's network begins without positions in time, and with blocks that see one frame; there it starts from an image network
        self.time_embed = nn.Parameter(torch.empty(1, grid[0], dim))
        self.blocks = nn.ModuleList([DividedBlock(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        initialise(self)
        for table in (self.cls_token, self.pos_embed, self.time_embed):
            nn.init.trunc_normal_(table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips."""
        B, T = x.shape[0], x.shape[2]
        patches = self.patch_embed["proj"](x.transpose(1, 2).flatten(0, 1))  # (B*T,D,h,w)
        h, w = patches.shape[2:]
        places = resized(torch.unflatten(self.pos_embed[0, 1:], 0, self.grid[1:]), (h, w)).flatten(0, 1)
        times = resized(self.time_embed[0], (T,))
        patches = patches.flatten(2).transpose(1, 2).unflatten(0, (B, T)) + places + times[:, None]
        token = (self.cls_token + self.pos_embed[:, :1]).expand(B, -1, -1)
        for block in self.blocks:
            token, patches = block(token, patches)
        cells: Tensor = self.norm(patches)  # (B,T,h*w,D)
        return torch.unflatten(cells.permute(0, 3, 1, 2), 3, (h, w))

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of a file of transformers by the names here. A file of this network is left as it is."""
        return {_renamed(name): tensor for name, tensor in tensors.items()}


_TRANSFORMERS = {
    r"^(?:timesformer\.)?embeddings\.patch_embeddings\.projection\.": "patch_embed.proj.",
    r"^(?:timesformer\.)?embeddings\.cls_token": "cls_token",
    r"^(?:timesformer\.)?embeddings\.position_embeddings": "pos_embed",
    r"^(?:timesformer\.)?embeddings\.time_embeddings": "time_embed",
    r"^(?:timesformer\.)?encoder\.layer\.(\d+)\.": r"blocks.\1.",
    r"^(?:timesformer\.)?layernorm\.": "norm.",
    r"temporal_layernorm\.": "temporal_norm1.",
    r"temporal_dense\.": "temporal_fc.",
    r"attention\.attention\.qkv": "attn.qkv",
    r"attention\.output\.dense\.": "attn.proj.",
    r"layernorm_before\.": "norm1.",
    r"layernorm_after\.": "norm2.",
    r"intermediate\.dense\.": "mlp.fc1.",
    r"output\.dense\.": "mlp.fc2.",
}


def _renamed(name: str) -> str:
    for pattern, here in _TRANSFORMERS.items():
        name = re.sub(pattern, here, name)
    return bare(name)
