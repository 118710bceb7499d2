"""AlexNet, applied to every frame alone (Krizhevsky et al., NeurIPS 2012; the one-tower version of torchvision, arXiv:1404.5997).

Shuffle-and-learn and OPN were shown on it. The map is that of conv5: the last pool is left out, so that 32 px suffice.
"""

from __future__ import annotations

from typing import Literal

from torch import nn
from torchvision.models import get_model

from ssvid.zoo.backbone import PerFrame
from ssvid.zoo.output_stride import limit_stride

MODELS = {
    "*": {
        "frames": 16,
        "size": 224,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "source": "torchvision.models",
        "licence": "BSD-3-Clause",
    },
    "alexnet": {
        "description": "AlexNet per frame, up to conv5",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 56.522, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"},
    },
    "alexnet_tiny": {"description": "Small AlexNet per frame, for tests and laptops", "size": 48},
}


def build(name: str, *, output_stride: Literal[16, 8] = 16) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,T,h,w).

    output_stride: largest stride of the map's cells, 16, or 8 for a finer map, made by dropping the stride of the last pool.
    """
    trunk = _tiny() if name == "alexnet_tiny" else get_model(name, weights=None).features[:-1]
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            # torchvision leaves AlexNet with PyTorch's default, under which untrained features shrink from layer to layer
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    limit_stride(trunk, output_stride)
    return PerFrame(trunk)


def _tiny() -> nn.Sequential:
    """AlexNet's first layer, narrow, then a pool before each of two further convolutions: stride 16."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 11, 4, 5),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(16, 32, 5, 1, 2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(32, 64, 3, 1, 1),
        nn.ReLU(inplace=True),
    )
