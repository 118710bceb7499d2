"""The 2D-3D ResNets of DPC and CoCLR (Han et al., ICCVW 2019, arXiv:1909.04656; NeurIPS 2020, arXiv:2010.09709).

Two stages see frames alone, two convolve time as well and halve it. The last stage is 256 wide, not 512, and ends without its ReLU, since
DPC predicts the map itself. Names of tensors are those of image ResNets, which DPC's checkpoints keep.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.zoo.backbone import remove_temporal_stride

MODELS = {
    "*": {
        "frames": 16,
        "size": 128,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "source": "here, after arXiv:1909.04656",
        "licence": "Apache-2.0",
    },
    "r2d3d_18": {"description": "2D-3D ResNet-18: time from the third stage on, the network of DPC"},
    "r2d3d_34": {"description": "2D-3D ResNet-34: time from the third stage on, the network of DPC"},
    "r2d3d_tiny": {
        "description": "Small 2D-3D ResNet, for tests and laptops",
        "size": 48,
    },
}

PLANES = (64, 128, 256, 256)
DEPTHS = {"r2d3d_18": (2, 2, 2, 2), "r2d3d_34": (3, 4, 6, 3)}


class _Block(nn.Module):
    """Two convolutions and a shortcut: (B,before,T,H,W) -> (B,after,t,h,w), over time too where `temporal`."""

    def __init__(self, before: int, after: int, stride: int, temporal: bool, last: bool = False) -> None:
        super().__init__()
        kernel, padding = ((3, 3, 3), (1, 1, 1)) if temporal else ((1, 3, 3), (0, 1, 1))
        strides = (stride if temporal else 1, stride, stride)
        self.conv1 = nn.Conv3d(before, after, kernel, strides, padding, bias=False)
        self.bn1 = nn.BatchNorm3d(after)
        self.conv2 = nn.Conv3d(after, after, kernel, 1, padding, bias=False)
        self.bn2 = nn.BatchNorm3d(after)
        changes = stride != 1 or before != after
        shortcut = nn.Conv3d(before, after, 1, strides, bias=False) if changes else None
        self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(after)) if shortcut else None
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        out = out + (x if self.downsample is None else self.downsample(x))
        return out if self.last else F.relu(out)


def build(name: str, *, temporal_stride: bool = True) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,t,h,w).

    Args:
        name: a key of `MODELS`.
        temporal_stride: False keeps every frame (t == T).
    """
    if name == "r2d3d_tiny":
        trunk = _network((16, 32, 48), (1, 1, 1), temporal=(False, True, True), pool=False)
    else:
        trunk = _network(PLANES, DEPTHS[name], temporal=(False, False, True, True), pool=True)
    for module in trunk.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if not temporal_stride:
        remove_temporal_stride(trunk)
    return trunk


def _network(planes: Sequence[int], depths: Sequence[int], temporal: Sequence[bool], pool: bool) -> nn.Sequential:
    """Stem of spatial stride 4, by a pool or at once, and the stages at strides 1, 2, 2 ..."""
    stride = 2 if pool else 4
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv3d(3, planes[0], (1, 7, 7), (1, stride, stride), (0, 3, 3), bias=False),
        bn1=nn.BatchNorm3d(planes[0]),
        relu=nn.ReLU(inplace=True),
    )
    if pool:
        layers["maxpool"] = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
    before = planes[0]
    for stage, (after, depth, over_time) in enumerate(zip(planes, depths, temporal, strict=True), 1):
        blocks = []
        for block in range(depth):
            last = stage == len(planes) and block == depth - 1
            blocks.append(_Block(before, after, 2 if stage > 1 and block == 0 else 1, over_time, last))
            before = after
        layers[f"layer{stage}"] = nn.Sequential(*blocks)
    return nn.Sequential(layers)
