"""VGG, applied to every frame alone (Simonyan and Zisserman, ICLR 2015, arXiv:1409.1556; networks of torchvision)."""

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
    "vgg11": {
        "description": "VGG-11 per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 69.020, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/vgg11-8a719046.pth"},
    },
    "vgg16": {
        "description": "VGG-16 per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 71.592, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/vgg16-397923af.pth"},
    },
    "vgg16_bn": {
        "description": "VGG-16 with batch norm per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 73.360, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth"},
    },
    "vgg19": {
        "description": "VGG-19 per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 72.376, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"},
    },
    "vgg_tiny": {"description": "Small VGG with batch norm per frame, for tests and laptops", "size": 48},
}


def build(name: str, *, output_stride: Literal[32, 16, 8] = 32) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,T,h,w).

    output_stride: largest stride of the map's cells, 32, or 16 or 8 for a finer map, made by leaving out the last one or two pools.
    """
    if name == "vgg_tiny":
        trunk = nn.Sequential(*[layer for widths in ((3, 12), (12, 24), (24, 48)) for layer in _stage(*widths)])
    else:
        trunk = get_model(name, weights=None).features
    limit_stride(trunk, output_stride)
    return PerFrame(trunk)


def _stage(before: int, after: int) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, 3, 1, 1)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return [conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2)]
