"""Early fusion on any image network: `early/resnet18`. Its first layer takes a window of frames (Karpathy et al., CVPR 2014).

Windows lie side by side. Of weights for single frames, `early/resnet18@imagenet1k`, the kernels of the first layer are repeated for every
frame and divided by their number, so that of a still window the network sees what it would see of the frame. Fresh kernels differ from
frame to frame, for a network whose kernels are all alike knows no order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo.backbone import PerFrame
from ssvid.zoo.registry import ENCODERS, RegistryEntry, find
from ssvid.zoo.weights import bare

PREFIX = "early/"
MODELS: dict[str, dict[str, Any]] = {"*": {}}


def describe(name: str) -> dict[str, Any]:
    """Fields of `early/NAME`. Raises ConfigError for an unknown network."""
    fields = dict(find(ENCODERS, name).fields)
    fields.pop("published", None)
    return fields | {"description": f"Early fusion of frames: {fields['description']}"}


def build(name: str, *, window: int = 8) -> nn.Module:
    """Trunk of an image network whose first layer takes a window of frames: (B,3,T,H,W) -> (B,D,T//window,h,w).

    window: frames that are fused. Raises ConfigError for a network that is not of single frames.
    """
    if window < 2:
        raise ConfigError(f"early/{name} fuses windows of at least 2 frames, not {window}")
    return EarlyFusion(image_network(find(ENCODERS, name), "early"), window)


def image_network(entry: RegistryEntry, fusion: str) -> nn.Module:
    """The image network (N,3,H,W) -> (N,D,h,w) of an encoder of single frames. Raises ConfigError for any other encoder."""
    trunk = entry.build()
    if not isinstance(trunk, PerFrame):
        raise ConfigError(f"{fusion}/NAME takes an encoder of single frames, as resnet18; {entry.name} is none")
    return trunk.net


class EarlyFusion(nn.Module):
    """An image network on windows of frames: (B,3,T,H,W) -> (B,D,T//window,h,w)."""

    def __init__(self, net: nn.Module, window: int) -> None:
        super().__init__()
        self.first = next(name for name, module in net.named_modules() if isinstance(module, nn.Conv2d))
        self.net = net
        self.window = window
        single = net.get_submodule(self.first)
        assert isinstance(single, nn.Conv2d)
        single.in_channels *= window
        spread = single.weight.detach().std() / window**0.5
        single.weight = nn.Parameter(torch.randn_like(self._repeated(single.weight)) * spread)

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips; frames over at the end are left out."""
        B, _, T, H, W = x.shape
        if self.window > T:
            raise ConfigError(f"a window has {self.window} frames, the clip {T}")
        windows = x[:, :, : T // self.window * self.window].unflatten(2, (-1, self.window))
        stacked = windows.permute(0, 2, 3, 1, 4, 5).reshape(
            -1, self.window * 3, H, W
        )  # the colours of a frame together
        maps: Tensor = self.net(stacked)
        return torch.unflatten(maps, 0, (B, -1)).transpose(1, 2)

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the image network as weights of this one; its own stay."""
        wide = self.net.get_parameter(f"{self.first}.weight").shape[1]
        return {
            name: self._repeated(tensor)
            if bare(name) == bare(f"{self.first}.weight") and tensor.shape[1] * self.window == wide
            else tensor
            for name, tensor in tensors.items()
        }

    def _repeated(self, weight: Tensor) -> Tensor:
        return torch.cat([weight.detach()] * self.window, 1) / self.window
