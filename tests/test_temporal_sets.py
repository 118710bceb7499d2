"""Heads that look at all steps at once: the transformer and NetVLAD, by hand and by other libraries, and as large as the papers'."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ssvid.errors import ConfigError
from ssvid.zoo.temporal.transformer import sines
from tests.test_temporal_recurrent import meta_parameters
from tests.test_zoo_heads import ENTRIES, build_head, maps


def test_sines_by_hand() -> None:
    places = sines(3, 4)
    assert places.shape == (3, 4)
    for step in range(3):
        expected = [math.sin(step), math.cos(step), math.sin(step / 100), math.cos(step / 100)]
        assert places[step].tolist() == pytest.approx(expected, abs=1e-6)


@torch.no_grad()
def test_the_transformer_is_that_of_torch() -> None:
    head = build_head("transformer", 8, layers=1, heads=2)
    theirs = nn.TransformerEncoderLayer(
        8, 2, 32, dropout=0, activation="gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
    ).eval()
    names = {
        "self_attn.in_proj_": "attn.qkv.", "self_attn.out_proj.": "attn.proj.",
        "linear1.": "mlp.fc1.", "linear2.": "mlp.fc2.", "norm1.": "norm1.", "norm2.": "norm2.",
    }  # fmt: skip
    block = head.blocks[0].state_dict()
    theirs.load_state_dict({a + kind: block[b + kind] for a, b in names.items() for kind in ("weight", "bias")})
    x = maps(5)
    tokens = head.embed(x.mean((3, 4)).transpose(1, 2)) + sines(5, 8)
    torch.testing.assert_close(head(x)[..., 0, 0].transpose(1, 2), head.norm(theirs(tokens)))


@torch.no_grad()
def test_without_positions_steps_change_places_and_nothing_else() -> None:
    x, steps = maps(5), torch.tensor([3, 0, 4, 1, 2])
    for positions, same in (("none", True), ("sines", False)):
        head = build_head("transformer", positions=positions)
        assert torch.allclose(head(x)[:, :, steps], head(x[:, :, steps]), atol=1e-6) == same


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 heads do not divide 8 channels"):
        ENTRIES["transformer"].build(8, heads=3)


@pytest.mark.parametrize(
    ("dim", "options", "millions"),
    [
        (512, {"clusters": 64, "hidden": 1024}, 33.620),
        (1024, {"clusters": 256, "hidden": 1024}, 268.96),
    ],
)
def test_netvlad_is_as_large_as_published(dim: int, options: dict, millions: float) -> None:
    norms = 2 * dim + 2 * options["clusters"]  # which the published count leaves out
    assert (meta_parameters("netvlad", dim, gating=False, **options) - norms) / 1e6 == pytest.approx(millions, rel=1e-4)
    gate = meta_parameters("netvlad", dim, **options) - meta_parameters("netvlad", dim, gating=False, **options)
    assert gate == 1024 * 1024 + 2 * 1024


@torch.no_grad()
def test_netvlad_by_hand() -> None:
    head = build_head("netvlad", 2, clusters=2, gating=False, hidden=4)
    head.norm.eps = head.assign_norm.eps = 0
    head.assign.weight.copy_(torch.eye(2) * math.log(3))
    head.centres.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    head.layer.weight.copy_(torch.eye(4))
    x = torch.tensor([[1.0, 0.0], [0.0, 0.0]])  # descriptors; their shares are 3/4 and 1/4, and 1/2 and 1/2
    off = torch.stack([0.75 * (x[0] - torch.tensor([1.0, 0])) + 0.5 * (x[1] - torch.tensor([1.0, 0])),
                       0.25 * (x[0] - torch.tensor([0, 2.0])) + 0.5 * (x[1] - torch.tensor([0, 2.0]))])  # fmt: skip
    expected = (off / off.norm(dim=1, keepdim=True)).flatten() / math.sqrt(2)
    steps = x.t().reshape(1, 2, 2, 1, 1)
    torch.testing.assert_close(head(steps).flatten(), expected)
    cells = x.t().reshape(1, 2, 1, 1, 2)
    torch.testing.assert_close(head(cells), head(steps))  # a cell is a descriptor as a step is


@torch.no_grad()
def test_the_gate_by_hand() -> None:
    head = build_head("netvlad", 8, hidden=3)
    x = torch.tensor([[1.0, -2.0, 3.0]])
    head.gate.norm.eps = 0
    expected = x * torch.sigmoid(x @ head.gate.layer.weight.t())
    torch.testing.assert_close(head.gate(x), expected)


@torch.no_grad()
def test_without_residuals_there_are_no_centres() -> None:
    head = build_head("netvlad", residual=False)
    assert head.centres is None
    assert "centres" not in head.state_dict()
