"""Image ResNets, applied to every frame alone (He et al., CVPR 2016, arXiv:1512.03385; networks of torchvision).

Frames do not mix, which tasks that compare frames need (walks, colour propagation, frame alignment). A task about speed or direction
must stay at chance on these encoders without a temporal head. Those that end with the third stage, named res4 by its place in the
network, have a quarter of the weights: correspondence is best found there (arXiv:1903.07593, arXiv:2006.14613).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from torch import nn
from torchvision.models import get_model
from torchvision.models.resnet import BasicBlock, conv1x1

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
    "resnet18": {
        "description": "ResNet-18 per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 69.758, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/resnet18-f37072fd.pth"},
    },
    "resnet34": {
        "description": "ResNet-34 per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 73.314, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/resnet34-b627a593.pth"},
    },
    "resnet50": {
        "description": "ResNet-50 per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 76.130, "torchvision IMAGENET1K_V1"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/resnet50-0676ba61.pth"},
    },
    "resnet18_res4": {
        "description": "ResNet-18 up to its third stage, per frame, for correspondence",
        "weights": {
            "imagenet1k": "https://download.pytorch.org/models/resnet18-f37072fd.pth",
            "colorization": "package:ssvid/zoo/pretrained/resnet18_res4-colorization/backbone.safetensors",
        },
    },
    "resnet50_res4": {
        "description": "ResNet-50 up to its third stage, per frame, for correspondence",
        "weights": {"imagenet1k": "https://download.pytorch.org/models/resnet50-0676ba61.pth"},
    },
    "resnet18_tiny": {
        "description": "Small ResNet per frame, for tests and laptops",
        "size": 48,
    },
}


def build(
    name: str, *, output_stride: Literal[32, 16, 8] = 32, padding: Literal["zeros", "replicate"] = "zeros"
) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,T,h,w).

    Args:
        name: a key of `MODELS`.
        output_stride: largest stride of the map's cells, 32, or 16 or 8 for a finer map, made by dropping the stride of the last one or two
            stages (as walks on patches use it, arXiv:2006.14613). That of resnet18_tiny is 8 in any case, that of res4 16 at most.
        padding: "zeros", or "replicate", the border's own values: zeros tell a cell how far from the border it lies, by which walks and
            colours can be matched without looking (arXiv:2105.05838).
    """
    trunk = _tiny() if name == "resnet18_tiny" else _full(name, output_stride)
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            module.padding_mode = "replicate" if padding == "replicate" else "zeros"
    return PerFrame(trunk)


def _full(name: str, output_stride: int) -> nn.Module:
    net = get_model(name.removesuffix("_res4"), weights=None)
    # the names of torchvision are kept, so that its weights load
    trunk = nn.Sequential(OrderedDict(list(net.named_children())[: -3 if name.endswith("_res4") else -2]))
    for stage, native in ((net.layer4, 32), (net.layer3, 16)):
        if output_stride < native:
            for module in stage.modules():
                if isinstance(module, nn.Conv2d):
                    module.stride = (1, 1)
    return trunk


def _tiny() -> nn.Module:
    """Stem of stride 4 without a pool, then one block a stage at strides 1, 2, 1: 48 px give a 6 x 6 map."""
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 16, 7, 4, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)),
        BasicBlock(16, 16),
        BasicBlock(16, 32, 2, downsample=nn.Sequential(conv1x1(16, 32, 2), nn.BatchNorm2d(32))),
        BasicBlock(32, 64, 1, downsample=nn.Sequential(conv1x1(32, 64, 1), nn.BatchNorm2d(64))),
    )
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net
