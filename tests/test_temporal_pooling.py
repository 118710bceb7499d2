"""Pooling heads, worked out by hand: what is pooled where, and which windows there are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo.pooled_head import largest_in_windows
from tests.test_temporal_recurrent import meta_parameters
from tests.test_zoo_heads import ENTRIES, build_head, maps


def identity(head: nn.Module) -> nn.Module:
    """The head with every dense layer made the identity, so that only the pooling is left (of values that are not negative)."""
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.eye_(module.weight)
            nn.init.zeros_(module.bias)
    return head


def ramp(t: int) -> Tensor:
    """One channel; step i has the value i in its first cell and 0 in the second."""
    steps = torch.zeros(1, 1, t, 1, 2)
    steps[0, 0, :, 0, 0] = torch.arange(t)
    return steps


@torch.no_grad()
def test_where_each_head_pools() -> None:
    x = torch.tensor([[3.0, 1.0], [0.0, 6.0]]).view(1, 1, 2, 1, 2)  # two steps of two cells
    assert build_head("avg_pooling", 1)(x).flatten().tolist() == [1.5, 3.5]
    assert identity(build_head("conv_pooling", 1))(x).flatten().tolist() == [
        4.5
    ]  # the mean of the largest cells, 3 and 6
    for name in ("late_pooling", "slow_pooling", "local_pooling"):
        assert identity(build_head(name, 1))(x).flatten().tolist() == [3.0]  # the largest mean of a step


@torch.no_grad()
def test_windows_by_hand() -> None:
    assert largest_in_windows(torch.arange(17.0).view(1, 17, 1)).flatten().tolist() == [9, 14, 16, 16]
    assert largest_in_windows(-torch.arange(11.0).view(1, 11, 1)).flatten().tolist() == [0, -5, -10]
    assert identity(build_head("local_pooling", 1))(ramp(12)).flatten().tolist() == [4.5, 5.5, 5.5]


@torch.no_grad()
def test_slow_pooling_has_a_layer_between_its_maxima() -> None:
    head = identity(build_head("slow_pooling", 1))
    head.window[0].weight.fill_(-1)
    head.window[0].bias.fill_(10)
    assert head(ramp(12)).item() == 10 - 4.5  # the least of the windows' maxima


@torch.no_grad()
def test_time_conv_by_hand() -> None:
    head = identity(build_head("time_conv", 1, kernels=1))
    nn.init.zeros_(head.conv.bias)
    nn.init.zeros_(head.conv.weight)
    head.conv.weight[0, 0, 1, 1, 1] = 1  # the second step of a window
    assert head.convolve(ramp(12)).flatten().tolist() == [0.5, 3.0, 5.5]
    assert head(ramp(12)).item() == 5.5
    assert head(ramp(1)).item() == 0  # what a window lacks is zero


@torch.no_grad()
def test_a_grid_keeps_places_apart() -> None:
    x = maps(3, side=4)
    mirrored = x.flip(4)
    for grid, same in ((1, True), (2, False)):
        head = build_head("conv_pooling", grid=grid)
        assert torch.allclose(head(x), head(mirrored), atol=1e-6) == same


@pytest.mark.parametrize(
    ("name", "dim", "options", "expected"),
    [
        (
            "conv_pooling",
            256,
            {"hidden": 4096, "grid": 6},
            9216 * 4096 + 4096 + 4096 * 4097,
        ),  # AlexNet's conv5 and layers
        ("late_pooling", 4096, {"hidden": 4096}, 2 * 4096 * 4097),
        ("time_conv", 64, {"kernels": 256, "hidden": 32}, 256 * (64 * 90 + 1) + 257 * 32 + 33 * 32),
        ("avg_pooling", 64, {}, 0),
    ],
)
def test_sizes(name: str, dim: int, options: dict, expected: int) -> None:
    assert meta_parameters(name, dim, **options) == expected


def test_a_grid_of_no_cell_is_refused() -> None:
    with pytest.raises(ConfigError, match="conv_pooling: grid is 0"):
        ENTRIES["conv_pooling"].build(8, grid=0)
