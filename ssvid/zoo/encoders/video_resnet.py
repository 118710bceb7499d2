"""R3D, MC3 and R(2+1)D (Tran et al., CVPR 2018, arXiv:1711.11248; networks of torchvision).

R3D convolves space and time together, R(2+1)D one after the other, MC3 mixes time in its first two stages only and keeps
every frame. torchvision's R(2+1)D has 31.5 M parameters where the paper's has 33.4 M: it takes one middle width per block, the paper
one per convolution, as r2plus1d_18_paper does. Pretext tasks are often reported on the nets of ten layers, one block a stage (VCOP).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn
from torchvision.models.video.resnet import (
    BasicBlock,
    BasicStem,
    Conv2Plus1D,
    Conv3DNoTemporal,
    Conv3DSimple,
    R2Plus1dStem,
    VideoResNet,
)

from ssvid.zoo.backbone import remove_temporal_stride

MODELS = {
    "*": {
        "frames": 16,
        "size": 112,
        "mean": (0.43216, 0.394666, 0.37645),
        "std": (0.22803, 0.22145, 0.216989),
        "source": "torchvision.models.video",
        "licence": "BSD-3-Clause",
    },
    "r3d_18": {
        "description": "R3D-18: 3-D convolutions throughout",
        "published": [["Kinetics-400", "supervised, 5 clips of 16x112", "top-1", 63.200, "torchvision KINETICS400_V1"]],
        "weights": {"kinetics400": "https://download.pytorch.org/models/r3d_18-b3b3357e.pth"},
    },
    "mc3_18": {
        "description": "MC3-18: 3-D convolutions in the first two stages, keeps every frame",
        "published": [["Kinetics-400", "supervised, 5 clips of 16x112", "top-1", 63.960, "torchvision KINETICS400_V1"]],
        "weights": {"kinetics400": "https://download.pytorch.org/models/mc3_18-a90a0ba3.pth"},
    },
    "r2plus1d_18": {
        "description": "R(2+1)D-18: space and time convolved one after the other",
        "published": [["Kinetics-400", "supervised, 5 clips of 16x112", "top-1", 67.463, "torchvision KINETICS400_V1"]],
        "weights": {"kinetics400": "https://download.pytorch.org/models/r2plus1d_18-91a641e6.pth"},
    },
    "r3d_10": {"description": "R3D-10: one block a stage"},
    "r3d_34": {"description": "R3D-34: 3-D convolutions throughout"},
    "r2plus1d_10": {"description": "R(2+1)D-10: one block a stage"},
    "r2plus1d_18_paper": {
        "description": "R(2+1)D-18 with the widths of the paper, a middle width per convolution",
        "published": [["Kinetics-400", "supervised, 10 clips of 16x112", "top-1", 68.5, "VMZ"]],
    },
    "r2plus1d_34": {"description": "R(2+1)D-34: space and time convolved one after the other"},
    "r3d_18_small": {
        "description": "R3D of half the width, one block in each of three stages: cells of 16 px, a million weights",
        "size": 96,
        "weights": {"pace": "package:ssvid/zoo/pretrained/r3d_18_small-pace/backbone.safetensors"},
    },
    "r3d_18_tiny": {
        "description": "Small R3D, for tests and laptops",
        "size": 48,
    },
    "mc3_18_tiny": {
        "description": "Small MC3, for tests and laptops, keeps every frame",
        "size": 48,
    },
    "r2plus1d_18_tiny": {
        "description": "Small R(2+1)D, for tests and laptops",
        "size": 48,
    },
}

DEPTHS = {"10": (1, 1, 1, 1), "18": (2, 2, 2, 2), "34": (3, 4, 6, 3)}  # blocks of each stage
Conv = type[Conv3DSimple] | type[Conv3DNoTemporal] | type[Conv2Plus1D]
SMALL: dict[str, tuple[Conv, ...]] = {
    "r3d_18_small": (Conv3DSimple, Conv3DSimple, Conv3DSimple),
    "r3d_18_tiny": (Conv3DSimple, Conv3DSimple, Conv3DSimple),
    "mc3_18_tiny": (Conv3DSimple, Conv3DNoTemporal, Conv3DNoTemporal),
    "r2plus1d_18_tiny": (Conv2Plus1D, Conv2Plus1D, Conv2Plus1D),
}


class MiddlePerConv(Conv2Plus1D):  # type: ignore[misc]
    """Convolution over space, then time, with about the parameters of one over both: the middle width is that of this convolution alone."""

    def __init__(self, in_planes: int, out_planes: int, midplanes: int, stride: int = 1, padding: int = 1) -> None:
        middle = 27 * in_planes * out_planes // (9 * in_planes + 3 * out_planes)
        super().__init__(in_planes, out_planes, middle, stride, padding)


def build(name: str, *, temporal_stride: bool = True) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,t,h,w).

    Args:
        name: a key of `MODELS`.
        temporal_stride: False keeps every frame (t == T).
    """
    planes = (16, 32, 64) if name.endswith("_tiny") else (32, 64, 128)
    trunk = _small(SMALL[name], planes) if name in SMALL else _full(name)
    if not temporal_stride:
        remove_temporal_stride(trunk)
    return trunk


def _full(name: str) -> nn.Sequential:
    """torchvision's network without its head, under the same names, so that its weights load."""
    kind, depth, *paper = name.split("_")
    later: Conv = {"r3d": Conv3DSimple, "mc3": Conv3DNoTemporal, "r2plus1d": MiddlePerConv if paper else Conv2Plus1D}[
        kind
    ]
    convs = [Conv3DSimple if kind == "mc3" else later, later, later, later]
    stem = R2Plus1dStem if kind == "r2plus1d" else BasicStem
    net = VideoResNet(BasicBlock, convs, DEPTHS[depth], stem)
    return nn.Sequential(OrderedDict(list(net.named_children())[:-2]))


def _small(convs: tuple[Conv, ...], planes: tuple[int, ...]) -> nn.Sequential:
    """Stem of spatial stride 4, then one block a stage at strides 1, 2, 2; torchvision fixes its widths, hence not its class."""
    stages: list[nn.Module] = [
        _stem(planes[0], separable=convs[0] is Conv2Plus1D),
        BasicBlock(planes[0], planes[0], convs[0]),
    ]
    for conv, before, after in zip(convs[1:], planes, planes[1:], strict=False):
        shortcut = nn.Conv3d(before, after, 1, stride=conv.get_downsample_stride(2), bias=False)
        stages.append(
            BasicBlock(before, after, conv, stride=2, downsample=nn.Sequential(shortcut, nn.BatchNorm3d(after)))
        )
    net = nn.Sequential(*stages)
    for module in net.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


def _stem(planes: int, separable: bool) -> nn.Sequential:
    spatial = nn.Conv3d(3, planes, (1, 7, 7), (1, 4, 4), (0, 3, 3), bias=False)
    temporal = nn.Conv3d(planes, planes, (3, 1, 1), 1, (1, 0, 0), bias=False)
    joint = nn.Conv3d(3, planes, (3, 7, 7), (1, 4, 4), (1, 3, 3), bias=False)
    convs = (spatial, temporal) if separable else (joint,)
    return nn.Sequential(*[layer for conv in convs for layer in (conv, nn.BatchNorm3d(planes), nn.ReLU(inplace=True))])
