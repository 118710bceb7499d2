"""Clip order: the orders by hand, where the clips lie, and that nothing but what happens in them tells their order."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch

from pretext.clip_order import ORDERS, ClipOrder
from ssvid.errors import ConfigError
from ssvid.ops.permutations import PairwiseHead
from ssvid.training.validate import per_video
from ssvid.zoo import create_model, model_info
from ssvid.zoo.backbone import Backbone
from tests.test_sampling import even

SMALL = {"frames": 4, "gap": 2, "size": 32}
SPAN = 3 * 4 + 2 * 2
ALL = torch.arange(6)[None]


def make(backbone="r3d_18_tiny", **options) -> ClipOrder:
    torch.manual_seed(0)
    return ClipOrder(create_model(backbone), **(SMALL | options)).eval()


class Mean(torch.nn.Module):
    """(B,3,T,H,W) -> (B,D,1,1,1), the mean of each clip; keeps what it saw."""

    info = model_info("r3d_18_tiny")

    def forward(self, x):
        self.seen = x
        return x.mean((1, 2, 3, 4), keepdim=True).expand(-1, self.info.dim, -1, -1, -1)


class Reader(torch.nn.Module):
    """(...,3,D) -> (...,6): names the order of clips that are told apart by their brightness 0, 1, 2."""

    def forward(self, vectors):
        places = vectors[..., 0].round().long().tolist()
        classes = [[list(permutations(range(3))).index(tuple(row)) for row in video] for video in places]
        return torch.nn.functional.one_hot(torch.tensor(classes), 6).float() * 9


def coded(order: tuple[int, ...]) -> torch.Tensor:
    """Clips (1,3,3,4,8,8) whose brightness is given."""
    return torch.tensor(order, dtype=torch.float32).view(1, 3, 1, 1, 1, 1).expand(-1, -1, 3, 4, 8, 8)


def test_orders_are_counted_as_itertools_counts():
    assert ORDERS.tolist() == [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]


def test_each_order_is_asked_once_and_its_number_is_the_answer():
    task = ClipOrder(Mean(), **SMALL).eval()
    task.head = Reader()
    values = task(coded((0, 1, 2)), ALL)
    assert values["accuracy"].tolist() == [1.0]
    assert values["loss"].item() == pytest.approx(math.log(1 + 5 * math.exp(-9)), rel=1e-3)
    # clips that came in the order 1, 0, 2 are read as what they are, not as what they should be
    assert task.logits(coded((1, 0, 2)))[0].argmax(1).tolist() == [2, 3, 0, 1, 5, 4]
    assert task(coded((1, 0, 2)), ALL)["accuracy"].tolist() == [0.0]


def test_pairs_are_compared_first_in_the_order_of_places():
    head = PairwiseHead(1, 3, 1, hidden=3, dropout=0.0)
    with torch.no_grad():
        head.compare[0].weight.copy_(torch.tensor([[1.0, 0], [0, 1], [1, -1]]))  # both, and how much the first is above
        head.compare[0].bias.zero_()
        head.answer[1].weight.copy_(torch.tensor([[1.0, 10, 0, 100, 1000, 0, 0, 0, 1e5]]))
        head.answer[1].bias.zero_()
    # of the pairs (0,1), (0,2), (1,2): first and second of the first two, and the fall in the third, 5 - 3
    assert head(torch.tensor([[2.0], [5.0], [3.0]])).item() == 2 + 50 + 200 + 3000 + 2e5


def test_clips_lie_apart_and_in_the_order_of_time():
    task = make(stride=2)
    assert task.window_length == 2 * SPAN - 1
    for training in (True, False):
        indices = task.sample(even(40), np.random.default_rng(0), training).indices
        assert indices.shape == (3, 4)
        assert (np.diff(indices, axis=1) == 2).all()
        assert (indices[1:, 0] - indices[:-1, -1]).tolist() == [
            2 * (1 + 2)
        ] * 2  # the gap counts frames of the clips' clock
    paper = ClipOrder(Mean())
    assert paper.window_length == 3 * 16 + 2 * 8


def test_windows_reach_the_first_and_the_last_frame():
    task = make()
    samples = [task.sample(even(SPAN + 3), np.random.default_rng(seed)).indices for seed in range(80)]
    assert {int(indices.min()) for indices in samples} == {0, 1, 2, 3}
    assert {int(indices.max()) for indices in samples} == set(range(SPAN - 1, SPAN + 3))
    assert task.why_unusable(even(SPAN - 1)) == f"shorter than {SPAN} frames"
    assert task.why_unusable(even(SPAN)) is None


def test_neither_target_nor_place_in_the_row_tells_the_order():
    """Every sample has the same target and its clips in the order of time; what is asked are all orders of the features."""
    task = make()
    samples = [task.sample(even(60), np.random.default_rng(seed)) for seed in range(20)]
    assert all(clips.target.tolist() == [0, 1, 2, 3, 4, 5] for clips in samples)
    assert all((np.diff(clips.indices.ravel()) > 0).all() for clips in samples)


@pytest.mark.parametrize("backbone", ["r3d_18_tiny", "mc3_18_tiny"])
def test_a_clip_is_encoded_without_its_place_and_its_neighbours(backbone):
    task, moved = make(backbone), [2, 0, 1]
    clips = torch.randn(2, 3, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, others = task.logits(clips), task.logits(clips[:, moved])
    same = [ORDERS.tolist().index([moved[piece] for piece in order]) for order in ORDERS.tolist()]
    assert same != list(range(6))
    assert torch.allclose(others, logits[:, same], atol=1e-4)
    assert (logits - logits[:, :1]).abs()[:, 1:].amax((1, 2)).min() > 1e-3  # while orders are told apart


def test_clips_that_are_all_alike_get_one_answer():
    task = make()
    clip = torch.randn(4, 1, 3, 4, 32, 32).expand(-1, 3, -1, -1, -1, -1)
    with torch.no_grad():
        assert task(clip, ALL.expand(4, -1))["accuracy"].tolist() == pytest.approx([1 / 6] * 4)


@pytest.mark.parametrize("answer", [0, 4])
def test_one_answer_to_all_is_exactly_chance_on_held_out_videos(answer, world_index):
    task = make()
    layer = task.head.answer[-1]
    torch.nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.bias.copy_(torch.eye(6)[answer])
    asked, values = per_video(task, world_index.videos("test"), workers=0)
    assert len(asked) == 13
    assert values["accuracy"] == pytest.approx(ClipOrder.chance, abs=1e-6)


def test_every_clip_has_a_crop_and_colours_of_its_own():
    params = make().augment.draw(np.random.default_rng(0), 3, 4)
    for values in params.values():
        assert (values == values[:, :1]).all()  # which its frames share
    assert len(np.unique(params["box"][:, 0, 0])) == 3
    for column in range(3):
        assert len(np.unique(params["color"][:, 0, column])) == 3
    assert 0.6 <= params["color"][..., :3].min() < params["color"][..., :3].max() <= 1.4
    assert len(set(np.sign(params["box"][:, 0, 2]))) == 1  # a flip holds for the whole video
    published = make(jitter=0.0).augment.draw(np.random.default_rng(0), 3, 4)
    assert (published["color"][..., :3] == 1).all()
    assert len(np.unique(published["box"][:, 0, 0])) == 3


def test_residual_input_is_what_changes_from_frame_to_frame():
    clips = torch.arange(4.0).square().view(1, 1, 1, 4, 1, 1).expand(1, 3, 3, -1, 8, 8) + coded((0, 1, 2))
    for name, frames in (("rgb", [0.0, 1.0, 4.0, 9.0]), ("residual", [1.0, 3.0, 5.0])):
        trunk = Mean()
        backbone = Backbone(trunk, replace(model_info("r3d_18_tiny", input=name), mean=(0.0,) * 3, std=(1.0,) * 3))
        ClipOrder(backbone, **SMALL, input=name).eval().logits(clips)
        assert trunk.seen.shape == (3, 3, len(frames), 8, 8)
        assert trunk.seen[0, 0, :, 0, 0].tolist() == frames
        assert torch.equal(trunk.seen[0], trunk.seen[2]) == (name == "residual")  # brightness is gone
    with pytest.raises(ConfigError, match="rgb or residual"):
        make(input="flow")


def test_still_videos_are_not_asked_about():
    assert make().why_unusable(even(40, motion=np.zeros(40, np.float32))) == "no motion"


def test_noise_of_its_own_strength_covers_each_clip_in_training_only():
    std = (0.5, 0.5, 0.5)
    task = ClipOrder(Backbone(Mean(), replace(model_info("r3d_18_tiny"), std=std)), **SMALL, noise=1.0)
    seen: list[torch.Tensor] = []
    task.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    clips = torch.zeros(4, 3, 3, SMALL["frames"], 32, 32)
    for training in (True, False):
        task.train(training)(clips, torch.arange(6).expand(4, 6))
    strengths = seen[0].flatten(1).std(1)
    assert strengths.max() < 0.55
    assert len(strengths.unique()) == 12
    assert not seen[1].any()
