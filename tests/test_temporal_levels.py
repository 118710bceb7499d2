"""GRU-RCN over levels of an encoder, and VideoGraph: by hand, and as large as published."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ssvid.errors import ConfigError
from ssvid.zoo import count_parameters, create_model
from ssvid.zoo.levels import find_levels, level_maps
from ssvid.zoo.temporal.gru_rcn import ConvGRU
from ssvid.zoo.temporal.videograph import GraphLayer
from tests.test_temporal_convolutions import macs
from tests.test_zoo_heads import ENTRIES, build_head, maps

# --- levels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("resnet50", {"net.relu": 64, "net.layer1": 256, "net.layer2": 512, "net.layer3": 1024, "": 2048}),
        ("vgg16", {"net.3": 64, "net.8": 128, "net.15": 256, "net.22": 512, "net.29": 512, "": 512}),
        ("convnext_tiny", {"net.1": 16, "net.3": 32, "": 64}),
        ("r3d_18_tiny", {"1": 16, "2": 32, "": 64}),
        ("vit_tiny", {"": 48}),
    ],
)
def test_levels_are_the_last_maps_of_each_size(name: str, levels: dict[str, int]) -> None:
    with torch.device("meta"):
        backbone = create_model(name)
    found = find_levels(backbone.trunk, backbone.info.frames, backbone.info.size)
    assert found == levels
    assert list(found) == list(levels)


def test_a_module_that_is_used_at_two_sizes_is_no_level() -> None:
    shared = nn.ReLU()
    trunk = nn.Sequential(
        nn.Conv3d(3, 4, 1, 2), shared, nn.Conv3d(4, 5, 1, 2), nn.BatchNorm3d(5), shared, nn.Conv3d(5, 6, 1)
    )
    assert find_levels(trunk, 8, 32) == {"0": 4, "": 6}


@torch.no_grad()
def test_maps_of_levels_are_those_of_the_modules() -> None:
    backbone = create_model("resnet18_tiny").eval()
    x = torch.rand(2, 3, 4, 32, 32)
    fine, coarse = level_maps(backbone.trunk, ["net.1", ""], x)
    assert (fine.shape, coarse.shape) == ((2, 16, 4, 8, 8), (2, 64, 4, 4, 4))
    frames = x.transpose(1, 2).flatten(0, 1)
    stages = backbone.trunk.net
    torch.testing.assert_close(fine.transpose(1, 2).flatten(0, 1), stages[1](stages[0](frames)))
    assert torch.equal(coarse, backbone.trunk(x))
    assert not any(module._forward_hooks for module in backbone.modules())


@torch.no_grad()
def test_a_head_of_levels_sees_the_fine_ones_of_any_encoder() -> None:
    for name, dims in (("resnet18_tiny+gru_rcn", [16, 64]), ("r3d_18_tiny+gru_rcn", [16, 32, 64])):
        backbone = create_model(name).eval()
        head = backbone.trunk.temporal
        assert [cell.of_input.in_channels for cell in head.cells] == dims
        x = torch.rand(1, 3, 16, 32, 32)
        before = backbone(x)
        head.read[0].weight.add_(1)
        assert not torch.equal(backbone(x), before)
    coarse = create_model("r3d_18_tiny+gru_rcn", gru_rcn_levels=2).trunk.temporal
    assert [cell.of_input.in_channels for cell in coarse.cells] == [32, 64]


# --- GRU-RCN --------------------------------------------------------------------------------------------------------


def test_cells_are_as_large_and_costly_as_published() -> None:
    with torch.device("meta"):
        levels = [(128, 56), (256, 28), (512, 14), (512, 7), (4096, 1)]
        hidden = [64, 128, 256, 256, 512]
        cells = [ConvGRU(c, h, 1 if side == 1 else 3) for (c, side), h in zip(levels, hidden, strict=True)]
    assert sum(count_parameters(cell) for cell in cells) / 1e6 == pytest.approx(19.36, rel=1e-3)
    costs = [
        macs(cell, c, 3, side, side) - macs(cell, c, 2, side, side)
        for cell, (c, side) in zip(cells, levels, strict=True)
    ]
    assert [cost / 1e9 for cost in costs] == pytest.approx([1.04, 1.04, 1.04, 0.26, 0.007], rel=0.02)


@torch.no_grad()
def test_convgru_by_hand() -> None:
    torch.manual_seed(0)
    cell, x = ConvGRU(3, 2, 1), maps(3, 3, 1)
    of = {name: parameter[..., 0, 0] for name, parameter in cell.named_parameters()}
    hidden = torch.zeros(2, 2)
    for t in range(3):
        update, reset, new = (x[:, :, t, 0, 0] @ of["of_input.weight"].t()).chunk(3, 1)
        more_update, more_reset = (hidden @ of["gates.weight"].t()).chunk(2, 1)
        update, reset = (update + more_update).sigmoid(), (reset + more_reset).sigmoid()
        new = (new + (reset * hidden) @ of["candidate.weight"].t()).tanh()
        hidden = (1 - update) * hidden + update * new
        torch.testing.assert_close(cell(x)[:, :, t, 0, 0], hidden)


@torch.no_grad()
def test_the_mean_of_the_levels_comes_out() -> None:
    torch.manual_seed(0)
    head = ENTRIES["gru_rcn"].build((4, 8), hidden=6)
    levels = [maps(3, 4, 8), maps(3, 8, 4)]
    alone = [
        read(cell(level).mean((3, 4)).transpose(1, 2))
        for cell, read, level in zip(head.cells, head.read, levels, strict=True)
    ]
    torch.testing.assert_close(head(levels)[..., 0, 0].transpose(1, 2), (alone[0] + alone[1]) / 2)
    assert torch.equal(head([maps(3, 2, 16), *levels]), head(levels)[:, :])  # a level finer than it uses


@torch.no_grad()
def test_steps_of_finer_levels_are_put_together() -> None:
    torch.manual_seed(0)
    head = ENTRIES["gru_rcn"].build((4, 8), levels=2)
    fine = maps(6, 4)
    states = head.cells[0](fine).mean((3, 4)).transpose(1, 2)
    nn.init.zeros_(head.read[1].weight)
    nn.init.zeros_(head.read[1].bias)
    together = states.unflatten(1, (3, 2)).mean(2)
    torch.testing.assert_close(head([fine, maps(3)])[..., 0, 0].transpose(1, 2) * 2, head.read[0](together))


@torch.no_grad()
def test_both_ways_in_time() -> None:
    head, x = build_head("gru_rcn", both_ways=True), maps(5)
    (forth, back), (read, read_back) = head.cells, head.read
    vector = lambda states: states.mean((3, 4)).transpose(1, 2)  # noqa: E731
    expected = (read(vector(forth(x))) + read_back(vector(back(x.flip(2)).flip(2)))) / 2
    torch.testing.assert_close(head(x)[..., 0, 0].transpose(1, 2), expected)
    last = build_head("gru_rcn", both_ways=True, returns="last")
    ends = (read(vector(forth(x)))[:, -1] + read_back(vector(back(x.flip(2))))[:, -1]) / 2
    torch.testing.assert_close(last(x).flatten(1), ends)


# --- VideoGraph -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_nodes_and_times_are_pooled_as_published() -> None:
    head = build_head("videograph")
    seen = []
    for module in (head.attend, *head.embed):
        module.register_forward_hook(lambda module, inputs, out: seen.append(tuple(out.shape[2:])))
    head(maps(64))
    assert seen == [(64, 32), (21, 10), (7, 3)]
    assert GraphLayer(8)(torch.rand(1, 8, 2, 9)).shape == (1, 8, 1, 3)


@torch.no_grad()
def test_nodes_are_averaged_as_if_all_had_been_made() -> None:
    attend = build_head("videograph", nodes=36).attend
    steps = torch.randn(2, 5, 8)
    values = attend.norm_nodes(attend.nodes)
    every = attend.attention(steps, values)[..., None] * values  # (B,t,N,D)
    averaged = every.unflatten(2, (9, 4)).mean(3).permute(0, 3, 1, 2)
    torch.testing.assert_close(attend(steps), nn.functional.leaky_relu(attend.norm(averaged), 0.2))


@torch.no_grad()
def test_a_layer_mixes_times_and_nodes_three_away() -> None:
    torch.manual_seed(0)
    layer, graph = GraphLayer(2).eval(), torch.randn(1, 2, 15, 15)
    other = graph.clone()
    other[0, 0, 7, 7] += 1
    mixed = [layer.nodes(layer.times(layer.channels(one))) for one in (graph, other)]
    changed = (mixed[0] != mixed[1]).amax((0, 1))
    assert torch.nonzero(changed).amin(0).tolist() == [4, 4]
    assert torch.nonzero(changed).amax(0).tolist() == [10, 10]


def test_nodes_are_saved_and_not_trained() -> None:
    head = build_head("videograph")
    assert "attend.nodes" in head.state_dict()
    assert not any(name.rpartition(".")[2] == "nodes" for name, _ in head.named_parameters())
    assert (head.attend.nodes >= 0).all()
    assert (head.attend.nodes < 1).all()


@pytest.mark.parametrize("nodes", [32, 38])
def test_nodes_that_cannot_be_pooled_are_refused(nodes: int) -> None:
    with pytest.raises(ConfigError, match=f"{nodes} nodes cannot be pooled"):
        ENTRIES["videograph"].build(8, nodes=nodes)
