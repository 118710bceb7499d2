"""X3D: a small image network expanded along time, space, width and depth (Feichtenhofer, CVPR 2020, arXiv:2004.04730; pytorchvideo's).

Tensors keep the library's names, so its files of weights load. The map is that before its last pool, 432 channels wide. Its
squeeze-and-excitation pools over the whole clip, so every step sees all of it. With se=frame it pools over each frame, which can be had
of a stream too: the CoX3D of Hedegaard and Iosifidis (ECCV 2022, arXiv:2106.00050), for which the same weights fit.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Literal

from torch import Tensor, nn

from ssvid.zoo.backbone import remove_temporal_stride
from ssvid.zoo.pytorchvideo import Blocks, SqueezeExcitation, create_x3d

MODELS = {
    "*": {
        "frames": 16,
        "size": 224,
        "mean": (0.45, 0.45, 0.45),
        "std": (0.225, 0.225, 0.225),
        "source": "pytorchvideo.models",
        "licence": "Apache-2.0",
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
    "x3d_tiny": {"description": "Small X3D, for tests and laptops, keeps every frame", "size": 48},
}

# pytorchvideo's own Swish is a function that torch.export cannot follow; SiLU is the same one
X3D: dict[str, Any] = {"inner_act": nn.SiLU, "head_activation": None}


def build(name: str, *, temporal_stride: bool = True, se: Literal["clip", "frame"] = "clip") -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,t,h,w).

    Args:
        name: a key of `MODELS`.
        temporal_stride: False keeps every frame (t == T), as these do in any case.
        se: over what squeeze-and-excitation pools: "clip", as in the paper, or "frame", each frame alone, so that a step sees a part of
            the clip and the network streams exactly. The same weights fit; they are best trained with the pooling they are used with.
    """
    trunk = _tiny() if name == "x3d_tiny" else _full(depth=5.0 if name == "x3d_l" else 2.2)
    if se == "frame":
        _squeeze_frames(trunk)
    if not temporal_stride:
        remove_temporal_stride(trunk)
    return trunk


def _tiny() -> Blocks:
    net = create_x3d(
        width_factor=1.0, depth_factor=0.4, stem_conv_stride=(1, 4, 4), stage_spatial_stride=(1, 2, 2, 2), **X3D
    )
    return Blocks(net.blocks[:3])


def _full(depth: float) -> Blocks:
    net = create_x3d(depth_factor=depth, **X3D)
    head = net.blocks[-1].pool
    projection = nn.Sequential(OrderedDict(pre_conv=head.pre_conv, pre_norm=head.pre_norm, pre_act=head.pre_act))
    return Blocks([*net.blocks[:-1], nn.Sequential(OrderedDict(pool=projection))])


class FrameSqueezeExcitation(nn.Module):
    """A gate for every channel of every step, from the mean over its cells: (B,D,t,h,w) -> same. `block` makes it: (B,D,t,1,1) -> same."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        gated: Tensor = x * self.block(x.mean((3, 4), keepdim=True))
        return gated


def _squeeze_frames(trunk: nn.Module) -> None:
    """Have every squeeze-and-excitation pool over frames, in place; tensors keep their names."""
    for parent in list(trunk.modules()):
        for name, module in parent.named_children():
            if isinstance(module, SqueezeExcitation):
                setattr(parent, name, FrameSqueezeExcitation(module.block))
