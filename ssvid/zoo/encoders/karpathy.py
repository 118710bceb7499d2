"""The networks with which CNNs came to video: one image network, and where in it frames are fused (Karpathy et al., CVPR 2014).

Single frame, early fusion (the first layer takes ten frames), late fusion (two frames, one network for both, their maps side by side),
slow fusion (the first three layers take 4, 2 and 2 steps), and two streams at two resolutions (the whole frame at half size, its middle
at full size). The map is that of the last convolution and its pool; fc6 and fc7 need frames of 170 px and are left to a head.

Fusion here works on clips of any length: windows lie side by side (slow fusion: overlap by two frames). Late fusion takes frames that
follow one another in the clip; the paper's 15 frames between them are the stride with which the clip is taken from the video. The paper
names no padding: with five pixels at the first layer all of its map sizes come out. Its pixels lack 117 of 255, here they are scaled too.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MODELS = {
    "*": {
        "frames": 10,
        "size": 170,
        "mean": (0.459, 0.459, 0.459),
        "std": (0.25, 0.25, 0.25),
        "source": "CVPR 2014, written here",
        "licence": "Apache-2.0",
    },
    "karpathy_single": {"description": "Single frame: the network of Karpathy et al. per frame"},
    "karpathy_early": {"description": "Early fusion: ten frames enter the first layer together"},
    "karpathy_late": {"description": "Late fusion: maps of two frames side by side"},
    "karpathy_slow": {"description": "Slow fusion: ten frames become one over three layers"},
    "karpathy_multires": {
        "description": "Context and fovea: whole frame at half size, its middle at full size",
        "size": 178,
    },
    "karpathy_tiny": {"description": "Small slow fusion of eight frames, for tests and laptops", "size": 48},
}

Spans = tuple[tuple[int, int], ...]  # of the first layers: steps that a kernel takes, steps between two kernels
SPANS: dict[str, Spans] = {
    "karpathy_early": ((10, 10),),
    "karpathy_slow": ((4, 2), (2, 2), (2, 2)),
    "karpathy_tiny": ((4, 2), (2, 1), (2, 1)),
}
WIDTHS = (96, 256, 384, 384, 256)


def build(name: str) -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W) -> (B,D,t,h,w)."""
    if name == "karpathy_late":
        return LateFusion(_tower(), 2)
    if name == "karpathy_multires":
        return ContextAndFovea(_tower(last_pool=False), _tower(last_pool=False))
    if name == "karpathy_tiny":
        return _tower(SPANS[name], (12, 16, 24, 24, 32), last_pool=False)
    return _tower(SPANS.get(name, ()))


class LateFusion(nn.Module):
    """One network for all frames of a window, their maps side by side: (B,3,T,H,W) -> (B,window*D,T//window,h,w)."""

    def __init__(self, net: nn.Module, window: int) -> None:
        super().__init__()
        self.net = net
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips; frames over at the end are left out."""
        maps: Tensor = self.net(x)
        whole = maps[:, :, : maps.shape[2] // self.window * self.window]
        windows = whole.unflatten(2, (-1, self.window))  # (B,D,t,window,h,w)
        side_by_side: Tensor = windows.movedim(3, 1).flatten(1, 2)
        return side_by_side


class ContextAndFovea(nn.Module):
    """A network for the whole frame at half size and one for its middle, their maps side by side: (B,3,T,H,W) -> (B,2D,T,h,w)."""

    def __init__(self, context: nn.Module, fovea: nn.Module) -> None:
        super().__init__()
        self.context = context
        self.fovea = fovea

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips."""
        T, H, W = x.shape[2:]
        h, w = H // 2, W // 2
        top, left = (H - h) // 2, (W - w) // 2
        small = F.adaptive_avg_pool3d(x, (T, h, w))
        return torch.cat([self.context(small), self.fovea(x[..., top : top + h, left : left + w])], 1)


def _tower(spans: Spans = (), widths: tuple[int, ...] = WIDTHS, last_pool: bool = True) -> nn.Sequential:
    """The network of the paper, frames apart but in the first layers, as `spans` says."""
    spans = (*spans, *((1, 1),) * (len(widths) - len(spans)))
    layers: list[nn.Module] = []
    shapes = zip(pairwise((3, *widths)), spans, (11, 5, 3, 3, 3), (3, 1, 1, 1, 1), strict=True)
    for number, ((before, after), (extent, hop), kernel, stride) in enumerate(shapes):
        conv = nn.Conv3d(before, after, (extent, kernel, kernel), (hop, stride, stride), (0, kernel // 2, kernel // 2))
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        layers += [conv, nn.ReLU(inplace=True)]
        if number < 2:
            # AlexNet's constants; torch divides alpha by the five channels, the paper does not
            layers += [nn.LocalResponseNorm(5, alpha=5e-4, beta=0.5, k=2.0)]
        if number < 2 or (number == len(widths) - 1 and last_pool):
            layers += [nn.MaxPool3d((1, 2, 2))]
    return nn.Sequential(*layers)
