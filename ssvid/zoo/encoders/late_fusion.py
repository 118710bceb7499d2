"""Late fusion on any image network: `late/resnet18`. Its maps of the frames of a window are joined (Karpathy et al., CVPR 2014).

Weights for single frames fit: `late/resnet18@imagenet1k`. Windows lie side by side; frames lie as far apart as in the clip.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo.backbone import PerFrame
from ssvid.zoo.encoders.early_fusion import image_network
from ssvid.zoo.encoders.karpathy import LateFusion
from ssvid.zoo.registry import ENCODERS, find

PREFIX = "late/"
MODELS: dict[str, dict[str, Any]] = {"*": {}}


def describe(name: str) -> dict[str, Any]:
    """Fields of `late/NAME`. Raises ConfigError for an unknown network."""
    fields = dict(find(ENCODERS, name).fields)
    fields.pop("published", None)
    return fields | {"description": f"Late fusion of frames: {fields['description']}"}


def build(name: str, *, window: int = 2, fusion: Literal["concat", "mean", "max"] = "concat") -> nn.Module:
    """Trunk of an image network that joins the maps of a window: (B,3,T,H,W) -> (B,D',T//window,h,w).

    window: frames that are fused. fusion: "concat", maps side by side, D' = window * D, which keeps their order; "mean" or "max" over
    the frames, D' = D. Raises ConfigError for a network that is not of single frames.
    """
    if window < 2:
        raise ConfigError(f"late/{name} fuses windows of at least 2 frames, not {window}")
    net = PerFrame(image_network(find(ENCODERS, name), "late"))
    return LateFusion(net, window) if fusion == "concat" else PooledWindows(net, window, fusion)


class PooledWindows(nn.Module):
    """The mean or maximum of the maps of every window: (B,3,T,H,W) -> (B,D,T//window,h,w)."""

    def __init__(self, net: nn.Module, window: int, fusion: Literal["mean", "max"]) -> None:
        super().__init__()
        self.net = net
        self.pool = (nn.AvgPool3d if fusion == "mean" else nn.MaxPool3d)((window, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips; frames over at the end are left out."""
        maps: Tensor = self.pool(self.net(x))
        return maps
