"""Affinities within a window are those of all pairs with a mask, whatever the map, the window and the frames."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ssvid.ops.affinity import affinity, is_near, within_radius
from ssvid.ops.local_affinity import TILE, largest_affinities


def features(seed: int, h: int, w: int, dim: int = 8) -> torch.Tensor:
    return F.normalize(torch.randn(h, w, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


def collect(query, nearby, everywhere=(), **options):
    """Weights (N, keys) of all queries, scattered to where their keys lie."""
    h, w, _ = query.shape
    weights = query.new_zeros(h * w, (len(nearby) + len(everywhere)) * h * w)
    total = query.new_zeros(h * w)
    for part in largest_affinities(query, nearby, everywhere, then=lambda part: part, **options):
        weights[part.cells] = weights[part.cells].scatter_add(1, part.keys, part.logits.softmax(1))
        total[part.cells] = part.total
    return weights, total


@pytest.mark.parametrize("neighbourhood", ["disc", "open_disc", "square"])
@pytest.mark.parametrize(("h", "w", "radius"), [(TILE + 3, 2 * TILE + 1, 3), (3, 19, 12), (9, 9, 0), (10, 7, 2.5)])
def test_within_a_window_it_is_the_dense_affinity(h, w, radius, neighbourhood):
    query, frames = features(0, h, w), [features(seed, h, w) for seed in (1, 2, 3)]
    options = {"topk": 4, "temperature": 0.07, "radius": radius, "neighbourhood": neighbourhood}
    if radius == 0 and neighbourhood == "open_disc":
        options["radius"] = 1  # no cell is less than nothing away
    dense = affinity(query.flatten(0, 1), torch.stack(frames).flatten(0, 2), grid=(h, w), **options)
    weights, _ = collect(query, frames, **options)
    torch.testing.assert_close(weights, dense, atol=1e-4, rtol=0)


def test_frames_that_are_seen_everywhere_stand_beside_those_nearby():
    h, w = 11, 18
    query, first, last = (features(seed, h, w) for seed in range(3))
    keys = torch.cat([first.flatten(0, 1), last.flatten(0, 1)])
    near = torch.cat([torch.ones(h * w, h * w, dtype=torch.bool), within_radius((h, w), 2, h * w, h * w)], 1)
    logits = (query.flatten(0, 1) @ keys.T / 0.1).masked_fill(~near, -torch.inf)
    top = logits.topk(5)
    dense = torch.zeros_like(logits).scatter(1, top.indices, top.values.softmax(1))
    weights, total = collect(query, [last], [first], topk=5, temperature=0.1, radius=2, total=True)
    torch.testing.assert_close(weights, dense, atol=1e-4, rtol=0)
    torch.testing.assert_close(total, logits.logsumexp(1), atol=1e-4, rtol=0)  # of all within reach, not of the largest


def test_ties_keep_all_that_are_like_the_last():
    query, frame = torch.ones(1, 4, 1), torch.tensor([[[0.5], [1.0], [0.5], [0.5]]])
    weights, _ = collect(query, [frame], topk=2, temperature=1.0, radius=9, ties=True)
    expected = torch.tensor([0.5, 1.0, 0.5, 0.5]).softmax(0)
    torch.testing.assert_close(weights, expected.expand(4, 4))
    weights, _ = collect(query, [frame], topk=2, temperature=1.0, radius=9)
    assert ((weights > 0).sum(1) == 2).all()
    near, _ = collect(query, [frame], topk=3, temperature=1.0, radius=0, ties=True)  # fewer cells than that
    assert torch.equal(near, torch.eye(4))


def test_what_the_neighbourhoods_are():
    middle, cells = torch.tensor([[0, 0]]), torch.tensor([[0, 3], [2, 2], [3, 3], [0, 4]])
    assert is_near(middle, cells, 3, "disc").tolist() == [[True, True, False, False]]
    assert is_near(middle, cells, 3, "open_disc").tolist() == [[False, True, False, False]]
    assert is_near(middle, cells, 3, "square").tolist() == [[True, True, True, False]]


def test_threads_of_torch_are_as_before():
    before = torch.get_num_threads()
    collect(features(0, 9, 9), [features(1, 9, 9)], topk=2, temperature=1.0, radius=1)
    assert torch.get_num_threads() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_the_same():
    query, frames = features(0, 20, 30), [features(seed, 20, 30) for seed in (1, 2)]
    options = {"topk": 4, "temperature": 0.07, "radius": 5}
    there = collect(query.cuda(), [frame.cuda() for frame in frames], **options)
    torch.testing.assert_close(there[0].cpu(), collect(query, frames, **options)[0], atol=1e-4, rtol=0)
