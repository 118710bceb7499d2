"""Multiscale Vision Transformers, MViT (Fan et al., ICCV 2021, arXiv:2104.11227) and MViTv2 (Li et al., CVPR 2022, arXiv:2112.01526).

They are torchvision's. From stage to stage the map has half as many cells a side and twice as many channels; queries, keys and values are
pooled by strided convolutions. The map is made of the cells after the last norm; the class token takes part in attention and is left out.
torchvision's networks refuse all clips but those of 16 frames of 224 px. Here others are taken too: v1 interpolates its table of positions,
v2 its tables of distances.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.video import MViT
from torchvision.models.video.mvit import MSBlockConfig

MODELS = {
    "*": {
        "frames": 16,
        "size": 224,
        "mean": (0.45, 0.45, 0.45),
        "std": (0.225, 0.225, 0.225),
        "isolation": "still",
        "source": "torchvision.models.video",
        "licence": "BSD-3-Clause",
    },
    "mvit_v1_b": {
        "description": "MViT-B: attention over maps that are pooled from stage to stage",
        "published": [["Kinetics-400", "supervised, 5 clips of 16x224", "top-1", 78.477, "torchvision KINETICS400_V1"]],
        "weights": {"kinetics400": "https://download.pytorch.org/models/mvit_v1_b-dbeb1030.pth"},
    },
    "mvit_v2_s": {
        "description": "MViTv2-S: MViT with relative positions and pooled shortcuts",
        "published": [["Kinetics-400", "supervised, 5 clips of 16x224", "top-1", 80.757, "torchvision KINETICS400_V1"]],
        "weights": {"kinetics400": "https://download.pytorch.org/models/mvit_v2_s-ae3be167.pth"},
    },
    "mvit_v1_tiny": {"description": "Small MViT, for tests and laptops", "frames": 8, "size": 32},
    "mvit_v2_tiny": {"description": "Small MViTv2, for tests and laptops", "frames": 8, "size": 32},
}


def build(name: str) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,t,h,w)."""
    return MViTMap(_tiny(second="v2" in name) if name.endswith("_tiny") else get_model(name, weights=None))


class MViTMap(nn.Module):
    """An MViT without its head, for clips of any size: (B,3,T,H,W) -> (B,D,t,h,w). It takes the network's parts under their names."""

    def __init__(self, net: MViT) -> None:
        super().__init__()
        self.conv_proj = net.conv_proj
        self.pos_encoding = net.pos_encoding
        self.blocks = net.blocks
        self.norm = net.norm

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips."""
        patches = self.conv_proj(x)
        thw = tuple(patches.shape[2:])
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.pos_encoding.class_token.expand(len(x), 1, -1), tokens], 1)
        if self.pos_encoding.spatial_pos is not None:
            tokens = tokens + self._positions(*thw)
        for block in self.blocks:
            tokens, thw = block(tokens, thw)
        cells: Tensor = self.norm(tokens)[:, 1:].transpose(1, 2)
        return torch.unflatten(cells, 2, thw)

    def _positions(self, t: int, h: int, w: int) -> Tensor:
        """Positions of the class token and the patches, (1+t*h*w,D): one of the step and one of the place, added up."""
        table = self.pos_encoding
        steps = table.temporal_pos.T[None]  # (1,D,steps)
        places = table.spatial_pos.T.unflatten(1, table.spatial_size)[None]  # (1,D,rows,columns)
        if t != table.temporal_size:
            steps = F.interpolate(steps, t, mode="linear", align_corners=False)
        if (h, w) != tuple(table.spatial_size):
            places = F.interpolate(places, (h, w), mode="bicubic", align_corners=False)
        cells = steps[0].T[:, None] + places[0].flatten(1).T  # (t,h*w,D)
        return torch.cat([table.class_pos[None], cells.flatten(0, 1)])


def _tiny(second: bool) -> MViT:
    """Two blocks on patches of 8 px, the second at half the size; `second`: of MViTv2."""
    blocks = [
        MSBlockConfig(1, 16, 32 if not second else 16, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 2, 2]),
        MSBlockConfig(2, 32 if not second else 16, 32, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 1, 1]),
    ]
    return MViT(
        spatial_size=(32, 32),
        temporal_size=8,
        block_setting=blocks,
        residual_pool=second,
        residual_with_cls_embed=not second,
        rel_pos_embed=second,
        proj_after_attn=second,
        patch_embed_stride=(2, 8, 8),
        num_classes=1,
    )
