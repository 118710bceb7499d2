"""C3D (Tran et al., ICCV 2015, arXiv:1412.0767): eight 3 x 3 x 3 convolutions between max pools, and its descendant with batch norm.

Pools round sizes up, as those of Caffe do, in which C3D was written.

The paper's network gives the activations of its linear layers fc6 and fc7 as features; pretext tasks (VCOP, Pace) take the map of conv5 of
the one with batch norm. It costs 38.5 G multiply-adds a clip; the 39.5 G that is often quoted counts 27 times those of the linear layers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo.backbone import remove_temporal_stride

MODELS = {
    "*": {
        "frames": 16,
        "size": 112,
        "mean": (0.43216, 0.394666, 0.37645),
        "std": (0.22803, 0.22145, 0.216989),
        "source": "here, after arXiv:1412.0767",
        "licence": "Apache-2.0",
    },
    "c3d": {
        "description": "C3D: eight 3-D convolutions between pools, no norm",
        "published": [
            ["Sports-1M", "supervised, 16x112, of videos", "top-1", 61.1, "arXiv:1412.0767"],
            ["UCF101", "supervised on Sports-1M, then a linear SVM on fc6", "top-1", 82.3, "arXiv:1412.0767"],
        ],
    },
    "c3d_bn": {
        "description": "C3D with batch norm, the C3D of pretext tasks",
        "published": [["Kinetics-400", "supervised, 10 clips of 16x112", "top-1", 66.6, "VMZ"]],
    },
    "c3d_tiny": {
        "description": "Small C3D with batch norm, for tests and laptops",
        "size": 48,
    },
}

WIDTHS = (
    ("conv1", 64),
    ("conv2", 128),
    ("conv3a", 256),
    ("conv3b", 256),
    ("conv4a", 512),
    ("conv4b", 512),
    ("conv5a", 512),
    ("conv5b", 512),
)
TINY_WIDTHS = (("conv1", 8), ("conv2", 16), ("conv3a", 24), ("conv4a", 48), ("conv5a", 64))
# layers that a max pool stands before, over space and over so many frames
POOLED_BEFORE = {"conv2": 1, "conv3a": 2, "conv4a": 2, "conv5a": 2}


def build(name: str, *, layer: Literal["conv5", "fc6", "fc7"] = "conv5", temporal_stride: bool = True) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,t,h,w).

    Args:
        name: a key of `MODELS`.
        layer: whose activations the map holds: "conv5", of the last convolution, or "fc6" or "fc7", one cell of 4096 channels (64 of
            c3d_tiny) that has seen 16 frames of 112 px; the maps of other clips are brought to the size of that clip's by averaging.
        temporal_stride: False keeps every frame (t == T) in the map of conv5.

    Raises ConfigError for linear layers without temporal stride.
    """
    if layer != "conv5" and not temporal_stride:
        raise ConfigError(f"{name} has one step of {layer} for a whole clip; temporal_stride=False needs layer=conv5.")
    tiny, norm = name == "c3d_tiny", name != "c3d"
    widths = TINY_WIDTHS if tiny else WIDTHS
    trunk = nn.Sequential(OrderedDict(_convolutions(widths, norm)))
    if layer != "conv5":
        trunk.append(_Linear(widths[-1][1], 64 if tiny else 4096, norm, layers=1 if layer == "fc6" else 2))
    for module in trunk.modules():
        if isinstance(module, nn.Conv3d | nn.Linear):
            nn.init.kaiming_normal_(
                module.weight, nonlinearity="relu"
            )  # without norm, the paper's fixed 0.01 lets features vanish
    if not temporal_stride:
        remove_temporal_stride(trunk)
    return trunk


def _convolutions(widths: Sequence[tuple[str, int]], norm: bool) -> list[tuple[str, nn.Module]]:
    layers: list[tuple[str, nn.Module]] = []
    before = 3
    for name, after in widths:
        if name in POOLED_BEFORE:
            kernel = (POOLED_BEFORE[name], 2, 2)
            layers.append((f"pool{int(name[4]) - 1}", nn.MaxPool3d(kernel, kernel, ceil_mode=True)))
        layers.append((name, nn.Conv3d(before, after, 3, padding=1, bias=not norm)))
        if norm:
            layers.append((f"{name}_bn", nn.BatchNorm3d(after)))
        layers.append((f"{name}_relu", nn.ReLU(inplace=True)))
        before = after
    return layers


class _Linear(nn.Module):
    """pool5 and the linear layers: (B,dim,t,h,w) -> (B,width,1,1,1). 7 x 7 cells are pooled to 4 x 4, as in Caffe, or 3 x 3 with norm."""

    def __init__(self, dim: int, width: int, norm: bool, layers: int) -> None:
        super().__init__()
        self.cells = 3 if norm else 4
        self.pool5 = nn.MaxPool3d(2, 2, ceil_mode=not norm)
        self.fc6 = nn.Linear(dim * self.cells**2, width)
        self.fc7 = nn.Linear(width, width) if layers == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        cells = F.adaptive_avg_pool3d(self.pool5(x), (1, self.cells, self.cells))
        out = F.relu(self.fc6(cells.flatten(1)))
        if self.fc7 is not None:
            out = F.relu(self.fc7(out))
        return out[..., None, None, None]
