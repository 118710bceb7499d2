"""S3D and S3D-G (Xie et al., ECCV 2018, arXiv:1712.04851; the S3D of torchvision, its blocks with our gates).

S3D is an Inception whose k x k x k convolutions are split into space and time. S3D-G adds self-gating to each branch: a
channel passes as far as the whole clip's mean asks for it, so S3D-G sees the whole clip at every step. SpeedNet uses it.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models.video.s3d import S3D, SepInceptionBlock3D, TemporalSeparableConv
from torchvision.ops.misc import Conv3dNormActivation

from ssvid.zoo.backbone import remove_temporal_stride

MODELS = {
    "*": {
        "frames": 64,
        "size": 224,
        "mean": (0.43216, 0.394666, 0.37645),
        "std": (0.22803, 0.22145, 0.216989),
        "source": "torchvision.models.video",
        "licence": "BSD-3-Clause",
    },
    "s3d": {
        "description": "S3D: Inception with separable 3-D convolutions",
        "published": [["Kinetics-400", "supervised, 1 clip of 128x224", "top-1", 68.368, "torchvision KINETICS400_V1"]],
        "weights": {"kinetics400": "https://download.pytorch.org/models/s3d-d76dad2f.pth"},
    },
    "s3dg": {
        "description": "S3D-G: S3D with self-gating, the network of SpeedNet",
        "published": [["Kinetics-400", "supervised, clips of 64x224", "top-1", 74.7, "arXiv:1712.04851"]],
    },
    "s3dg_small": {
        "description": "S3D-G of half the width, without its last two blocks: cells of 16 px, a million weights",
        "frames": 16,
        "size": 112,
    },
    "s3d_tiny": {
        "description": "Small S3D, for tests and laptops",
        "frames": 16,
        "size": 48,
    },
    "s3dg_tiny": {
        "description": "Small S3D-G, for tests and laptops",
        "frames": 16,
        "size": 48,
    },
}

# torchvision's momentum of 0.001 leaves the running statistics near their start through a short pretraining
norm = partial(nn.BatchNorm3d, eps=1e-3, momentum=0.1)


class SelfGating(nn.Module):
    """y = sigmoid(W mean(x) + b) * x, channel by channel, the mean taken over the whole clip: (B,D,t,h,w) -> same."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Scale every channel of `x` by its gate."""
        return torch.sigmoid(self.linear(x.mean((2, 3, 4))))[:, :, None, None, None] * x


def build(name: str, *, temporal_stride: bool = True) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,t,h,w).

    Args:
        name: a key of `MODELS`.
        temporal_stride: False keeps every frame (t == T), as SpeedNet does.
    """
    trunk = {"s3d_tiny": _tiny, "s3dg_tiny": _tiny, "s3dg_small": _small}.get(name, _full)()
    if name.startswith("s3dg"):
        _add_gates(trunk)
    for module in trunk.modules():
        if isinstance(module, nn.Conv3d):
            # torchvision leaves its S3D without one, and untrained features then vanish; fan-in keeps their scale
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    if not temporal_stride:
        remove_temporal_stride(trunk)
    else:
        # five frames would do, but below eight oneDNN (torch 2.15, CPU) gets the gradient of the strided temporal convolutions wrong, or
        # crashes; `ssvid.zoo.measure` takes this as the floor
        trunk.min_frames = 8  # type: ignore[assignment]
    return trunk


def _add_gates(trunk: nn.Module) -> None:
    """Append a gate to every branch of every Inception block; S3D's own weights keep their names."""
    for block in trunk.modules():
        if isinstance(block, SepInceptionBlock3D):
            for branch in (block.branch0, block.branch1, block.branch2, block.branch3):
                convs = [module for module in branch.modules() if isinstance(module, nn.Conv3d)]
                branch.append(SelfGating(convs[-1].out_channels))


def _full() -> nn.Sequential:
    trunk: nn.Sequential = S3D(norm_layer=norm).features
    return trunk


def _small() -> nn.Sequential:
    """The layers of S3D up to its seventh Inception block, at half their widths."""
    return nn.Sequential(
        TemporalSeparableConv(3, 32, 7, 2, 3, norm),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        Conv3dNormActivation(32, 32, 1, norm_layer=norm),
        TemporalSeparableConv(32, 96, 3, 1, 1, norm),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        SepInceptionBlock3D(96, 32, 48, 64, 8, 16, 16, norm),
        SepInceptionBlock3D(128, 64, 64, 96, 16, 48, 32, norm),
        nn.MaxPool3d(3, 2, 1),
        SepInceptionBlock3D(240, 96, 48, 104, 8, 24, 32, norm),
        SepInceptionBlock3D(256, 80, 56, 112, 12, 32, 32, norm),
        SepInceptionBlock3D(256, 64, 64, 128, 12, 32, 32, norm),
        SepInceptionBlock3D(256, 56, 72, 144, 16, 32, 32, norm),
        SepInceptionBlock3D(264, 128, 80, 160, 16, 64, 64, norm),
    )


def _tiny() -> nn.Sequential:
    """S3D's parts, narrow and with three blocks, reaching 1/8 of the frame at once: time is spent on the early, large maps."""
    return nn.Sequential(
        Conv3dNormActivation(3, 16, (1, 7, 7), (1, 4, 4), norm_layer=norm),
        Conv3dNormActivation(16, 16, (7, 1, 1), (2, 1, 1), norm_layer=norm),
        TemporalSeparableConv(16, 32, 3, 1, 1, norm),
        nn.MaxPool3d(3, 2, 1),
        SepInceptionBlock3D(32, 16, 16, 32, 8, 8, 8, norm),
        SepInceptionBlock3D(64, 24, 24, 48, 8, 12, 12, norm),
        nn.MaxPool3d(2, 2),
        SepInceptionBlock3D(96, 32, 32, 64, 8, 16, 16, norm),
    )
