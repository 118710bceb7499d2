"""What holds of every backbone, as functions: called for all that is registered and for what a user adds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ssvid.errors import ConfigError
from ssvid.zoo import Backbone, BackboneInfo, clip_vector, create_model, isolated_maps, model_info
from ssvid.zoo.info import POOLED
from ssvid.zoo.weights import bare


def build(name: str, **options: Any) -> Backbone:
    torch.manual_seed(0)
    return create_model(name, **options).eval().double()


def clip(B: int, T: int, size: int, seed: int = 1) -> Tensor:
    return torch.randn(B, 3, T, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def changed_steps(a: Tensor, b: Tensor) -> list[int]:
    """Steps of two maps (B,D,t,h,w) that differ."""
    return torch.nonzero((a != b).amax((0, 1, 3, 4))).flatten().tolist()


def check_shapes(name: str, options: dict[str, Any], odd_only: bool = False) -> None:
    """The map has the shape that the info promises, for clips of many shapes, or for one that no stride divides."""
    info = model_info(name, **options)
    short = max(8, info.min_frames)
    with torch.device("meta"):
        backbone = create_model(name, **options)
        shapes = {(T, 32, 32) for T in (info.min_frames, 13, 32)}
        shapes |= {(16, info.min_size, info.min_size), (16, info.size, info.size), (short, 49, 65)}
        if odd_only:
            shapes = {(max(17, info.min_frames), max(49, info.min_size), max(65, info.min_size))}
        clips = [torch.empty(2, 3, *shape) for shape in shapes]
    assert backbone.info == info
    for x in clips:
        B, D, t, h, w = backbone(x).shape
        assert B == 2
        assert info.dim == D
        strides = (info.temporal_stride, info.spatial_stride, info.spatial_stride)
        least = (info.min_frames, info.min_size, info.min_size)
        for n, out, stride, first in zip(x.shape[2:], (t, h, w), strides, least, strict=True):
            # the last: what layers without padding leave of the border
            assert out in {max(1, n // stride), -(-n // stride), 1 + (n - first) // stride}, (tuple(x.shape), (t, h, w))
        if info.min_size < info.size:
            assert (h, w) == (info.cells(x.shape[3]), info.cells(x.shape[4]))


def check_minimum(name: str, options: dict[str, Any]) -> None:
    """Clips under the minimum are refused in words, and other shapes too."""
    info = model_info(name, **options)
    with torch.device("meta"):
        backbone = create_model(name, **options)
        short = torch.empty(1, 3, info.min_frames - 1, 32, 32)
        small = torch.empty(1, 3, info.frames, info.min_size - 1, info.min_size - 1)
    for x, text in ((short, f"{info.min_frames} frames"), (small, f"{info.min_size} x")):
        with pytest.raises(ConfigError, match=f"needs at least {text}"):
            backbone(x)
    for shape in ((1, 1, 16, 32, 32), (3, 16, 32, 32)):
        with pytest.raises(ConfigError, match="shape"):
            backbone(torch.empty(*shape))


def check_info(name: str) -> None:
    """Everything is stated, and the name finds the model again."""
    info = model_info(name)
    assert isinstance(info, BackboneInfo)
    assert info.name == name
    assert info.description
    assert "\n" not in info.description
    assert info.source
    assert info.licence
    assert len(info.mean) == len(info.std) == 3
    assert all(0 <= value <= 1 for value in (*info.mean, *info.std))
    assert min(info.std) > 0
    assert info.frames >= info.min_frames
    assert info.size >= info.min_size
    assert all(row.source and isinstance(row.value, float) for row in info.published)


def check_learning(name: str, options: dict[str, Any]) -> None:
    """Every parameter gets a gradient."""
    backbone = build(name, **options).train()
    backbone(clip(2, 16, 48)).square().mean().backward()
    for parameter_name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


def check_order(name: str, options: dict[str, Any]) -> None:
    """A clip played backward has other features where order is aware, and the same where it is blind."""
    backbone = build(name, **options)
    x = clip(1, 16, 32).sigmoid()
    forward, backward = clip_vector(backbone(x)), clip_vector(backbone(x.flip(2)))
    assert torch.allclose(forward, backward, rtol=1e-9) == (backbone.info.order == "blind")


def check_evaluation(name: str, options: dict[str, Any]) -> None:
    """In eval mode the same clip gives the same features, whatever else is in the batch, on a usable scale."""
    backbone = build(name, **options)
    x = clip(3, 16, 48)
    assert torch.equal(backbone(x), backbone(x))
    torch.testing.assert_close(backbone(x)[1:2], backbone(x[1:2]))
    assert 1e-2 < backbone(x).std() < 1e2


def check_isolation(name: str, options: dict[str, Any], mode: str) -> None:
    """An isolated step sees its frame only; the pair that begins with it, where changes are shown."""
    backbone = build(name, **options)
    x = clip(2, 5, 32).sigmoid()
    other = x.clone()
    other[:, :, 2] = 1 - other[:, :, 2] ** 2
    with torch.no_grad():
        maps = isolated_maps(backbone, x, mode)  # type: ignore[arg-type]
        changed = changed_steps(maps, isolated_maps(backbone, other, mode))  # type: ignore[arg-type]
    assert changed == ([1, 2] if backbone.info.pairs else [2])
    cells = backbone(clip(1, 9, 32).sigmoid()).shape[3:]
    assert maps.shape == (2, backbone.info.dim, 5, *cells)


def check_names(name: str) -> None:
    """No two tensors of the network are taken for one another when weights are read."""
    with torch.device("meta"):
        names = list(create_model(name).state_dict())
    assert len({bare(tensor) for tensor in names}) == len(names)


def check_all(name: str, **options: Any) -> None:
    """The whole contract of one small model."""
    check_info(name)
    check_shapes(name, options)
    check_minimum(name, options)
    check_learning(name, options)
    check_order(name, options)
    check_evaluation(name, options)
    check_names(name)
    for mode in ("replicate", "static"):
        check_isolation(name, options, mode)
    if model_info(name, **options).spatial_stride == POOLED:
        assert create_model(name, **options)(torch.rand(1, 3, 16, 64, 64)).shape[3:] == (1, 1)
