"""I3D, image networks inflated to video (Carreira & Zisserman, CVPR 2017, arXiv:1705.07750), and its ResNet-50 with non-local blocks.

A kernel of k x k pixels becomes one of k frames more; filled with an image network's weights, an inflated network answers a video that
stands still as the image network answers the image, but for the zeros that pad the clip's ends. i3d inflates torchvision's GoogLeNet, whose
tensors keep their names, so `i3d@imagenet1k` begins at ImageNet. i3d_r50 is that of pytorchvideo, which begins at Kinetics or, inflated
from torchvision's ResNet-50, at ImageNet; i3d_r50_nl adds five non-local blocks, which compare every cell with all others of the clip
(Wang et al., CVPR 2018, arXiv:1711.07971).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.zoo.backbone import remove_temporal_stride
from ssvid.zoo.inflation import InflatesWeights
from ssvid.zoo.pytorchvideo import Blocks, create_resnet
from ssvid.zoo.time_window import Layer, TimeWindow, convolution

MODELS = {
    "*": {
        "frames": 64,
        "size": 224,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "source": "here, after arXiv:1705.07750",
        "licence": "Apache-2.0",
    },
    "i3d": {
        "description": "I3D: GoogLeNet inflated to video",
        "published": [["Kinetics-400", "supervised from ImageNet, test set", "top-1", 71.1, "arXiv:1705.07750"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/googlenet-1378be20.pth"},
    },
    "i3d_r50": {
        "description": "I3D-R50: ResNet-50 inflated to video",
        "frames": 8,
        "mean": (0.45, 0.45, 0.45),
        "std": (0.225, 0.225, 0.225),
        "source": "pytorchvideo.models",
        "published": [["Kinetics-400", "supervised, 30 views of 8x256", "top-1", 73.27, "pytorchvideo I3D_8x8_R50"]],
        "weights": {
            "kinetics400": "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/I3D_8x8_R50.pyth",
            "imagenet1k": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
        },
    },
    "i3d_r50_nl": {
        "description": "I3D-R50 with five non-local blocks, which see the whole clip",
        "frames": 8,
        "mean": (0.45, 0.45, 0.45),
        "std": (0.225, 0.225, 0.225),
        "source": "pytorchvideo.models, blocks here after arXiv:1711.07971",
        "published": [["Kinetics-400", "supervised, 30 views of 32 frames", "top-1", 74.9, "arXiv:1711.07971"]],
    },
    "i3d_tiny": {
        "description": "Small I3D, for tests and laptops",
        "frames": 16,
        "size": 48,
    },
}

norm = partial(nn.BatchNorm3d, eps=1e-3)
BRANCHES = {  # channels of an Inception block's branches: of 1 x 1 alone, before and after two of 3 x 3, and after the pool
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}
TINY_BRANCHES = ((16, 16, 32, 8, 8, 8), (24, 24, 48, 8, 12, 12), (32, 32, 64, 8, 16, 16))
NON_LOCAL = {3: (1, 3), 4: (1, 3, 5)}  # stage of the trunk's blocks -> its residual blocks that a non-local one follows


def build(
    name: str,
    *,
    inflation: Literal["mean", "centre"] = "mean",
    temporal_padding: Literal["zeros", "replicate"] = "zeros",
    temporal_stride: bool = True,
) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,t,h,w).

    Args:
        name: a key of `MODELS`.
        inflation: how weights of images are spread over a kernel's frames when they are loaded: "mean", an equal share on each, or
            "centre", all on the middle one, so that the network begins as an image network that sees each frame alone.
        temporal_padding: what lies before and after a clip, "zeros", or "replicate", its first and last values: a video that stands still
            is then answered exactly as its image is.
        temporal_stride: False keeps every frame (t == T).
    """
    if name.startswith("i3d_r50"):
        trunk: InflatesWeights = _Resnet(non_local=name.endswith("_nl"))
    else:
        trunk = _tiny() if name == "i3d_tiny" else _googlenet()
        for module in trunk.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    trunk.inflation = inflation
    if temporal_padding == "replicate":
        _replicate_ends(trunk)
    if not temporal_stride:
        remove_temporal_stride(trunk)
    return trunk


class _Conv(nn.Sequential):
    """Convolution, norm and ReLU, under the names of torchvision's GoogLeNet."""

    def __init__(self, before: int, after: int, size: int, stride: int | tuple[int, int, int] = 1) -> None:
        conv = nn.Conv3d(before, after, size, stride, size // 2, bias=False)
        super().__init__(OrderedDict(conv=conv, bn=norm(after), relu=nn.ReLU(inplace=True)))


class _Inception(nn.Module):
    """Four branches side by side: (B,before,t,h,w) -> (B,sum of their channels,t,h,w)."""

    def __init__(self, before: int, branches: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        one, reduce2, two, reduce3, three, pool = branches
        self.branch1 = _Conv(before, one, 1)
        self.branch2 = nn.Sequential(_Conv(before, reduce2, 1), _Conv(reduce2, two, 3))
        self.branch3 = nn.Sequential(_Conv(before, reduce3, 1), _Conv(reduce3, three, 3))
        self.branch4 = nn.Sequential(nn.MaxPool3d(3, 1, 1), _Conv(before, pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


def _channels(branches: tuple[int, ...]) -> int:
    return branches[0] + branches[2] + branches[4] + branches[5]


class _Layers(InflatesWeights, nn.Sequential):
    """Layers one after the other."""


def _googlenet() -> _Layers:
    """torchvision's GoogLeNet, inflated, without its heads. Its pools round sizes up, ours too."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=_Conv(3, 64, 7, 2),
        maxpool1=nn.MaxPool3d((1, 3, 3), (1, 2, 2), ceil_mode=True),
        conv2=_Conv(64, 64, 1),
        conv3=_Conv(64, 192, 3),
        maxpool2=nn.MaxPool3d((1, 3, 3), (1, 2, 2), ceil_mode=True),
    )
    before = 192
    for name, branches in BRANCHES.items():
        if name in ("inception4a", "inception5a"):
            size = 3 if name == "inception4a" else 2
            layers[f"maxpool{int(name[9]) - 1}"] = nn.MaxPool3d(size, 2, ceil_mode=True)
        layers[name] = _Inception(before, branches)
        before = _channels(branches)
    return _Layers(layers)


def _tiny() -> _Layers:
    """I3D's parts, narrow and with three blocks, reaching 1/4 of the frame at once."""
    first, second, third = TINY_BRANCHES
    return _Layers(
        _Conv(3, 16, 7, (2, 4, 4)),
        _Conv(16, 32, 3),
        nn.MaxPool3d(3, 2, ceil_mode=True),
        _Inception(32, first),
        _Inception(_channels(first), second),
        nn.MaxPool3d(2, 2, ceil_mode=True),
        _Inception(_channels(second), third),
    )


class _Resnet(InflatesWeights, Blocks):
    """pytorchvideo's I3D-R50 without its head: blocks are stem, res2, a pool over time, res3, res4, res5."""

    def __init__(self, non_local: bool) -> None:
        alternating = ((3, 1, 1), (1, 1, 1))
        net = create_resnet(
            stem_conv_kernel_size=(5, 7, 7),
            stage1_pool=nn.MaxPool3d,
            stage_conv_a_kernel_size=((3, 1, 1), alternating, alternating, alternating[::-1]),
            head=None,
        )
        super().__init__(net.blocks)
        for stage, places in NON_LOCAL.items() if non_local else ():
            self.blocks[stage] = _NonLocalStage(self.blocks[stage], places)

    def renamed(self, name: str) -> str:
        """The name here of a tensor of torchvision's ResNet-50: that of "layer2.0.conv1.weight" begins with "blocks.3.res_blocks.0."."""
        name = re.sub(r"^conv1\.", "blocks.0.conv.", name)
        name = re.sub(r"^bn1\.", "blocks.0.norm.", name)
        match = re.match(r"layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)\.(.*)", name)
        if match is None:
            return name
        layer, block, kind, number, rest = match.groups()
        stage = int(layer) if layer == "1" else int(layer) + 1  # the pool stands between
        if kind == "downsample.":
            place = "branch1_conv" if number == "0" else "branch1_norm"
        else:
            place = f"branch2.{'conv' if kind == 'conv' else 'norm'}_{'abc'[int(number) - 1]}"
        return f"blocks.{stage}.res_blocks.{block}.{place}.{rest}"


class _NonLocalStage(nn.Module):
    """A stage's residual blocks, some followed by a non-local one; the former keep their names."""

    def __init__(self, stage: Any, places: tuple[int, ...]) -> None:
        super().__init__()
        self.res_blocks = stage.res_blocks
        width = self.res_blocks[0].branch2.conv_c.out_channels
        self.non_local = nn.ModuleDict({str(place): NonLocal(width) for place in places})

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        for place, block in enumerate(self.res_blocks):
            x = block(x)
            if str(place) in self.non_local:
                x = self.non_local[str(place)](x)
        return x


class NonLocal(nn.Module):
    """z = x + W softmax(theta(x)^T phi(x)) g(x), a cell against all cells of the clip: (B,D,t,h,w) -> same; the sum is x at first.

    phi and g see cells pooled 2 x 2 (arXiv:1711.07971).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.theta, self.phi, self.g = (nn.Conv3d(dim, dim // 2, 1) for _ in range(3))
        self.pool = nn.MaxPool3d((1, 2, 2), ceil_mode=True)
        self.out = nn.Conv3d(dim // 2, dim, 1, bias=False)
        self.norm = nn.BatchNorm3d(dim)
        for conv in (self.theta, self.phi, self.g, self.out):
            nn.init.normal_(conv.weight, std=0.01)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        cells = self.pool(x)
        query, key, value = self.theta(x).flatten(2), self.phi(cells).flatten(2), self.g(cells).flatten(2)
        weights = torch.softmax(query.transpose(1, 2) @ key, 2)  # (B,cells,pooled cells)
        seen = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        out: Tensor = x + self.norm(self.out(seen))
        return out


class _EndsConv3d(nn.Conv3d):
    """A convolution that pads the ends of a clip with its first and last values; the borders of its frames are padded with zeros."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        ends, rows, columns = (int(size) for size in self.padding)
        x = F.pad(x, (0, 0, 0, 0, ends, ends), mode="replicate")
        return F.conv3d(x, self.weight, self.bias, self.stride, (0, rows, columns), self.dilation, self.groups)

    def over_time(self) -> tuple[TimeWindow, Layer]:
        """How it is run on a stream."""
        return convolution(self, fill="replicate")


def _replicate_ends(trunk: nn.Module) -> None:
    for parent in list(trunk.modules()):
        for name, conv in parent.named_children():
            if isinstance(conv, nn.Conv3d) and conv.kernel_size[0] > 1:
                sizes: dict[str, Any] = {
                    key: getattr(conv, key)
                    for key in ("in_channels", "out_channels", "kernel_size", "stride", "padding")
                }
                made = _EndsConv3d(**sizes, bias=conv.bias is not None, device="meta")
                made.weight, made.bias = conv.weight, conv.bias
                setattr(parent, name, made)
