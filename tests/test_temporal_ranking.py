"""Rank pooling: weights by hand, the closed form beside scikit-learn's regression, and what a clip that stands still gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ssvid.errors import ConfigError
from ssvid.zoo import clip_vector, create_model, isolated_maps
from ssvid.zoo.temporal.rank_pooling import place_weights, ridge, smoothed, support_vectors, unit_scale
from tests.test_zoo_heads import build_head, maps
from tests.zoo_contract import clip


def walks(steps: int, dim: int = 128) -> Tensor:
    """Random walks (3,steps,dim), double."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(3, steps, dim, generator=generator, dtype=torch.double).cumsum(1)


def test_weights_of_places_by_hand() -> None:
    assert place_weights(4).tolist() == pytest.approx([-2.41667, 0.58333, 1.08333, 0.75], abs=1e-5)
    for n in (2, 3, 17):
        harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, n + 1))])
        expected = [2 * (n - i + 1) - (n + 1) * (harmonic[n] - harmonic[i - 1]) for i in range(1, n + 1)]
        np.testing.assert_allclose(place_weights(n), expected, atol=1e-12)
        assert abs(place_weights(n).sum()) < 1e-12


@torch.no_grad()
def test_the_approximate_head_by_hand() -> None:
    steps = torch.tensor([[1.0, 0.0], [0.0, 3.0]]).view(1, 2, 2, 1, 1).transpose(1, 2)  # weights -1/2 and 1/2
    expected = torch.tensor([-0.5, 1.5]) / np.sqrt((0.25 + 2.25) / 2)
    torch.testing.assert_close(build_head("rank_pooling", 2)(steps).flatten(), expected.float(), rtol=1e-4, atol=0)


@torch.no_grad()
def test_the_scale_does_not_depend_on_the_length() -> None:
    for t in (2, 9):
        for method in ("approximate", "ridge"):
            out = build_head("rank_pooling", method=method)(maps(t))
            torch.testing.assert_close(out.square().flatten(1).mean(1), torch.ones(2), rtol=1e-3, atol=0)


@torch.no_grad()
def test_a_clip_that_stands_still_gives_nothing() -> None:
    still = maps(1).expand(-1, -1, 5, -1, -1)
    assert build_head("rank_pooling")(still).abs().max() < 1e-3
    backbone = create_model("resnet18_tiny+rank_pooling").eval().double()
    assert isolated_maps(backbone, clip(1, 3, 32).sigmoid()).abs().max() < 1e-3
    assert clip_vector(backbone(clip(1, 3, 32).sigmoid())).std() > 0.1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("steps", [6, 40])
def test_the_closed_form_is_the_support_vector_regression(steps: int) -> None:
    rows = smoothed(walks(steps))
    ours, theirs = ridge(rows), support_vectors(rows)
    assert torch.cosine_similarity(ours, theirs).min() > 0.999
    for weights in (ours, theirs):
        told = torch.einsum("bd,btd->bt", weights, rows)
        assert (told.diff(dim=1) > 0).float().mean() > 0.95  # steps are put after those before them


def test_the_closed_form_is_the_least_of_its_loss() -> None:
    rows = smoothed(walks(5))
    weights = ridge(rows).requires_grad_()
    errors = torch.arange(1, 6) - torch.einsum("bd,btd->bt", weights, rows)
    (weights.square().sum() / 2 + errors.square().sum()).backward()
    assert weights.grad is not None
    assert weights.grad.abs().max() < 1e-9


def test_rows_by_hand() -> None:
    rows = smoothed(torch.tensor([[[4.0, 0.0], [0.0, -4.0]]]))[0]
    expected = torch.tensor([[1.0, 0.0], [2**0.5, -(2**0.5)]])
    torch.testing.assert_close(rows, expected / expected.norm(dim=1, keepdim=True), atol=1e-5, rtol=0)


@torch.no_grad()
def test_both_ways_in_time_stand_side_by_side() -> None:
    for method in ("ridge", "svr"):
        head, x = build_head("rank_pooling", method=method), maps(6)
        forward, backward = head(x).chunk(2, 1)
        again = head(x.flip(2)).chunk(2, 1)
        assert torch.equal(forward, again[1])
        assert torch.equal(backward, again[0])
        assert not torch.allclose(forward, -backward, atol=1e-2)


def test_ridge_has_a_gradient_and_the_regression_outside_torch_has_none() -> None:
    x = maps(4).requires_grad_()
    build_head("rank_pooling", method="ridge")(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert not build_head("rank_pooling", method="svr")(x).requires_grad


def test_nothing_has_no_scale() -> None:
    assert unit_scale(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2


def test_a_single_step_is_refused() -> None:
    for method in ("approximate", "ridge"):
        with pytest.raises(ConfigError, match="ranks 2 steps at least, not 1"):
            build_head("rank_pooling", method=method)(maps(1))
