"""The backbone contract, and the two adaptors with which a trunk keeps it.

Every backbone maps a clip (B,3,T,H,W) to a space-time feature map (B,D,t,h,w) and says in `info` what to expect of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from ssvid.compute import keep_freed_memory
from ssvid.errors import ConfigError
from ssvid.zoo.info import BackboneInfo
from ssvid.zoo.levels import level_maps
from ssvid.zoo.modality import to_modality

Model = TypeVar("Model", bound=nn.Module)


class Backbone(nn.Module):
    """A trunk without a head that takes colours, makes its own input of them, and refuses clips it cannot encode.

    Args:
        trunk: (B,3,T,H,W) -> (B,D,t,h,w).
        info: what holds of the trunk.
        source: `ssvid.plugins.source_digest` of the files that define the trunk.
    """

    def __init__(self, trunk: nn.Module, info: BackboneInfo, source: str = "") -> None:
        super().__init__()
        self.trunk = trunk
        self.info = info
        self.source = source
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(info.mean).view(3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(info.std).view(3, 1, 1, 1), persistent=False)

    def make_input(self, x: Tensor) -> Tensor:
        """What the trunk takes, of colours (B,3,T,H,W) on 0..1: normalised (B,3,T,H,W), or changes or flow (B,3,T-1,H,W)."""
        return to_modality(self.info.options.get("input", "rgb"), x, self.mean, self.std)

    def forward(self, x: Tensor, made: bool = False) -> Tensor:
        """Encode clips: colours, float (B,3,T,H,W) on 0..1, -> (B,D,t,h,w).

        They are normalised here, and turned into the input that the option `input` names: rgb, residual or flow.
        made: x is what `make_input` gave, and no colours; or colours with pictures of their flow, see `ssvid.zoo.modality.TakesFlow`.

        Raises ConfigError for any other shape and for clips under `info.min_frames` or `info.min_size`.
        """
        info = self.info
        if x.dim() != 5 or (x.shape[1] != 3 and not made):
            raise ConfigError(f"{info.name} takes clips of shape (B, 3, T, H, W), not {tuple(x.shape)}.")
        T, H, W = x.shape[2:]
        least = info.min_frames - (made and info.pairs)
        if least > T:
            raise ConfigError(f"{info.name} needs at least {least} frames, not {T}. Sample longer clips.")
        if min(H, W) < info.min_size:
            raise ConfigError(
                f"{info.name} needs at least {info.min_size} x {info.min_size} px, not {H} x {W}. Use larger frames."
            )
        maps: Tensor = self.trunk(x if made else self.make_input(x))
        return maps

    def digest(self, *facts: object) -> str:
        """Hex digits (SHA-256) that change with the network's name, options, code and weights, and with `facts`, which JSON can write.

        Options count since a stride can change without a weight, and so does the code of a user's file.
        """
        about = [self.info.name, sorted(self.info.options.items()), *([self.source] if self.source else []), *facts]
        digest = hashlib.sha256(json.dumps(about).encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


class PerFrame(nn.Module):
    """An image network (N,3,H,W) -> (N,D,h,w) applied to every frame of a clip alone: (B,3,T,H,W) -> (B,D,T,h,w)."""

    per_frame = True  # what `ssvid.zoo.continual` asks of a module it need not look into

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Encode every frame."""
        maps: Tensor = self.net(x.transpose(1, 2).flatten(0, 1))
        return torch.unflatten(maps, 0, (x.shape[0], x.shape[2])).transpose(1, 2)


class WithHead(nn.Module):
    """An encoder and a temporal head over its map: (B,3,T,H,W) -> (B,D,t,h,w).

    levels: names of the encoder's modules whose maps the head takes, none for the encoder's own map alone.
    """

    def __init__(self, encoder: nn.Module, temporal: nn.Module, levels: Sequence[str] = ()) -> None:
        super().__init__()
        self.encoder = encoder
        self.temporal = temporal
        self.levels = tuple(levels)

    def encode(self, x: Tensor) -> Tensor | list[Tensor]:
        """What the head takes of clips (B,3,T,H,W): a map (B,D,t,h,w), or one for each level."""
        maps: Tensor | list[Tensor] = level_maps(self.encoder, self.levels, x) if self.levels else self.encoder(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips."""
        maps: Tensor = self.temporal(self.encode(x))
        return maps


def to_device(model: Model, device: torch.device) -> Model:
    """Move a model to a device.

    On a CPU memory that is freed is kept for what runs next, see `keep_freed_memory`, and a model that has convolutions over time alone
    (S3D, R(2+1)D) is laid out channels-last as well: it runs up to twice as quickly so, where R3D and image networks run no quicker.
    """
    if device.type == "cpu":
        keep_freed_memory()
    over_time = any(
        isinstance(module, nn.Conv3d) and module.kernel_size[0] > 1 and module.kernel_size[1:] == (1, 1)
        for module in model.modules()
    )
    return channels_last(model.to(device)) if device.type == "cpu" and over_time else model.to(device)


def channels_last(model: Model) -> Model:
    """Lay the weights of all convolutions out channels-last, in place; what they give is then laid out so too. Values stay."""
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            module.to(memory_format=cast(Any, torch.channels_last_3d))
        elif isinstance(module, nn.Conv2d):
            module.to(memory_format=cast(Any, torch.channels_last))
    return model


def remove_temporal_stride(trunk: nn.Module) -> None:
    """Make a 3-D trunk keep the number of frames (t == T for any T), in place, as SpeedNet asks (arXiv:2004.06130).

    Strides over time become 1 and kernels stay; a pool with an even, unpadded kernel cannot keep T and stops pooling time.
    """
    for module in trunk.modules():
        if isinstance(module, nn.Conv3d):
            module.stride = (1, *module.stride[1:])
        elif isinstance(module, nn.MaxPool3d | nn.AvgPool3d):
            kernel, stride, padding = (_triple(size) for size in (module.kernel_size, module.stride, module.padding))
            keeps = kernel[0] == 2 * padding[0] + 1
            module.kernel_size = (kernel[0] if keeps else 1, *kernel[1:])
            module.padding = (padding[0] if keeps else 0, *padding[1:])
            module.stride = (1, *stride[1:])


def _triple(size: int | tuple[int, int, int]) -> tuple[int, int, int]:
    return (size, size, size) if isinstance(size, int) else size
