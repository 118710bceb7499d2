"""Cubic puzzle: where the cuboids are cut, the two kinds of puzzle, the orders by hand, and its guards."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from pretext.cubic_puzzle import ORDERS, CubicPuzzle
from ssvid.ops import patches
from ssvid.training.validate import per_video
from ssvid.zoo import create_model, model_info
from tests.test_sampling import even

FRAMES, GAP, SIZE, CELL = 2, 3, 10, 14
SMALL = {"frames": FRAMES, "gap": GAP, "size": SIZE}
STEPS = FRAMES + GAP


class Voice(torch.nn.Module):
    """(B,3,T,H,W) -> (B,D,1,1,1), the mean of each cuboid."""

    info = model_info("r3d_18_tiny")

    def forward(self, x):
        return x.mean((1, 2, 3, 4), keepdim=True).expand(-1, self.info.dim, -1, -1, -1)


class Reader(torch.nn.Module):
    """(...,4,D) -> (...,24): names the order of pieces that are told apart by their brightness 0 to 3."""

    def forward(self, vectors):
        places = vectors[..., 0].round().long()
        rows = [list(itertools.permutations(range(4))).index(tuple(row)) for row in places.flatten(0, -2).tolist()]
        return torch.nn.functional.one_hot(torch.tensor(rows), 24).float().view(*places.shape[:-1], 24) * 9


def make(backbone=None, **options) -> CubicPuzzle:
    torch.manual_seed(0)
    return CubicPuzzle(backbone or Voice(), **(SMALL | options)).eval()


def voxels() -> torch.Tensor:
    """Clips (1,4,3,STEPS,2*CELL,2*CELL) whose channels are: frame of the window, row, column."""
    frame = torch.arange(4.0 * STEPS).view(4, STEPS, 1, 1).expand(-1, -1, 2 * CELL, 2 * CELL)
    row, column = (torch.arange(2.0 * CELL).view(shape).expand_as(frame) for shape in ((-1, 1), (1, -1)))
    return torch.stack([frame, row, column], 1)[None]


def targets(number=300, training=True, **options) -> np.ndarray:
    task = make(**options)
    return np.stack([task.sample(even(40), np.random.default_rng(seed), training).target for seed in range(number)])


def test_cut_takes_the_cuboid_it_is_told():
    clips = torch.arange(2.0 * 3 * 3 * 4 * 5 * 6).view(2, 3, 3, 4, 5, 6)
    corners = torch.tensor([[[2, 1, 3, 0], [0, 0, 0, 4]], [[1, 2, 1, 2], [2, 0, 2, 1]]])
    pieces = patches.cut_cuboids(clips, corners, (2, 2, 2))
    assert pieces.shape == (2, 2, 3, 2, 2, 2)
    for video in range(2):
        for number, (clip, first, top, left) in enumerate(corners[video].tolist()):
            expected = clips[video, clip, :, first : first + 2, top : top + 2, left : left + 2]
            assert torch.equal(pieces[video, number], expected)


@pytest.mark.parametrize("training", [True, False])
def test_every_cuboid_lies_inside_its_cell(training):
    """Read off the voxels themselves: four quarters of one time, and four times of one quarter."""
    task = make()
    for seed in range(30):
        target = task.sample(even(40), np.random.default_rng(seed), training).target
        pieces = task.cuboids(voxels(), torch.from_numpy(target)[None]).unflatten(0, (2, 4))
        assert pieces.shape == (2, 4, 3, FRAMES, SIZE, SIZE)
        low, high = pieces.amin((3, 4, 5)), pieces.amax((3, 4, 5))
        assert torch.equal(high - low, torch.tensor([FRAMES - 1.0, SIZE - 1, SIZE - 1]).expand(2, 4, 3))
        cell = torch.tensor([STEPS, CELL, CELL])
        first, last = low // cell, high // cell
        assert torch.equal(first, last)  # no cuboid crosses a border
        space, time = first
        assert space[:, 1:].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
        assert len(space[:, 0].unique()) == 1
        assert time[:, 0].tolist() == [0, 1, 2, 3]
        assert len(time[:, 1:].unique(dim=0)) == 1


def test_cuboids_jitter_over_all_the_room_of_their_cells():
    target = targets()
    cells = np.array([0, CELL, CELL])
    inside = (target[..., 1:4] - cells * (target[..., 1:4] >= cells) * (cells > 0)).reshape(-1, 3)
    for column, room in enumerate((GAP, CELL - SIZE, CELL - SIZE)):
        counts = np.bincount(inside[:, column], minlength=room + 1)
        assert len(counts) == room + 1  # the last position too
        expected = len(inside) / (room + 1)
        assert ((counts - expected) ** 2 / expected).sum() < 23  # chi square of 3 or 4 degrees, 1 in 8000
    assert abs(np.corrcoef(inside.T) - np.eye(3)).max() < 0.1  # each axis on its own
    space = target[:, 0, :, 3]
    assert abs(np.corrcoef(space[:, 0], space[:, 2])[0, 1]) < 0.25  # and each piece, so that no edge goes on


def test_the_place_of_a_puzzle_is_drawn_and_middles_are_cut_on_held_out_videos():
    target = targets()
    assert set(target[:, 0, 0, 0]) == {0, 1, 2, 3}  # the time of the spatial puzzle
    quarter = target[:, 1, 0, 2:4] >= CELL  # the place of the temporal one
    assert len(np.unique(quarter, axis=0)) == 4
    middle = targets(20, training=False)
    assert set(middle[..., 1].flat) == {GAP // 2}
    assert set(middle[..., 2].flat) == set(middle[..., 3].flat) == {2, CELL + 2}


def test_each_order_is_asked_once_and_its_number_is_the_answer():
    task = make()
    task.tower, task.head = torch.nn.Identity(), Reader()
    pieces = torch.arange(4.0).repeat(2).view(8, 1, 1, 1, 1).expand(-1, 3, FRAMES, SIZE, SIZE)
    _, logits = task.read(pieces)
    assert logits.shape == (1, 2, 24, 24)
    assert logits.argmax(3).tolist() == [[list(range(24))] * 2]
    assert (ORDERS[0].tolist(), ORDERS[1].tolist(), ORDERS[23].tolist()) == ([0, 1, 2, 3], [0, 1, 3, 2], [3, 2, 1, 0])
    task.cuboids = lambda clips, target: torch.cat(
        [pieces[:4], pieces[[1, 0, 2, 3]]]
    )  # the second puzzle is not in order
    values = task(voxels(), torch.zeros(1, 2, 4, 5, dtype=torch.long))
    assert [values[name].item() for name in ("space_accuracy", "time_accuracy", "accuracy")] == [1.0, 0.0, 0.5]
    right, wrong = math.log(1 + 23 * math.exp(-9)), math.log(23 + math.exp(9))
    assert values["loss"].item() == pytest.approx((right + wrong) / 2, rel=1e-4)


@pytest.mark.parametrize("answer", [0, 17])
def test_one_answer_to_all_is_exactly_chance_on_held_out_videos(answer, world_index):
    task = make(create_model("r3d_18_tiny"), size=16)
    torch.nn.init.zeros_(task.head[-1].weight)
    with torch.no_grad():
        task.head[-1].bias.copy_(torch.eye(24)[answer])
    asked, values = per_video(task, world_index.videos("test"), workers=0)
    assert len(asked) == 13
    for name in ("accuracy", "space_accuracy", "time_accuracy"):
        assert values[name] == pytest.approx(CubicPuzzle.chance, abs=1e-6)


def test_cuboids_that_are_all_alike_get_one_answer():
    task = make(create_model("r3d_18_tiny"), size=16)
    piece = torch.randn(1, 3, FRAMES, 16, 16).expand(8, -1, -1, -1, -1)
    with torch.no_grad():
        answers = task.read(piece)[1].argmax(3)
    assert len(answers.unique()) == 1


def test_a_cuboid_is_encoded_on_its_own():
    task = make(create_model("r3d_18_tiny"), size=16)
    pieces = torch.randn(8, 3, FRAMES, 16, 16, generator=torch.Generator().manual_seed(0))
    other = pieces.clone()
    other[3] += 1
    with torch.no_grad():
        moved = (task.read(pieces)[0] - task.read(other)[0]).abs().amax((0, 3))
    assert moved[0, 3] > 1e-3
    moved[0, 3] = 0
    assert moved.max() < 1e-5


def test_in_some_cuboids_one_channel_stands_for_all_while_training():
    clips = torch.rand(20, 4, 3, STEPS, 2 * CELL, 2 * CELL)
    target = torch.from_numpy(targets(20))
    plain = make(replicate=1.0).cuboids(clips, target)
    torch.manual_seed(0)
    for replicate in (0.0, 0.5, 1.0):
        pieces = make(replicate=replicate).train().cuboids(clips, target)
        grey = (pieces == pieces[:, :1]).flatten(1).all(1)
        assert grey.float().mean().item() == pytest.approx(replicate, abs=0.13)
        assert torch.equal(pieces[~grey], plain[~grey])
        channels = [int((plain[n] == pieces[n, :1]).flatten(1).all(1).nonzero()[0]) for n in grey.nonzero().flatten()]
        assert set(channels) == ({0, 1, 2} if replicate else set())  # any of them, none made up
    assert not (plain == plain[:, :1]).flatten(1).all(1).any()


def test_the_four_times_have_colours_of_their_own_and_one_crop():
    params = make().augment.draw(np.random.default_rng(0), 4, STEPS)
    assert (params["box"] == params["box"][:1, :1]).all()  # a crop a time would move the places of a temporal puzzle
    assert (params["color"] == params["color"][:, :1]).all()
    assert len(np.unique(params["color"][:, 0, 0])) == 4


def test_turned_cuboids_are_asked_about_where_told():
    assert set(targets(50)[..., 4].flat) == {0}
    turned = targets(50, rotate=True)[..., 4]
    assert 0.4 < turned.mean() < 0.6
    task = make(rotate=True)
    target = torch.from_numpy(targets(1, rotate=True))
    straight = target.clone()
    straight[..., 4] = 0
    pieces, before = task.cuboids(voxels(), target), task.cuboids(voxels(), straight)
    told = target[..., 4].flatten()
    assert 0 < told.sum() < 8
    for piece, was, is_turned in zip(pieces, before, told, strict=True):
        assert torch.equal(piece, was.rot90(2, (2, 3)) if is_turned else was)
    with torch.no_grad():
        task.turned.weight.zero_()
        task.turned.bias.fill_(1.0)
    values = task(voxels(), target)
    assert values["turned_accuracy"].item() == pytest.approx(told.float().mean().item())
    plain = make()(voxels(), straight)
    assert "turned_accuracy" not in plain
    share = told.float().mean().item()
    assert values["loss"].item() - plain["loss"].item() == pytest.approx(
        math.log(1 + math.exp(-1)) + (1 - share), rel=1e-3
    )


def test_defaults_are_the_papers():
    task = CubicPuzzle(Voice())
    assert (task.cuboid, task.cell, task.window_length) == ((16, 80, 80), (32, 112, 112), 128)
    assert task.augment.size == 224


def test_the_clip_is_four_cells_long_and_moves():
    indices = make().sample(even(40), np.random.default_rng(0)).indices
    assert indices.shape == (4, STEPS)
    assert (np.diff(indices.ravel()) == 1).all()
    starts = {int(make().sample(even(4 * STEPS + 1), np.random.default_rng(seed)).indices[0, 0]) for seed in range(20)}
    assert starts == {0, 1}
    assert make().why_unusable(even(4 * STEPS - 1)) == f"shorter than {4 * STEPS} frames"
    assert make().why_unusable(even(40, motion=np.zeros(40, np.float32))) == "no motion"
