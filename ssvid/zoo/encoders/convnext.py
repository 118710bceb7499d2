"""ConvNeXt, applied to every frame alone (Liu et al., CVPR 2022, arXiv:2201.03545; networks of torchvision).

The names end in one letter, for what ends in `_tiny` here is a network for tests: torchvision's convnext_tiny is convnext_t.
"""

from __future__ import annotations

from typing import Literal

from torch import nn
from torchvision.models import ConvNeXt, get_model
from torchvision.models.convnext import CNBlockConfig

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
    "convnext_t": {
        "description": "ConvNeXt-T per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 82.520, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/convnext_tiny-983f1562.pth"},
    },
    "convnext_s": {
        "description": "ConvNeXt-S per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 83.616, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/convnext_small-0c510722.pth"},
    },
    "convnext_b": {
        "description": "ConvNeXt-B per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 84.062, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/convnext_base-6075fbad.pth"},
    },
    "convnext_tiny": {"description": "Small ConvNeXt per frame, for tests and laptops", "size": 48},
}

THEIRS = {"convnext_t": "convnext_tiny", "convnext_s": "convnext_small", "convnext_b": "convnext_base"}


def build(name: str, *, output_stride: Literal[32, 16, 8] = 32) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,T,h,w).

    output_stride: largest stride of the map's cells, 32, or 16 or 8 for a finer map, made by dropping the last one or two strides.
    """
    trunk = _tiny() if name == "convnext_tiny" else get_model(THEIRS[name], weights=None).features
    limit_stride(trunk, output_stride)
    return PerFrame(trunk)


def _tiny() -> nn.Module:
    """One block a stage at strides 4, 8 and 16; a layer scale at which blocks take part from the start."""
    stages = [CNBlockConfig(16, 32, 1), CNBlockConfig(32, 64, 1), CNBlockConfig(64, None, 1)]
    features: nn.Module = ConvNeXt(stages, layer_scale=0.1, num_classes=1).features
    return features
