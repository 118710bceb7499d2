"""Vision transformers, applied to every frame alone (Dosovitskiy et al., ICLR 2021, arXiv:2010.11929; networks of torchvision).

The map is made of the patches' tokens after the last norm; the class token takes part in attention and is left out. Frames may have any
size from one patch on: positions are interpolated (bicubic) from the grid that the network was built with.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VisionTransformer, get_model

from ssvid.zoo.backbone import PerFrame

MODELS = {
    "*": {
        "frames": 16,
        "size": 224,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "source": "torchvision.models",
        "licence": "BSD-3-Clause",
    },
    "vit_b_16": {
        "description": "ViT-B/16 per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 81.072, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/vit_b_16-c867db91.pth"},
    },
    "vit_b_32": {
        "description": "ViT-B/32 per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 75.912, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/vit_b_32-d86f8d99.pth"},
    },
    "vit_l_16": {
        "description": "ViT-L/16 per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 79.662, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/vit_l_16-852ce7e3.pth"},
    },
    "vit_tiny": {"description": "Small ViT with patches of 8 px per frame, for tests and laptops", "size": 48},
}


def build(name: str) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,T,h,w), one cell a patch."""
    return PerFrame(PatchTokens(_tiny() if name == "vit_tiny" else get_model(name, weights=None)))


class PatchTokens(nn.Module):
    """The tokens of a vision transformer's patches as a map: (N,3,H,W) -> (N,D,h,w). It takes the network's parts under their names."""

    def __init__(self, net: VisionTransformer) -> None:
        super().__init__()
        self.class_token = net.class_token
        self.conv_proj = net.conv_proj
        self.encoder = net.encoder

    def forward(self, x: Tensor) -> Tensor:
        """Encode images."""
        patches = self.conv_proj(x)
        h, w = patches.shape[2:]
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
        tokens = self.encoder.dropout(tokens + interpolate_positions(self.encoder.pos_embedding, h, w))
        out: Tensor = self.encoder.ln(self.encoder.layers(tokens))[:, 1:]
        return torch.unflatten(out.transpose(1, 2), 2, (h, w))


def interpolate_positions(table: Tensor, h: int, w: int) -> Tensor:
    """Positions of a class token and a square of patches (1,1+n*n,D) for h x w patches: (1,1+h*w,D)."""
    side = round((table.shape[1] - 1) ** 0.5)
    if (h, w) == (side, side):
        return table
    grid = table[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    grid = F.interpolate(grid, (h, w), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], grid.flatten(2).transpose(1, 2)], 1)


def _tiny() -> VisionTransformer:
    return VisionTransformer(48, 8, num_layers=2, num_heads=2, hidden_dim=48, mlp_dim=96, num_classes=1)
