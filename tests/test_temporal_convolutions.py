"""Timeception, T-CAM and time-aligned DenseNet: as large and as costly as published, and each part by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ssvid.errors import ConfigError
from ssvid.zoo import count_parameters
from ssvid.zoo.temporal.time_aligned_densenet import TimeAlignedDenseNet
from ssvid.zoo.temporal.timeception import LargerOfTwo, TimeceptionLayer
from tests.test_temporal_recurrent import meta_parameters
from tests.test_zoo_heads import ENTRIES, build_head, maps


def meta_head(name: str, dim: int, **options) -> nn.Module:
    with torch.device("meta"):
        return ENTRIES[name].build(dim, **options).eval()


def macs(net: nn.Module, *shape: int) -> int:
    """Multiply-adds for a map of this shape."""
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(1, *shape, device="meta"))
    return counter.get_total_flops() // 2


# --- timeception ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scales", "parameters"), [("dilations", 1_479_584), ("kernels", 1_488_416)])
def test_timeception_is_as_large_as_published(scales: str, parameters: int) -> None:
    layers = meta_head("timeception", 1024, layers=4, scales=scales).layers
    assert count_parameters(layers) == parameters
    running = sum(buffer.numel() for name, buffer in layers.named_buffers() if "running" in name)
    assert parameters + running == (1_494_304 if scales == "dilations" else 1_503_136)  # Keras counts these too
    assert [layer.out for layer in layers] == [1280, 1600, 2000, 2480]
    assert layers(torch.empty(1, 1024, 128, 7, 7, device="meta")).shape == (1, 2480, 8, 7, 7)


def test_timeception_costs_what_is_published() -> None:
    layers = meta_head("timeception", 1024, layers=4).layers
    assert macs(layers, 1024, 128, 7, 7) / 1e9 == pytest.approx(2.976, rel=1e-3)


@torch.no_grad()
def test_groups_see_their_channels_and_are_shuffled() -> None:
    torch.manual_seed(0)
    layer = TimeceptionLayer(8, ((3, 1), (3, 2), (3, 3)), 2).eval()
    x = torch.randn(1, 8, 6, 2, 2)
    other = x.clone()
    other[:, :4] += 1  # the first group's
    changed = (layer(x) != layer(other)).flatten(2).any(2)[0]
    assert changed.tolist() == [True, False] * 5  # its channels stand at every second place


@torch.no_grad()
def test_branches_look_as_far_as_their_kernels() -> None:
    for scales, reach in ((((3, 1), (3, 2), (3, 3)), (1, 2, 3)), (((3, 1), (5, 1), (7, 1)), (1, 2, 3))):
        torch.manual_seed(0)
        layer = TimeceptionLayer(8, scales, 1).eval()
        x = torch.randn(1, 8, 15, 1, 1)
        other = x.clone()
        other[:, :, 7] += 10
        spans = []
        for branch in layer.branches:
            seen = torch.nonzero((branch(x) != branch(other)).flatten(3).any(3)[0].any(0)).flatten()
            spans.append((7 - int(seen[0]), int(seen[-1]) - 7))
        assert spans == [(0, 0), *((n, n) for n in reach), (1, 0)]


def test_the_larger_of_two_steps_by_hand() -> None:
    x = torch.tensor([1.0, 5.0, 2.0, 0.0]).view(1, 1, 4, 1, 1)
    assert LargerOfTwo()(x).flatten().tolist() == [5, 5, 2, 0]


@torch.no_grad()
def test_timeception_takes_the_largest_value_of_all_cells_and_steps() -> None:
    head = build_head("timeception", layers=1)
    x = maps(4)
    torch.testing.assert_close(head(x).flatten(1), head.out(head.layers(x).flatten(2).amax(2)))


def test_groups_that_do_not_fit_are_refused() -> None:
    for groups in (3, 4, -1):
        with pytest.raises(ConfigError, match=f"8 channels are not {groups} groups of 4"):
            ENTRIES["timeception"].build(8, groups=groups)


# --- T-CAM ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("groups", "millions", "billions"), [(2, 33.614, 35.38), (5, 47.8, 85.7)])
def test_tcam_on_vgg_is_as_large_and_costly_as_published(groups: int, millions: float, billions: float) -> None:
    widths = [20, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]  # of VGG-16, ten flow frames in
    sides = [224] * 2 + [112] * 2 + [56] * 3 + [28] * 3 + [14] * 3
    kernels = [9 * a * b for a, b in pairwise(widths)]
    network = sum(kernels) + 3 * sum(widths[1:])  # biases, and scale and shift of each batch norm
    cost = groups * sum(kernel * side * side for kernel, side in zip(kernels, sides, strict=True))
    head = meta_head("tcam", 512, hidden=1024, groups=groups)
    total = network + count_parameters(head) + 1024 + 1
    assert total / 1e6 == pytest.approx(millions, rel=1e-3)
    assert (cost + macs(head, 512, groups, 14, 14)) / 1e9 == pytest.approx(billions, rel=1e-3)


@torch.no_grad()
def test_tcam_puts_the_mean_of_each_part_side_by_side() -> None:
    head = build_head("tcam", groups=2)
    x = maps(6)
    parts = torch.cat([x[:, :, :3].mean(2), x[:, :, 3:].mean(2)], 1)
    torch.testing.assert_close(head(x)[:, :, 0], head.compare(parts))


def test_tcam_refuses_fewer_steps_than_parts() -> None:
    with pytest.raises(ConfigError, match="compares 3 parts of a clip and has 2 steps"):
        build_head("tcam", groups=3)(maps(2))


# --- time-aligned DenseNet ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "width", "millions"),
    [(4, 64, 0.370), (8, 64, 1.332), (16, 64, 5.03), (32, 64, 19.5), (4, 256, 0.81), (8, 256, 2.22), (16, 256, 6.81), (32, 256, 23.1)],
)  # fmt: skip
def test_layers_of_steps_grow_as_measured(steps: int, width: int, millions: float) -> None:
    with torch.device("meta"):
        head = TimeAlignedDenseNet(1024, 512, steps, width, 64)
    assert count_parameters(head.layers) / 1e6 == pytest.approx(millions, rel=5e-3)


def test_a_layer_sees_its_step_and_the_layers_before_it() -> None:
    head = build_head("time_aligned_densenet", steps=4, width=6, growth=5)
    assert [layer[0].num_features for layer in head.layers] == [6, 11, 16, 21]
    given: list[torch.Tensor] = []
    for layer in head.layers:
        layer.register_forward_hook(lambda module, inputs, out: given.append(out))
    x = maps(4)
    head(x)
    first = list(given)
    given.clear()
    x[:, :, 2] += 1
    head(x)
    assert [torch.equal(a, b) for a, b in zip(first, given, strict=True)] == [True, True, False, False]


@torch.no_grad()
def test_another_number_of_steps_is_averaged_or_repeated() -> None:
    head, x = build_head("time_aligned_densenet", steps=4), maps(4)
    assert torch.allclose(head(x.repeat_interleave(2, 2)), head(x), atol=1e-5)
    assert torch.allclose(head(x[:, :, :2]), head(x[:, :, :2].repeat_interleave(2, 2)), atol=1e-5)


def test_no_width_is_refused() -> None:
    with pytest.raises(ConfigError, match="growth is 0"):
        ENTRIES["time_aligned_densenet"].build(8, growth=0)
    assert meta_parameters("time_aligned_densenet", 8) > 0
