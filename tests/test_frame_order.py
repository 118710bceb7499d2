"""Frame order: the tuples and their answers by hand, where frames are taken, and that no habit and no neighbour tells the answer."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from pretext.frame_order import IN_ORDER, TUPLES, FrameOrder
from ssvid.errors import ConfigError
from ssvid.ops import permutations
from ssvid.training.validate import per_video
from ssvid.zoo import create_model, model_info
from tests.bare import BareBackbone
from tests.test_sampling import even

SMALL = {"frames": 12, "gap": 2, "size": 32}
FRAMES = {"shuffle": 5, "opn": 4}


def make(backbone="r3d_18_tiny", **options) -> FrameOrder:
    torch.manual_seed(0)
    return FrameOrder(create_model(backbone), **(SMALL | options)).eval()


def answering(task: FrameOrder, logits: torch.Tensor) -> FrameOrder:
    """The task with logits (K,answers) in place of what the network says."""
    task.logits = lambda clips: logits.expand(len(clips), -1, -1)
    return task


def drawn(task, video, number=400, training=True):
    return np.stack([task.sample(video, np.random.default_rng(seed), training).indices[0] for seed in range(number)])


def test_tuples_are_in_order_or_not_by_their_middle_frame_alone():
    a, b, c, d, e = range(5)
    truth = {(b, c, d): 1, (d, c, b): 1, (b, a, d): 0, (d, a, b): 0, (b, e, d): 0, (d, e, b): 0}
    assert dict(zip(map(tuple, TUPLES.tolist()), IN_ORDER.tolist(), strict=True)) == truth
    for row, answer in truth.items():
        monotone = list(row) in (sorted(row), sorted(row, reverse=True))
        assert answer == monotone
        assert {row[0], row[2]} == {b, d}  # what stands around the middle tells nothing
        assert truth[row[::-1]] == answer  # nor does the arrow of time


def test_an_order_of_four_and_its_reverse_are_one_class_of_twelve():
    rows, classes = permutations.up_to_reversal(4)
    told = dict(zip(map(tuple, rows.tolist()), classes.tolist(), strict=True))
    assert set(told) == set(itertools.permutations(range(4)))
    assert [told[row] for row in ((0, 1, 2, 3), (0, 1, 3, 2), (0, 2, 1, 3), (0, 2, 3, 1))] == [0, 1, 2, 3]
    assert all(told[row] == told[row[::-1]] for row in told)
    assert np.bincount(list(told.values())).tolist() == [2] * 12
    task = make(mode="opn")
    assert (task.tuples.tolist(), task.answers.tolist(), task.chance) == (rows.tolist(), classes.tolist(), 1 / 12)


def test_the_loss_by_hand():
    """Three quarters of the loss have tuples out of order; the logits are spared these odds, and none is learnt from guessing."""
    task = answering(make(), torch.tensor([[0.0, 2.0], [0, 0], [1, 0], [0, 0], [0, 0], [0, 3.0]]))
    values = task(torch.zeros(2, 1, 3, 5, 32, 32), torch.tensor([1, 1, 0, 0, 0, 0]).expand(2, -1))
    yes = (math.log(0.75 + 0.25 * math.exp(2)) - 2 - math.log(0.25)) - math.log(0.25)
    no = math.log(0.75 * math.e + 0.25) - 1 - 4 * math.log(0.75) + math.log(0.75 + 0.25 * math.exp(3))
    assert values["loss"].item() == pytest.approx(0.25 * yes / 2 + 0.75 * no / 4, rel=1e-5)
    # in order: one of two told right (a tie falls to the first answer); out of order: three of four
    assert values["accuracy"].tolist() == [pytest.approx((1 / 2 + 3 / 4) / 2)] * 2
    assert values["chance"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("negatives", [0.5, 0.75])
def test_not_to_know_costs_the_entropy_of_the_answers(negatives):
    task = answering(make(negatives=negatives), torch.zeros(6, 2))
    loss = task(torch.zeros(1, 1, 3, 5, 32, 32), torch.tensor([[1, 1, 0, 0, 0, 0]]))["loss"].item()
    assert loss == pytest.approx(-negatives * math.log(negatives) - (1 - negatives) * math.log(1 - negatives))


@pytest.mark.parametrize("mode", FRAMES)
def test_one_answer_to_all_is_exactly_chance_on_held_out_videos(mode, world_index):
    task = make(mode=mode)
    layer = task.head.answer[-1]
    for answer in (0, layer.out_features - 1):
        torch.nn.init.zeros_(layer.weight)
        with torch.no_grad():
            layer.bias.copy_(torch.eye(layer.out_features)[answer])
        asked, values = per_video(task, world_index.videos("test"), workers=0)
        assert len(asked) == 13
        assert values["accuracy"] == pytest.approx(task.chance, abs=1e-6)
    assert values["chance"] == pytest.approx(task.chance)


def test_the_five_frames_keep_their_distances():
    """b to d is at most `frames` long, and no two neighbours of a < b < c < d < e are nearer than `gap`."""
    task = make()
    assert (task.window_length, make(frames=60, gap=15).window_length) == (12 + 1 + 2 * 2, 91)
    rows = drawn(task, even(17))
    a, b, c, d, e = rows.T
    assert rows.min() == 0
    assert rows.max() == 16  # every place of the window can be taken
    assert np.diff(rows, axis=1).min() == 2
    assert (d - b).max() == 12
    assert (d - b).min() == 4
    for far in (a, e):
        assert len(np.unique(far)) > 5
    assert {int(place) for place in c - b} >= {2, 3, 4, 5}
    assert drawn(task, even(17), 3, training=False).tolist() == [[0, 2, 8, 14, 16]] * 3


def test_the_four_frames_keep_their_distances():
    task = make(mode="opn")
    rows = drawn(task, even(13))
    assert task.window_length == 13
    assert np.diff(rows, axis=1).min() == 2
    assert (rows.min(), rows.max()) == (0, 12)
    assert drawn(task, even(13), 3, training=False).tolist() == [[0, 4, 8, 12]] * 3


def test_places_apart_are_all_equally_likely():
    rng = np.random.default_rng(0)
    rows = [tuple(permutations.spread_apart(3, 7, 2, rng).tolist()) for _ in range(3000)]
    allowed = [(i, j, k) for i in range(7) for j in range(i + 2, 7) for k in range(j + 2, 7)]
    counts = np.array([rows.count(row) for row in allowed])
    assert counts.sum() == 3000
    expected = 3000 / len(allowed)
    assert ((counts - expected) ** 2 / expected).sum() < 29.6  # chi square of 9 degrees, 1 in 2000
    assert permutations.spread_apart(3, 7, 2).tolist() == [0, 3, 6]


def test_windows_are_drawn_by_their_motion():
    task = make(frames=4, gap=1)  # 7 ticks
    motion = np.ones(40, np.float32)
    motion[20:] = 4.0
    video = even(40, motion=motion)
    starts = np.array([task.window(video, np.random.default_rng(seed))[0] for seed in range(3000)])
    weights = np.array([motion[start + 1 : start + 7].mean() for start in range(34)])
    weights /= weights.sum()
    lively = (starts >= 20).mean()
    share = weights[20:].sum()
    assert share > 0.6  # where all windows alike would give 14 of 34
    assert abs(lively - share) < 4 * np.sqrt(share * (1 - share) / 3000)
    assert abs((starts < 14).mean() - weights[:14].sum()) < 4 * np.sqrt(share * (1 - share) / 3000)


def test_still_videos_are_not_asked_about():
    assert make().why_unusable(even(40, motion=np.zeros(40, np.float32))) == "no motion"
    assert make().why_unusable(even(40)) is None


@pytest.mark.parametrize("mode", FRAMES)
def test_every_frame_has_a_crop_and_colours_of_its_own(mode):
    task = make(mode=mode)
    params = task.augment.draw(np.random.default_rng(0), 1, FRAMES[mode])
    for key, column in (("box", 0), ("box", 3), ("color", 0), ("color", 1), ("color", 2)):
        assert len(np.unique(params[key][0, :, column])) == FRAMES[mode]
    assert len(set(np.sign(params["box"][0, :, 2]))) == 1  # while a flip holds for all, as left and right are no cue


@pytest.mark.parametrize("backbone", ["resnet18_tiny", "r3d_18_tiny", "mc3_18_tiny"])
@pytest.mark.parametrize("mode", FRAMES)
def test_a_frame_changes_only_the_tuples_it_is_in(mode, backbone):
    task = make(backbone, mode=mode)
    clips = torch.randn(2, 1, 3, FRAMES[mode], 32, 32, generator=torch.Generator().manual_seed(0))
    other = clips.clone()
    other[:, :, :, 0] += 1.0
    with torch.no_grad():
        moved = (task.logits(clips) - task.logits(other)).abs().amax((0, 2))
        alone = (task.logits(clips)[:1] - task.logits(clips[:1])).abs().max()
    holds = (task.tuples == 0).any(1)
    assert (moved[holds] > 1e-4).all()
    assert alone < 1e-4
    if mode == "shuffle":  # every order of four holds all four
        assert (moved[~holds] < 1e-6).all()


def test_frames_are_encoded_each_on_its_own(monkeypatch):
    """Also while training: the backbone sees batches of one frame, each once, in an order that says nothing about time."""

    class Seen(BareBackbone):
        info = model_info("r3d_18_tiny")

        def encode(self, x):
            seen.append(x)
            return x.mean((1, 3, 4), keepdim=True).expand(-1, self.info.dim, -1, 4, 4)

    seen: list[torch.Tensor] = []
    task = FrameOrder(Seen(), **SMALL).train()
    clips = torch.randn(2, 1, 3, 5, 32, 32)
    task(clips, torch.from_numpy(task.answers).expand(2, -1))
    (x,) = seen
    assert x.shape == (10, 3, 1, 32, 32)
    assert torch.equal(x[:, :, 0].unflatten(0, (2, 5)).transpose(1, 2), clips[:, 0])


@pytest.mark.parametrize("mode", FRAMES)
def test_frames_that_are_all_alike_get_one_answer(mode):
    task = make(mode=mode)
    still = torch.randn(3, 1, 3, 1, 32, 32).expand(-1, -1, -1, FRAMES[mode], -1, -1)
    with torch.no_grad():
        values = task(still, torch.from_numpy(task.answers).expand(3, -1))
    assert values["accuracy"].tolist() == pytest.approx([task.chance] * 3)


def test_one_channel_stands_for_all_in_half_of_the_frames_of_opn():
    assert share_of_grey(make(mode="opn").train()) == pytest.approx(0.5, abs=0.13)
    assert share_of_grey(make(mode="opn")) == 0
    assert share_of_grey(make().train()) == 0


def share_of_grey(task: FrameOrder) -> float:
    seen = []
    task.backbone.register_forward_pre_hook(lambda net, inputs: seen.append(inputs[0]))
    torch.manual_seed(0)
    clips = torch.randn(64, 1, 3, FRAMES[task.mode], 32, 32)
    with torch.no_grad():
        task.logits(clips)
    frames = torch.cat(seen)
    return float(((frames - frames[:, :1]).abs() < 1e-4).flatten(1).all(1).float().mean())


@pytest.mark.parametrize("options", [{"mode": "quiz"}, {"gap": 0}, {"gap": 5, "frames": 14}])
def test_what_cannot_be_asked_is_refused(options):
    with pytest.raises(ConfigError, match="frame_order"):
        make(**options)


def test_default_chance_is_that_of_the_default_mode():
    assert make().chance == FrameOrder.chance


def test_distances_are_what_pairs_are_told_by():
    head = permutations.PairwiseHead(1, 3, 2, hidden=4, distances=True)
    seen = []
    head.compare.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    head(torch.tensor([[[1.0], [4.0], [2.0]]]))
    assert seen[0].tolist() == [[[3, 9], [1, 1], [2, 4]]]
