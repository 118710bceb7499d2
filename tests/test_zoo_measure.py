"""facts.json says what is measured; what is measured is right on networks worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssvid.files import read_json
from ssvid.zoo.geometry import FACTS, HeadGeometry, head_geometry, known_encoder, with_head
from ssvid.zoo.info import POOLED, Geometry
from ssvid.zoo.measure import (
    fresh,
    least,
    measure_encoder,
    measure_head,
    order_of,
    other_values,
    receptive_field,
    shape_of,
    stride,
)
from ssvid.zoo.registry import ENCODERS, HEADS, RegistryEntry, catalogue

ENCODER_ENTRIES = catalogue(ENCODERS)
VARIANTS = [
    (name, changed)
    for name, entry in ENCODER_ENTRIES.items()
    for changed in ({}, *({key: value} for key, value in other_values(entry)))
]
SMALL = {name for name in ENCODER_ENTRIES if "_tiny" in name or name in ("baseline_difference", "baseline_hog")}
# finer maps by output_stride are held by the contract of all backbones


def settings(name: str, changed: dict[str, Any]) -> tuple[RegistryEntry, dict[str, Any], Geometry]:
    entry = ENCODER_ENTRIES[name]
    options = entry.settings(changed)
    known = known_encoder(entry, options)
    assert known is not None
    return entry, options, known


def test_all_that_is_registered_stands_in_the_facts_and_nothing_else():
    facts = read_json(FACTS)
    again = "run python -m ssvid.zoo.measure"
    assert set(facts["encoders"]) == set(ENCODER_ENTRIES), again
    assert set(facts["heads"]) == set(catalogue(HEADS)), again


@pytest.mark.parametrize(
    ("name", "changed"), [v for v in VARIANTS if v[0] in SMALL and "output_stride" not in v[1]], ids=str
)
def test_the_facts_of_small_networks_are_measured_again(name, changed):
    entry, options, known = settings(name, changed)
    assert measure_encoder(entry, options) == known


@pytest.mark.parametrize(
    ("name", "changed"), [v for v in VARIANTS if "_tiny" not in v[0] and "output_stride" not in v[1]], ids=str
)
def test_the_shapes_of_large_networks_are_measured_again(name, changed):
    entry, options, known = settings(name, changed)
    with torch.device("meta"):
        trunk = entry.build(**options).eval()
    _, dim, t, h, _ = shape_of(trunk, 64, 256)
    assert dim == known.dim
    for n, out, step, first in (
        (64, t, known.temporal_stride, known.min_frames),
        (256, h, known.spatial_stride, known.min_size),
    ):
        assert out in {-(-n // step), 1 + (n - first) // step}
    assert shape_of(trunk, known.min_frames, 64) is not None
    assert shape_of(trunk, 16, known.min_size) is not None
    assert known.min_size == 1 or shape_of(trunk, 16, known.min_size - 1) is None


@pytest.mark.parametrize("name", sorted(catalogue(HEADS)))
def test_the_facts_of_heads_are_measured_again(name):
    entry = catalogue(HEADS)[name]
    assert measure_head(entry, entry.settings({})) == head_geometry(entry, entry.settings({}))


def clip(T: int) -> Tensor:
    return torch.rand(1, 3, T, 8, 8, dtype=torch.double)


class Squares(nn.Module):
    """Sees every frame alone; a map of one step."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square().mean(2, keepdim=True)


@pytest.mark.parametrize(
    ("net", "frames"),
    [
        (nn.Conv3d(3, 4, (5, 1, 1), padding=(2, 0, 0)), 5),
        (nn.Conv3d(3, 4, (3, 1, 1), dilation=(4, 1, 1), padding=(4, 0, 0)), 9),
        (
            nn.Sequential(
                nn.Conv3d(3, 4, (3, 1, 1), (2, 1, 1), (1, 0, 0)), nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0))
            ),
            7,
        ),
        (nn.Conv3d(3, 4, 1), 1),
        (Squares(), None),
    ],
)
def test_receptive_field_by_hand(net, frames):
    assert receptive_field(fresh(lambda: net), clip, 1) == frames


def test_order_by_hand():
    aware, blind = nn.Conv3d(3, 4, (2, 1, 1)), nn.Conv3d(3, 4, (1, 2, 2))
    assert order_of(fresh(lambda: nn.Sequential(aware, nn.ReLU())), clip, 2) == "aware"
    assert order_of(fresh(lambda: nn.Sequential(blind, nn.ReLU())), clip, 1) == "blind"
    assert order_of(Squares(), clip, 1) == "blind"


def test_a_norm_that_begins_at_zero_hides_nothing():
    def net() -> nn.Module:
        made = nn.Sequential(nn.Conv3d(3, 4, (5, 1, 1), padding=(2, 0, 0)), nn.BatchNorm3d(4))
        nn.init.zeros_(made[1].weight)
        return made

    assert receptive_field(fresh(net), clip, 1) == 5
    assert receptive_field(net().eval().double(), clip, 1) != 5


def test_least_and_stride():
    assert [least(lambda n, bound=bound: n >= bound, 64) for bound in (1, 2, 17, 64)] == [1, 2, 17, 64]
    assert (stride(64, 8), stride(64, 1), stride(256, 8), stride(64, 64)) == (8, POOLED, 32, 1)


def test_encoder_and_head_are_put_together():
    encoder = Geometry(64, 4, 16, 3, 9, 25, "blind", True)
    head = HeadGeometry(None, "hidden", 2, True, 3, 5, "aware")
    assert with_head(encoder, head, {"hidden": 0}) == Geometry(64, 8, POOLED, 3 + 2 * 4, 9, 25 + 4 * 4, "aware", False)
    assert with_head(encoder, head, {"hidden": 7}).dim == 7
    assert with_head(encoder, HeadGeometry(12, "", 1, False, 1, None, "blind"), {}) == Geometry(
        12, 4, 16, 3, 9, None, "blind", False
    )
