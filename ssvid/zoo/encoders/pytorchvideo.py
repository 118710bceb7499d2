"""Networks of pytorchvideo without their heads: Slow and SlowFast (Feichtenhofer et al., ICCV 2019, arXiv:1812.03982), CSN (Tran et al.,
ICCV 2019, arXiv:1904.02811), C2D and R(2+1)D-50. `ssvid.zoo.encoders.x3d` has X3D.

Tensors keep the library's names, so its files of weights load. SlowFast takes one clip and gives its slow pathway every fourth frame; the
map is the slow one with the fast averaged to its steps. The library has the interaction-reduced CSN, `csn_*`; the interaction-preserved
one, `ip_csn_*`, is made here of the same parts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.zoo.backbone import remove_temporal_stride
from ssvid.zoo.pytorchvideo import (
    Blocks,
    Net,
    create_bottleneck_block,
    create_csn,
    create_r2plus1d,
    create_res_basic_stem,
    create_res_stage,
    create_resnet,
    create_slowfast,
)

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
        "published": [
            ["Kinetics-400", "supervised, 30 views of 32x256", "top-1", 76.94, "pytorchvideo SLOWFAST_8x8_R50"]
        ],
        "weights": {
            "kinetics400": "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R50.pyth"
        },
    },
    "slowfast_r101": {
        "description": "SlowFast-R101: a wide pathway at a quarter of the frames, a thin one at all",
        "frames": 32,
        "published": [
            ["Kinetics-400", "supervised, 30 views of 32x256", "top-1", 77.90, "pytorchvideo SLOWFAST_8x8_R101"]
        ],
        "weights": {
            "kinetics400": "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R101.pyth"
        },
    },
    "csn_r101": {
        "description": "ir-CSN-101: 3-D convolutions channel by channel",
        "frames": 32,
        "published": [["Kinetics-400", "supervised, 30 views of 32x256", "top-1", 77.00, "pytorchvideo CSN_32x2_R101"]],
        "weights": {"kinetics400": "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/CSN_32x2_R101.pyth"},
    },
    "csn_r50": {"description": "ir-CSN-50: 3-D convolutions channel by channel", "frames": 32},
    "csn_r152": {
        "description": "ir-CSN-152: 3-D convolutions channel by channel",
        "frames": 32,
        "published": [["Kinetics-400", "supervised, 30 views of 32x256", "top-1", 76.5, "VMZ model zoo"]],
    },
    "ip_csn_r50": {"description": "ip-CSN-50: channels mixed before each convolution channel by channel", "frames": 32},
    "ip_csn_r152": {
        "description": "ip-CSN-152: channels mixed before each convolution channel by channel",
        "frames": 32,
        "published": [["Kinetics-400", "supervised, 30 views of 32x256", "top-1", 77.8, "VMZ model zoo"]],
    },
    "r2plus1d_r50": {
        "description": "R(2+1)D-50: space and time convolved one after the other, with bottlenecks",
        "published": [
            ["Kinetics-400", "supervised, 30 views of 16x256", "top-1", 76.01, "pytorchvideo R2PLUS1D_16x4_R50"]
        ],
        "weights": {
            "kinetics400": "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/R2PLUS1D_16x4_R50.pyth"
        },
    },
    "slow_tiny": {"description": "Small Slow, for tests and laptops, keeps every frame", "size": 48},
    "slowfast_tiny": {"description": "Small SlowFast, for tests and laptops", "size": 48},
    "csn_tiny": {"description": "Small ir-CSN, for tests and laptops", "size": 48},
}


def build(name: str, *, temporal_stride: bool = True) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,t,h,w).

    Args:
        name: a key of `MODELS`.
        temporal_stride: False keeps every frame (t == T); the slow pathway of SlowFast is then given all of them.
    """
    trunk = _slowfast(name) if name.startswith("slowfast") else _resnet(name)
    if not temporal_stride:
        remove_temporal_stride(trunk)
        if isinstance(trunk, SlowFast):
            trunk.every = 1
    return trunk


def _resnet(name: str) -> nn.Module:
    if name.endswith("_tiny"):
        return _tiny_csn() if name == "csn_tiny" else _tiny_slow()
    if "csn_" in name:
        bottleneck = _mixing_bottleneck if name.startswith("ip_") else create_bottleneck_block
        depth = int(name.rpartition("_r")[2])
        return Blocks(create_csn(model_depth=depth, stem_pool=nn.MaxPool3d, bottleneck=bottleneck).blocks[:-1])
    if name == "r2plus1d_r50":
        return Blocks(create_r2plus1d().blocks[:-1])
    frames_alone = {"stage1_pool": nn.MaxPool3d, "stage_conv_a_kernel_size": ((1, 1, 1),) * 4}
    options: dict[str, Any] = frames_alone if name == "c2d_r50" else {}
    return Blocks(create_resnet(stem_conv_kernel_size=(1, 7, 7), head=None, **options).blocks)


def _mixing_bottleneck(*, dim_inner: int, **options: Any) -> nn.Module:
    """A bottleneck of ip-CSN, which keeps the interactions of channels that the one of ir-CSN gives up: by a 1 x 1 x 1 convolution and its
    norm before the one over time and space."""
    block: Any = create_bottleneck_block(dim_inner=dim_inner, **options)
    mix, norm = nn.Conv3d(dim_inner, dim_inner, 1, bias=False), nn.BatchNorm3d(dim_inner)
    block.conv_b = nn.Sequential(OrderedDict(mix=mix, norm=norm, conv=block.conv_b))
    mixing: nn.Module = block
    return mixing


def _tiny_slow() -> nn.Module:
    """Stem and two stages of a block each, the second over time."""
    stem = _tiny_stem(conv_kernel_size=(1, 7, 7), conv_padding=(0, 3, 3))
    first = _stage(16, 32, conv_a_kernel_size=(1, 1, 1), conv_a_padding=(0, 0, 0), conv_b_stride=(1, 1, 1))
    return _initialised([stem, first, _stage(32, 64)])


def _tiny_csn() -> nn.Module:
    """Stem and two stages of a block each, whose convolutions over time and space are channel by channel."""
    alone: dict[str, Any] = {"conv_a_kernel_size": (1, 1, 1), "conv_a_padding": (0, 0, 0)}
    cubes: dict[str, Any] = alone | {"conv_b_kernel_size": (3, 3, 3), "conv_b_padding": (1, 1, 1)}
    first = _stage(16, 32, **cubes, conv_b_num_groups=8, conv_b_stride=(1, 1, 1))
    second = _stage(32, 64, **cubes, conv_b_num_groups=16, conv_b_stride=(2, 2, 2))
    return _initialised([_tiny_stem(), first, second])


def _tiny_stem(**options: Any) -> nn.Module:
    stem: nn.Module = create_res_basic_stem(in_channels=3, out_channels=16, conv_stride=(1, 4, 4), pool=None, **options)
    return stem


def _initialised(blocks: list[nn.Module]) -> Blocks:
    """With the weights that the library's networks begin with."""
    return Blocks(Net(blocks=nn.ModuleList(blocks)).blocks)


def _stage(before: int, after: int, **options: Any) -> nn.Module:
    sizes = {"dim_in": before, "dim_inner": after // 4, "dim_out": after}
    made: nn.Module = create_res_stage(
        depth=1, **sizes, bottleneck=create_bottleneck_block, conv_a_stride=(1, 1, 1), **options
    )
    return made


def _slowfast(name: str) -> nn.Module:
    if name == "slowfast_tiny":
        stem: dict[str, Any] = {
            "stem_dim_outs": (8, 2),
            "stem_conv_strides": ((1, 4, 4), (1, 4, 4)),
            "stem_pool": (None, None),
        }
        net = create_slowfast(model_depth=18, **stem, slowfast_channel_reduction_ratio=(4,), head=None)
        return SlowFast(net.blocks[:3])
    depth = int(name.removeprefix("slowfast_r"))
    fusion = (7 if depth == 50 else 5, 1, 1)
    net = create_slowfast(model_depth=depth, slowfast_fusion_conv_kernel_size=fusion, head=None)
    return SlowFast(net.blocks[:-1])  # without its pools of fixed size


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
