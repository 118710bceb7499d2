"""The one affinity: hand-computed weights for each similarity, for the top k, and within a radius."""

from __future__ import annotations

import math

import pytest
import torch

from ssvid.ops.affinity import affinity, affinity_logits, within_radius

QUERY = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])  # (1,2,2)
KEYS = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]]])  # (1,3,2)


@pytest.mark.parametrize(
    ("similarity", "expected"),
    [
        ("dot", [[1.0, 0.0, 3.0], [0.0, 2.0, 8.0]]),
        ("cosine", [[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]]),
        ("euclidean", [[0.0, -1.0, -10.0], [-2.5, -0.5, -6.5]]),  # mean of two squares
    ],
)
def test_logits_by_hand(similarity, expected):
    logits = affinity_logits(QUERY, KEYS, similarity=similarity, temperature=0.5)
    torch.testing.assert_close(logits[0], torch.tensor(expected) / 0.5)
    weights = affinity(QUERY, KEYS, similarity=similarity, temperature=0.5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2))
    ratio = math.exp((expected[0][0] - expected[0][1]) / 0.5)
    assert weights[0, 0, 0] / weights[0, 0, 1] == pytest.approx(ratio, rel=1e-4)


def test_the_similarity_of_tcc_is_divided_by_channels_and_temperature():
    apart = affinity_logits(torch.zeros(1, 1, 4), torch.full((1, 1, 4), 3.0), similarity="euclidean", temperature=0.1)
    assert apart.item() == pytest.approx(-90)


def test_only_the_most_similar_keys_count():
    weights = affinity(QUERY, KEYS, temperature=1.0, topk=2)
    e = math.exp(2)
    torch.testing.assert_close(weights[0, 0], torch.tensor([1 / (1 + e), 0.0, e / (1 + e)]))
    assert torch.equal(affinity(QUERY, KEYS, temperature=1.0, topk=9), affinity(QUERY, KEYS, temperature=1.0))
    one = affinity(torch.ones(1, 2, 1), torch.ones(1, 4, 1), temperature=1.0, topk=1)
    assert (one.sum(-1) == 1).all()
    assert ((one > 0).sum(-1) == 1).all()  # of equal ones, one


def test_keys_beyond_the_radius_have_no_weight():
    near = within_radius((2, 3), 1.0, 6, 6)
    assert near[0].tolist() == [True, True, False, True, False, False]  # itself, its right, and the one below
    assert within_radius((2, 3), 1.5, 6, 6)[0].tolist() == [
        True,
        True,
        False,
        True,
        True,
        False,
    ]  # and the diagonal one
    twice = affinity(torch.ones(1, 6, 1), torch.ones(1, 12, 1), temperature=1.0, radius=1.0, grid=(2, 3))
    torch.testing.assert_close(twice[0, 0], torch.tensor([1.0, 1, 0, 1, 0, 0] * 2) / 6)  # in each of two frames
    with pytest.raises(ValueError, match="a radius needs the grid"):
        affinity(QUERY, KEYS, temperature=1.0, radius=1.0, grid=(2, 3))


def test_it_is_computed_in_full_precision_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert affinity(QUERY, KEYS, temperature=0.07).dtype == torch.float32
        torch.testing.assert_close(
            affinity_logits(QUERY + 1e-3, KEYS, temperature=1.0)[0, 0, 0], torch.tensor(1.001), atol=1e-6, rtol=0
        )
