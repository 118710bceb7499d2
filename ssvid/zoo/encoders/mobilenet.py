"""MobileNets, applied to every frame alone (Sandler et al., CVPR 2018, arXiv:1801.04381; Howard et al., ICCV 2019, arXiv:1905.02244).

Networks of torchvision; they cost a tenth of a ResNet-18 and less.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import nn
from torchvision.models import get_model
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.ops.misc import Conv2dNormActivation

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
    "mobilenet_v2": {
        "description": "MobileNet-V2 per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 71.878, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth"},
    },
    "mobilenet_v3_small": {
        "description": "MobileNet-V3 small per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 67.668, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth"},
    },
    "mobilenet_v3_large": {
        "description": "MobileNet-V3 large per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 74.042, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/mobilenet_v3_large-8738ca79.pth"},
    },
    "mobilenet_tiny": {"description": "Small MobileNet-V2 per frame, for tests and laptops", "size": 48},
}


def build(name: str, *, output_stride: Literal[32, 16, 8] = 32) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,T,h,w).

    output_stride: largest stride of the map's cells, 32, or 16 or 8 for a finer map, made by dropping the last one or two strides.
    """
    trunk = _tiny() if name == "mobilenet_tiny" else get_model(name, weights=None).features
    limit_stride(trunk, output_stride)
    return PerFrame(trunk)


def _tiny() -> nn.Sequential:
    """MobileNet-V2's parts, narrow and with four blocks: stride 16."""
    layer = partial(Conv2dNormActivation, activation_layer=nn.ReLU6)
    net = nn.Sequential(
        layer(3, 16, stride=4),
        InvertedResidual(16, 16, 1, 1),
        InvertedResidual(16, 24, 2, 2),
        InvertedResidual(24, 24, 1, 2),
        InvertedResidual(24, 32, 2, 2),
        layer(32, 64, kernel_size=1),
    )
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return net
