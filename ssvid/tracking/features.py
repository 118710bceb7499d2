"""Maps of single frames from any backbone that gives them: frames of any size, the map of the last layer or of one before."""

from __future__ import annotations

import os
from typing import NoReturn

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.compute import resolve_device
from ssvid.errors import ConfigError, DataError
from ssvid.tracking.labels import FrameGrid
from ssvid.tracking.presets import Preset
from ssvid.training.models import open_model
from ssvid.zoo import create_model, option_schema
from ssvid.zoo.backbone import Backbone, to_device
from ssvid.zoo.views import isolated_maps

FINEST = 8  # px of a cell, as all published label propagation with convolutional networks has them


class FrameEncoder:
    """Features of one frame, which no other frame has a part in (see `ssvid.zoo.views.isolated_maps`).

    Args:
        backbone: any that gives maps of frames.
        layer: the part of its network whose output is taken, as layer3; "": the whole. What comes after it is not computed.

    Attributes:
        stride: px of a cell.

    Raises ConfigError for a backbone without maps of single frames, and for a layer that is not there.
    """

    def __init__(self, backbone: Backbone, layer: str = "") -> None:
        info = backbone.info
        if info.pairs:
            raise ConfigError(f"{info.name} is shown changes between frames; tracking needs a backbone with input=rgb")
        self.backbone = backbone.eval()
        self.layer = _find_layer(backbone, layer) if layer else None
        self.name = f"{info.name}:{layer}" if layer else info.name
        self.device = backbone.mean.device
        self.multiple = info.spatial_stride
        side = max(info.min_size, 64)
        if side >= self.multiple:
            side += -side % self.multiple
            self.stride = side // self._maps(torch.zeros(1, 3, 1, side, side, device=self.device)).shape[-1]
        if side < self.multiple or self.stride >= side:
            raise ConfigError(
                f"{self.name} gives one vector a frame and no map; name another backbone, or a --layer of it: {_layers(backbone)}"
            )

    def grid(self, frame: tuple[int, int], preset: Preset) -> FrameGrid:
        """How frames of (H,W) px are encoded under a preset."""
        work = preset.frame_size(*frame, self.stride)
        return FrameGrid(frame, work, self.stride, (-(-work[0] // self.stride), -(-work[1] // self.stride)))

    @torch.no_grad()
    def __call__(self, frame: np.ndarray, grid: FrameGrid, normalize: bool = True) -> Tensor:
        """Features (h,w,D) of a frame, uint8 (H,W,3). normalize: each cell's has length 1.

        The frame is resized as the grid says and padded with its border to the network's stride; cells beyond it are cut off.
        Raises DataError where a feature is not finite.
        """
        pixels = torch.tensor(frame, device=self.device).permute(2, 0, 1)[None].float() / 255
        if grid.work != grid.frame:
            pixels = F.interpolate(pixels, grid.work, mode="bilinear", antialias=True, align_corners=False)
        sides = (max(side, self.backbone.info.min_size) for side in grid.work)
        down, right = (side + -side % self.multiple - now for side, now in zip(sides, grid.work, strict=True))
        pixels = F.pad(pixels, (0, right, 0, down), mode="replicate")
        maps = self._maps(pixels.unsqueeze(2))[0, :, : grid.cells[0], : grid.cells[1]].permute(1, 2, 0)
        if not maps.isfinite().all():
            raise DataError(
                f"{self.name} gives features that are not finite; take weights of an earlier step, or another layer"
            )
        return (F.normalize(maps, dim=-1) if normalize else maps).contiguous()

    def _maps(self, clip: Tensor) -> Tensor:
        """(B,3,1,H,W) -> (B,D,h,w)."""
        if self.layer is None:
            return isolated_maps(self.backbone, clip, "static")[:, :, 0]
        handle = self.layer.register_forward_hook(_stop)
        try:
            isolated_maps(self.backbone, clip, "static")
        except _Reached as reached:
            maps = reached.maps
            return maps.mean(2) if maps.dim() == 5 else maps
        finally:
            handle.remove()
        raise ConfigError(f"{self.name} is never computed; name a layer that the network runs through")


class _Reached(Exception):  # noqa: N818 - carries a result, and is no error
    """The layer that was asked for has been computed."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__()
        self.maps = maps


def _stop(module: nn.Module, args: object, output: Tensor) -> NoReturn:
    raise _Reached(output)


def open_encoder(model: str | os.PathLike[str], layer: str = "", device: str = "auto", seed: int = 0) -> FrameEncoder:
    """The encoder of a run folder, a name or NAME@WEIGHTS, with cells of 8 px where its family has the option.

    seed: of random weights. Raises ConfigError and DataError as `ssvid.training.models.open_model` and `FrameEncoder` do, and DataError for
    weights that are not finite.
    """
    backbone = open_model(model, seed).backbone
    if broken := next((name for name, tensor in backbone.state_dict().items() if not tensor.isfinite().all()), None):
        raise DataError(
            f"{model}: its weights are not finite ({broken}); the training diverged, take an earlier checkpoint"
        )
    return frame_encoder(backbone, layer, device)


def frame_encoder(backbone: Backbone, layer: str = "", device: str = "auto") -> FrameEncoder:
    """The encoder of a backbone, with cells of 8 px where its family has the option. Raises as `FrameEncoder` does."""
    return FrameEncoder(to_device(_finest(backbone), resolve_device(device)), layer)


def _finest(backbone: Backbone) -> Backbone:
    """The same network at the finest stride that its family offers; strides have no weights."""
    info = backbone.info
    if info.spatial_stride <= FINEST or "output_stride" not in option_schema(info.name):
        return backbone
    with torch.random.fork_rng(devices=[]):
        finer = create_model(info.name, **{**info.options, "output_stride": FINEST})
    finer.load_state_dict(backbone.state_dict())
    return finer.eval()


def _find_layer(backbone: Backbone, layer: str) -> nn.Module:
    """The outermost module of that name, or of that end of a dotted name."""
    named = dict(backbone.trunk.named_modules())
    found = [name for name in named if name == layer or name.endswith(f".{layer}")]
    if not found:
        raise ConfigError(f"{backbone.info.name} has no layer {layer!r}; it has: {_layers(backbone)}")
    layer_found: nn.Module = named[min(found, key=lambda name: name.count("."))]
    return layer_found


def _layers(backbone: Backbone) -> str:
    module = backbone.trunk
    while len(children := dict(module.named_children())) == 1:
        module = next(iter(children.values()))
    return ", ".join(children) or "none"
