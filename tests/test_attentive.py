"""The attentive probe: tokens in their order, the head of the grid that held-out training videos prefer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from downstream import attentive
from downstream.attentive import AttentiveHead, attend, tokens_of
from ssvid.errors import ConfigError
from ssvid.evaluation import adapter
from ssvid.evaluation.adapter import Candidate, EvalContext
from ssvid.evaluation.features import View, extract
from ssvid.zoo import create_model
from tests.labelled import setting_of

SMALL = {"depth": 1, "heads": 2, "epochs": 30, "batch": 16}


def marked_tokens(count: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Token sets (n,N,D) in which one marked token says the class and the others say either at random."""
    rng = np.random.default_rng(seed)
    codes = np.arange(count) % 2
    tokens = np.zeros((count, 12, 8), np.float32)
    tokens[..., 0] = rng.choice([-1, 1], (count, 12))
    place = rng.integers(12, size=count)
    tokens[np.arange(count), place, 0] = 2 * codes - 1
    tokens[np.arange(count), place, 1] = 3
    return tokens, np.array(["a", "b"])[codes]


def test_tokens_are_the_cells_of_the_maps(world_index, tmp_path):
    video = world_index.videos("test")[:1]
    backbone = create_model("r3d_18_tiny").eval()
    view = View(clips=2, frames=8, stride=1, size=32, pool="none")
    flat = extract(backbone, video, view, workers=0, cache=tmp_path / "a")[[0]]
    tokens = tokens_of(flat, backbone.info.dim)
    dim = backbone.info.dim
    assert tokens.shape == (1, flat.shape[1] * flat.shape[2] // dim, dim)
    cells = tokens.reshape(2, -1, dim)
    np.testing.assert_array_equal(cells[1, 3], flat[0, 1].reshape(dim, -1)[:, 3])  # channels come first in a map
    pooled = extract(backbone, video, View(clips=2, frames=8, stride=1, size=32), workers=0, cache=tmp_path / "b")[[0]]
    np.testing.assert_allclose(cells.mean(1), pooled[0], atol=1e-5)


@pytest.mark.parametrize("depth", [1, 3])
def test_head(depth):
    torch.manual_seed(0)
    head = AttentiveHead(8, 5, depth, 2)
    tokens = torch.randn(4, 7, 8)
    logits = head(tokens)
    assert logits.shape == (4, 5)
    torch.testing.assert_close(head(tokens[:, torch.randperm(7)]), logits)  # a set has no order
    logits.square().sum().backward()
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0 for n, p in head.named_parameters() if "in_proj_bias" not in n
    )


def test_it_finds_the_token_that_tells():
    tokens, labels = marked_tokens(120)
    told = attend(tokens[:80], labels[:80], tokens[80:], None, rates=(1e-2,), decays=(0.01,), **SMALL)
    assert (told == labels[80:]).mean() > 0.9
    ones = (tokens[80:, :, 0].mean(1) > 0) == (labels[80:] == "b")
    assert ones.mean() < 0.8  # what the mean of the tokens knows


def test_the_head_is_chosen_on_held_out_training_videos(monkeypatch):
    tokens, labels = marked_tokens()
    fits = []
    fit = attentive._fit

    def spy(known, answers, grid, **settings):
        fits.append((len(known), list(grid)))
        return fit(known, answers, grid, **settings)

    monkeypatch.setattr(attentive, "_fit", spy)
    attend(tokens[:50], labels[:50], tokens[50:], None, rates=(1e-6, 3e-3), decays=(0.01, 0.4), **SMALL)
    (seen, grid), (all_of_them, chosen) = fits
    assert grid == [(1e-6, 0.01), (1e-6, 0.4), (3e-3, 0.01), (3e-3, 0.4)]
    assert seen == 40  # the first of five inner folds is held out
    assert all_of_them == 50
    assert len(chosen) == 1
    assert chosen[0][0] == 3e-3


def test_parallel_heads_are_what_each_would_be_alone():
    tokens, labels = marked_tokens(20)
    known, answers = torch.from_numpy(tokens), torch.from_numpy((labels == "b").astype(int))
    settings = {"size": (2, 2, 2), "epochs": 2, "batch": 8, "seed": 3, "device": "cpu"}
    both = attentive._fit(known, answers, [(1e-3, 0.1), (3e-3, 0.0)], **settings)
    alone = attentive._fit(known, answers, [(3e-3, 0.0)], **settings)[0]
    for a, b in zip(both[1].parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert not torch.equal(both[0].query, both[1].query)


def test_heads_that_do_not_divide_the_channels_are_told():
    context: EvalContext = setting_of(["a", "b"] * 4, 4, options={"heads": 5})
    candidate = Candidate("x", lambda: create_model("r3d_18_tiny"), False)
    with pytest.raises(ConfigError, match=r"5 heads do not divide the 64 channels.*attentive\.heads"):
        next(adapter.run("attentive", candidate, context))


def test_maps_that_do_not_fit_into_memory_are_told_before_a_frame_is_decoded():
    context: EvalContext = setting_of(["a", "b"] * 4, 4, options={"gigabytes": 1e-3})
    candidate = Candidate("x", lambda: create_model("r3d_18_tiny"), False)
    with pytest.raises(ConfigError, match=r"cells of 64 channels.*GB for 8 videos.*--size.*attentive\.gigabytes"):
        next(adapter.run("attentive", candidate, context))  # there are no files behind the videos


@pytest.mark.parametrize(("name", "size"), [("r3d_18_tiny", 48), ("resnet18_tiny", 64), ("baseline_mean_frame", 32)])
def test_the_cells_of_a_map_are_known_before_it_is_made(name, size):
    backbone, view = create_model(name).eval(), View(clips=2, frames=8, size=size)
    with torch.inference_mode():
        shape = backbone(torch.rand(1, 3, view.frames, size, size)).shape
    assert attentive.cells_of(backbone.info, view) == shape[2] * shape[3] * shape[4]
