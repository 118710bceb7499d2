"""Networks of pytorchvideo without their heads: Slow and SlowFast (Feichtenhofer et al., ICCV 2019, arXiv:1812.03982), X3D (Feichtenhofer,
CVPR 2020, arXiv:2004.04730), CSN (Tran et al., ICCV 2019, arXiv:1904.02811), C2D and R(2+1)D-50.

Tensors keep the library's names, so its files of weights load. SlowFast takes one clip and gives its slow pathway every fourth frame; the
map is the slow one with the fast averaged to its steps. The map of X3D is that before its last pool, 432 channels wide; its
squeeze-and-excitation pools over the whole clip, so every step sees all of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.zoo.backbone import remove_temporal_stride
from ssvid.zoo.pytorchvideo import Blocks, create_csn, create_r2plus1d, create_resnet, create_slowfast, create_x3d

MODELS = {
    "*": {
        "frames": 16,
        "size": 224,
        "mean": (0.45, 0.45, 0.45),
        "std": (0.225, 0.225, 0.225),
        "source": "pytorchvideo.models",
        "licence": "Apache-2.0",
    },
    "slow_r50": {
        "description": "Slow-R50: time in the last two stages, keeps every frame",
        "frames": 8,
        "published": [["Kinetics-400", "supervised, 30 views of 8x256", "top-1", 74.58, "pytorchvideo SLOW_8x8_R50"]],
        "weights": {"kinetics400": "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOW_8x8_R50.pyth"},
    },
    "c2d_r50": {
        "description": "C2D-R50: frames alone, and a max over pairs of them, so without direction",
        "frames": 8,
        "published": [["Kinetics-400", "supervised, 30 views of 8x256", "top-1", 71.46, "pytorchvideo C2D_8x8_R50"]],
        "weights": {"kinetics400": "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/C2D_8x8_R50.pyth"},
    },
    "slowfast_r50": {
        "description": "SlowFast-R50: a wide pathway at a quarter of the frames, a thin one at all",
        "frames": 32,
        "published": [["Kinetics-400", "supervised, 30 views of 32x256", "top-1", 76.94, "pytorchvideo SLOWFAST_8x8_R50"]],
        "weights": {"kinetics400": "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R50.pyth"},
    },
    "slowfast_r101": {
        "description": "SlowFast-R101: a wide pathway at a quarter of the frames, a thin one at all",
        "frames": 32,
        "published": [["Kinetics-400", "supervised, 30 views of 32x256", "top-1", 77.90, "pytorchvideo SLOWFAST_8x8_R101"]],
        "weights": {"kinetics400": "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R101.pyth"},
    },
    "csn_r101": {
        "description": "ir-CSN-101: 3-D convolutions channel by channel",
        "frames": 32,
        "published": [["Kinetics-400", "supervised, 30 views of 32x256", "top-1", 77.00, "pytorchvideo CSN_32x2_R101"]],
        "weights": {"kinetics400": "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/CSN_32x2_R101.pyth"},
    },
    "r2plus1d_r50": {
        "description": "R(2+1)D-50: space and time convolved one after the other, with bottlenecks",
        "published": [["Kinetics-400", "supervised, 30 views of 16x256", "top-1", 76.01, "pytorchvideo R2PLUS1D_16x4_R50"]],
        "weights": {"kinetics400": "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/R2PLUS1D_16x4_R50.pyth"},
    },
    "x3d_xs": {
        "description": "X3D-XS: small, channel by channel, keeps every frame",
        "frames": 4,
        "size": 160,
        "published": [["Kinetics-400", "supervised, 30 views of 4x182", "top-1", 69.12, "pytorchvideo X3D_XS"]],
        "weights": {"kinetics400": "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/X3D_XS.pyth"},
    },
    "x3d_s": {
        "description": "X3D-S: X3D-XS for longer clips",
        "frames": 13,
        "size": 160,
        "published": [["Kinetics-400", "supervised, 30 views of 13x182", "top-1", 73.33, "pytorchvideo X3D_S"]],
        "weights": {"kinetics400": "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/X3D_S.pyth"},
    },
    "x3d_m": {
        "description": "X3D-M: X3D-XS for longer clips of larger frames",
        "published": [["Kinetics-400", "supervised, 30 views of 16x256", "top-1", 75.94, "pytorchvideo X3D_M"]],
        "weights": {"kinetics400": "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/X3D_M.pyth"},
    },
    "x3d_l": {
        "description": "X3D-L: deeper, for large frames",
        "size": 312,
        "published": [["Kinetics-400", "supervised, 30 views of 16x356", "top-1", 77.44, "pytorchvideo X3D_L"]],
        "weights": {"kinetics400": "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/X3D_L.pyth"},
    },
    "slowfast_tiny": {"description": "Small SlowFast, for tests and laptops", "size": 48},
    "x3d_tiny": {"description": "Small X3D, for tests and laptops, keeps every frame", "size": 48},
}

# pytorchvideo's own Swish is a function that torch.export cannot follow; SiLU is the same one
X3D: dict[str, Any] = {"inner_act": nn.SiLU, "head_activation": None}
FRAMEWISE = ((1, 1, 1),) * 4


def build(name: str, *, temporal_stride: bool = True) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,t,h,w).

    Args:
        name: a key of `MODELS`.
        temporal_stride: False keeps every frame (t == T); the slow pathway of SlowFast is then given all of them.
    """
    kind = name.split("_")[0]
    trunk = {"slowfast": _slowfast, "x3d": _x3d}.get(kind, _resnet)(name)
    if not temporal_stride:
        remove_temporal_stride(trunk)
        if isinstance(trunk, SlowFast):
            trunk.every = 1
    return trunk


def _resnet(name: str) -> nn.Module:
    stem = {"stem_conv_kernel_size": (1, 7, 7)}
    if name == "slow_r50":
        net = create_resnet(**stem, head=None)
    elif name == "c2d_r50":
        net = create_resnet(**stem, stage1_pool=nn.MaxPool3d, stage_conv_a_kernel_size=FRAMEWISE, head=None)
    elif name == "csn_r101":
        net = create_csn(model_depth=101, stem_pool=nn.MaxPool3d)
        return Blocks(net.blocks[:-1])
    else:
        return Blocks(create_r2plus1d().blocks[:-1])
    return Blocks(net.blocks)


def _slowfast(name: str) -> nn.Module:
    if name == "slowfast_tiny":
        sizes = {"model_depth": 18, "stem_dim_outs": (8, 2), "slowfast_channel_reduction_ratio": (4,)}
        net = create_slowfast(**sizes, head=None)
        return SlowFast(net.blocks[:-2])  # without its last stage
    depth = int(name.removeprefix("slowfast_r"))
    fusion = (7 if depth == 50 else 5, 1, 1)
    net = create_slowfast(model_depth=depth, slowfast_fusion_conv_kernel_size=fusion, head=None)
    return SlowFast(net.blocks[:-1])  # without its pools of fixed size


def _x3d(name: str) -> nn.Module:
    if name == "x3d_tiny":
        net = create_x3d(width_factor=1.0, depth_factor=0.4, **X3D)
        return Blocks(net.blocks[:-2])  # without its last stage
    net = create_x3d(depth_factor=5.0 if name == "x3d_l" else 2.2, **X3D)
    head = net.blocks[-1].pool
    projection = nn.Sequential(OrderedDict(pre_conv=head.pre_conv, pre_norm=head.pre_norm, pre_act=head.pre_act))
    return Blocks([*net.blocks[:-1], nn.Sequential(OrderedDict(pool=projection))])


class SlowFast(Blocks):
    """Two pathways over one clip, the slow one given each frame in `every`: (B,3,T,H,W) -> (B,slow + fast channels,t,h,w)."""

    def __init__(self, blocks: Iterable[nn.Module], every: int = 4) -> None:
        super().__init__(blocks)
        self.every = every

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        pathways = [x[:, :, :: self.every], x]  # a list of our own: the library writes into it
        for block in self.blocks:
            pathways = block(pathways)
        slow, fast = pathways
        steps = (self.every, 1, 1)
        return torch.cat([slow, F.avg_pool3d(fast, steps, steps, ceil_mode=True)], 1)
