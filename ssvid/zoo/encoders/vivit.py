"""ViViT with a factorised encoder, model 2 of the paper (Arnab et al., ICCV 2021, arXiv:2103.15691).

A clip is cut into tubelets of 2 frames of 16 x 16 px. The tubelets of a step attend to one another and to a class token, as an image
transformer's do; the class tokens of all steps, with one of the whole clip before them, then attend to one another. The map is made of the
steps' tokens after the last norm, so each step has one cell. Clips of another size than the network was built with get positions
interpolated from those of that size.

Model 1, in which all tubelets attend to all, is `hf/google/vivit-b-16x2`, and without its class token `videomae_base` is one too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssvid.zoo.transformer import Block, initialise, resized

MODELS = {
    "*": {
        "frames": 32,
        "size": 224,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "isolation": "still",
        "source": "here, after arXiv:2103.15691",
        "licence": "Apache-2.0",
    },
    "vivit_small": {"description": "ViViT-S: attention within a step, then over the steps' class tokens"},
    "vivit_base": {"description": "ViViT-B: attention within a step, then over the steps' class tokens"},
    "vivit_tiny": {"description": "Small ViViT, for tests and laptops", "frames": 8, "size": 32},
}

# channels, blocks over space, blocks over time, heads
SIZES = {"small": (384, 12, 4, 6), "base": (768, 12, 4, 12), "tiny": (48, 2, 1, 2)}
TUBELET = 2  # frames


def build(name: str) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,t,1,1), one step a tubelet; what is left of a clip after whole ones is not seen."""
    dim, depth, over_time, heads = SIZES[name.removeprefix("vivit_")]
    patch, grid = (8, (4, 4, 4)) if name == "vivit_tiny" else (16, (16, 14, 14))
    return FactorisedViT(dim, depth, over_time, heads, patch, grid)


class FactorisedViT(nn.Module):
    """Attention within every step, then over the steps: (B,3,T,H,W) -> (B,D,T/2,1,1).

    depth, over_time: blocks of the first and of the second encoder. grid: tubelets of the clip it is built for.
    """

    def __init__(
        self, dim: int, depth: int, over_time: int, heads: int, patch: int, grid: tuple[int, int, int]
    ) -> None:
        super().__init__()
        size = (TUBELET, patch, patch)
        self.grid = grid
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, dim, size, size)})
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + grid[1] * grid[2], dim))
        self.blocks = nn.Sequential(*[Block(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.temporal_cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.temporal_pos_embed = nn.Parameter(torch.empty(1, 1 + grid[0], dim))
        self.temporal_blocks = nn.Sequential(*[Block(dim, heads) for _ in range(over_time)])
        self.temporal_norm = nn.LayerNorm(dim, eps=1e-6)
        initialise(self)
        for table in (self.cls_token, self.pos_embed, self.temporal_cls_token, self.temporal_pos_embed):
            nn.init.trunc_normal_(table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips."""
        tubelets = self.patch_embed["proj"](x)
        B, _, t, h, w = tubelets.shape
        cells = tubelets.permute(0, 2, 3, 4, 1).reshape(B * t, h * w, -1)
        places = resized(torch.unflatten(self.pos_embed[0, 1:], 0, self.grid[1:]), (h, w)).flatten(0, 1)
        seen = _with_token(cells + places, self.cls_token + self.pos_embed[:, :1])
        steps = torch.unflatten(self.norm(self.blocks(seen)[:, 0]), 0, (B, t))  # (B,t,D)
        times = resized(self.temporal_pos_embed[0, 1:], (t,))
        clip = _with_token(steps + times, self.temporal_cls_token + self.temporal_pos_embed[:, :1])
        encoded: Tensor = self.temporal_norm(self.temporal_blocks(clip)[:, 1:])
        return encoded.transpose(1, 2)[..., None, None]


def _with_token(tokens: Tensor, first: Tensor) -> Tensor:
    """Tokens (N,n,D) behind one that all items share, (1,1,D)."""
    return torch.cat([first.expand(len(tokens), -1, -1), tokens], 1)
