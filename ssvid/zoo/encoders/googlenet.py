"""GoogLeNet, the first Inception, applied to every frame alone (Szegedy et al., CVPR 2015, arXiv:1409.4842; torchvision, with batch norm).

Its successor Inception-v3 is not here: it pads none of its first convolutions, so its maps do not lie on a regular grid of the frame.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from torch import nn
from torchvision.models import GoogLeNet
from torchvision.models.googlenet import BasicConv2d, Inception

from ssvid.zoo.backbone import PerFrame
from ssvid.zoo.output_stride import limit_stride

MODELS = {
    "*": {
        "frames": 16,
        "size": 224,
        # of Inception: torchvision's network turns the normalisation of its other networks into this one (`transform_input`)
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "source": "torchvision.models",
        "licence": "BSD-3-Clause",
    },
    "googlenet": {
        "description": "GoogLeNet (Inception-v1) per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 69.778, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/googlenet-1378be20.pth"},
    },
    "googlenet_tiny": {"description": "Small GoogLeNet per frame, for tests and laptops", "size": 48},
}

HEAD = ("aux1", "aux2", "avgpool", "dropout", "fc")


def build(name: str, *, output_stride: Literal[32, 16, 8] = 32) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,T,h,w).

    output_stride: largest stride of the map's cells, 32, or 16 or 8 for a finer map, made by dropping the stride of the last one or two
        pools.
    """
    if name == "googlenet_tiny":
        trunk = _tiny()
    else:
        net = GoogLeNet(aux_logits=False, init_weights=False)
        # the names of torchvision are kept, so that its weights load
        trunk = nn.Sequential(OrderedDict((key, part) for key, part in net.named_children() if key not in HEAD))
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    limit_stride(trunk, output_stride)
    return PerFrame(trunk)


def _tiny() -> nn.Sequential:
    """Two convolutions with a pool after each, and one Inception block: stride 16."""
    return nn.Sequential(
        BasicConv2d(3, 16, kernel_size=7, stride=4, padding=3),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        BasicConv2d(16, 32, kernel_size=3, padding=1),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Inception(32, 16, 16, 32, 4, 8, 8),
    )
