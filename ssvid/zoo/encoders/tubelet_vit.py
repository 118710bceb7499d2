"""Vision transformers over tubelets, small boxes of a clip: the encoder of VideoMAE (Tong et al., NeurIPS 2022, arXiv:2203.12602).

A clip is cut into boxes of 2 frames of 16 x 16 px, and every box attends to all others, under fixed positions of sines and cosines. The map
is made of the tokens after the last norm; there is no class token. Clips of another size than the network was built with get positions
interpolated from those of that size.

Tensors have the names of VideoMAE's programs. Files of theirs and of transformers fit, given by path: those of pretraining, and fine-tuned
ones, whose norm was meant for the mean of the tokens and is applied to each here.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from ssvid.zoo.transformer import Block, initialise, resized
from ssvid.zoo.weights import bare

MODELS = {
    "*": {
        "frames": 16,
        "size": 224,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "isolation": "still",
        "source": "here, after arXiv:2203.12602",
        "licence": "Apache-2.0",
    },
    "videomae_small": {
        "description": "ViT-S over tubelets, the encoder of VideoMAE",
        "published": [
            ["Kinetics-400", "VideoMAE on it, then supervised, 15 views of 16x224", "top-1", 79.0, "arXiv:2203.12602"]
        ],
    },
    "videomae_base": {
        "description": "ViT-B over tubelets, the encoder of VideoMAE",
        "published": [
            ["Kinetics-400", "VideoMAE on it, then supervised, 15 views of 16x224", "top-1", 81.5, "arXiv:2203.12602"]
        ],
    },
    "videomae_large": {
        "description": "ViT-L over tubelets, the encoder of VideoMAE",
        "published": [
            ["Kinetics-400", "VideoMAE on it, then supervised, 15 views of 16x224", "top-1", 85.2, "arXiv:2203.12602"]
        ],
    },
    "videomae_tiny": {"description": "Small ViT over tubelets, for tests and laptops", "frames": 8, "size": 32},
}

SIZES = {
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "tiny": (48, 2, 2),
}  # channels, blocks, heads
TUBELET = 2  # frames


def build(name: str) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,t,h,w), one cell a tubelet; what is left of a clip after whole ones is not seen."""
    dim, depth, heads = SIZES[name.removeprefix("videomae_")]
    patch, grid = (8, (4, 4, 4)) if name == "videomae_tiny" else (16, (8, 14, 14))
    return TubeletViT(dim, depth, heads, patch, grid)


class TubeletViT(nn.Module):
    """Joint attention of all tubelets of a clip: (B,3,T,H,W) -> (B,D,T/2,H/patch,W/patch). grid: tubelets of the clip it is built for."""

    def __init__(self, dim: int, depth: int, heads: int, patch: int, grid: tuple[int, int, int]) -> None:
        super().__init__()
        size = (TUBELET, patch, patch)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, dim, size, size)})
        self.blocks = nn.Sequential(*[Block(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.positions: Tensor
        self.register_buffer("positions", sinusoids(grid, dim), persistent=False)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips."""
        tubelets = self.patch_embed["proj"](x)
        grid = tuple(tubelets.shape[2:])
        tokens = tubelets.flatten(2).transpose(1, 2) + resized(self.positions, grid).flatten(0, 2)
        cells: Tensor = self.norm(self.blocks(tokens)).transpose(1, 2)
        return torch.unflatten(cells, 2, grid)

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of a file of VideoMAE or of transformers by the names here. A file of this network is left as it is."""
        return with_joint_qkv({_renamed(name): tensor for name, tensor in tensors.items()})


def sinusoids(grid: tuple[int, int, int], dim: int) -> Tensor:
    """Position of each cell of a grid as VideoMAE has it, (*grid,dim): sines and cosines of the cell's number, row by row."""
    number = torch.arange(grid[0] * grid[1] * grid[2], dtype=torch.float64)[:, None]
    channel = torch.arange(dim)
    angle = number / 10000 ** (2 * (channel // 2) / dim).double()
    table = torch.where(channel % 2 == 0, angle.sin(), angle.cos())
    return torch.unflatten(table.float(), 0, grid)


def with_joint_qkv(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights and biases of queries, keys and values, which some files keep apart, as one. Keys without a bias get zeros: it has no effect.

    Tensors that end in ".q.weight", ".k.weight", ".v.weight" and in "q_bias", "v_bias" are taken for them.
    """
    joint = {}
    for name, tensor in tensors.items():
        stem, _, kind = name.rpartition(".attn.")
        place = f"{stem}.attn.qkv"
        if kind == "q.weight":
            joint[f"{place}.weight"] = torch.cat([tensors[f"{stem}.attn.{letter}.weight"] for letter in "qkv"])
        elif kind == "q_bias":
            joint[f"{place}.bias"] = torch.cat([tensor, torch.zeros_like(tensor), tensors[f"{stem}.attn.v_bias"]])
        elif kind not in ("k.weight", "v.weight", "v_bias"):
            joint[name] = tensor
    return joint


_TRANSFORMERS = {
    r"^(?:videomae\.)?embeddings\.patch_embeddings\.projection\.": "patch_embed.proj.",
    r"^(?:videomae\.)?encoder\.layer\.(\d+)\.": r"blocks.\1.",
    r"^(?:videomae\.)?layernorm\.": "norm.",
    r"attention\.attention\.(q|k|v)(?:uery|ey|alue)\.weight": r"attn.\1.weight",
    r"attention\.attention\.(q_bias|v_bias)": r"attn.\1",  # until version 4
    r"attention\.attention\.(q|v)(?:uery|alue)\.bias": r"attn.\1_bias",
    r"attention\.output\.dense\.": "attn.proj.",
    r"layernorm_before\.": "norm1.",
    r"layernorm_after\.": "norm2.",
    r"intermediate\.dense\.": "mlp.fc1.",
    r"output\.dense\.": "mlp.fc2.",
}


def _renamed(name: str) -> str:
    for pattern, here in _TRANSFORMERS.items():
        name = re.sub(pattern, here, name)
    return re.sub(r"^fc_norm\.", "norm.", bare(name))
