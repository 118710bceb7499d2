"""Video Swin Transformers (Liu et al., CVPR 2022, arXiv:2106.13230; networks of torchvision).

Cells attend to one another within windows of 8 steps of 7 x 7 cells, which are shifted from block to block. The map is that after the last
norm. Clips of any length and size are taken: they are padded with zeros to whole patches and windows.
"""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.video import SwinTransformer3d

MODELS = {
    "*": {
        "frames": 32,
        "size": 224,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "isolation": "still",
        "source": "torchvision.models.video",
        "licence": "BSD-3-Clause",
    },
    "swin3d_t": {
        "description": "Video Swin-T: attention within shifted windows",
        "published": [
            ["Kinetics-400", "supervised, 12 clips of 32x224", "top-1", 77.715, "torchvision KINETICS400_V1"]
        ],
        "weights": {"kinetics400": "https://download.pytorch.org/models/swin3d_t-7615ae03.pth"},
    },
    "swin3d_s": {
        "description": "Video Swin-S: attention within shifted windows, deeper",
        "published": [
            ["Kinetics-400", "supervised, 12 clips of 32x224", "top-1", 79.521, "torchvision KINETICS400_V1"]
        ],
        "weights": {"kinetics400": "https://download.pytorch.org/models/swin3d_s-da41c237.pth"},
    },
    "swin3d_b": {
        "description": "Video Swin-B: attention within shifted windows, deeper and wider",
        "published": [
            ["Kinetics-400", "supervised, 12 clips of 32x224", "top-1", 79.427, "torchvision KINETICS400_V1"]
        ],
        "weights": {"kinetics400": "https://download.pytorch.org/models/swin3d_b_1k-24f7c7c6.pth"},
    },
    "swin3d_tiny": {
        "description": "Small Video Swin, for tests and laptops",
        "frames": 8,
        "size": 32,
    },
}


def build(name: str) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,t,h,w)."""
    return SwinMap(_tiny() if name == "swin3d_tiny" else get_model(name, weights=None))


class SwinMap(nn.Module):
    """A video Swin without its head: (B,3,T,H,W) -> (B,D,t,h,w). It takes the network's parts under their names."""

    def __init__(self, net: SwinTransformer3d) -> None:
        super().__init__()
        self.patch_embed = net.patch_embed
        self.features = net.features
        self.norm = net.norm

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips."""
        cells: Tensor = self.norm(self.features(self.patch_embed(x)))  # (B,t,h,w,D)
        return cells.permute(0, 4, 1, 2, 3)


def _tiny() -> SwinTransformer3d:
    return SwinTransformer3d(
        patch_size=[2, 8, 8],
        embed_dim=16,
        depths=[1, 2],
        num_heads=[2, 4],
        window_size=[4, 2, 2],
        stochastic_depth_prob=0.0,
        num_classes=1,
    )
