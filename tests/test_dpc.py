"""Dense predictive coding: its blocks, its loss by hand, and that predictions know nothing of what they predict."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pretext.dpc import DPC
from ssvid.zoo import create_model

SMALL = {"blocks": 5, "block": 4, "predict": 2, "stride": 1, "size": 32, "width": 16}


@pytest.fixture(scope="module")
def videos(world_index):
    return world_index.videos("train")


def make(backbone="r3d_18_tiny", **options) -> DPC:
    torch.manual_seed(0)
    return DPC(create_model(backbone), **(SMALL | options)).eval()


def clips_of(batch: int = 2, blocks: int = 5) -> torch.Tensor:
    return torch.randn(batch, blocks, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))


def test_defaults_are_the_papers(videos):
    task = DPC(create_model("r3d_18_tiny"))
    assert (task.blocks, task.predict, task.window_length) == (8, 3, 118)  # 8 blocks of 5 frames, every third of 118
    assert (task.augment.size, task.project.out_features) == (128, 256)


def test_blocks_follow_each_other_without_overlap(videos):
    clips = make(block=3, stride=2).sample(videos[0], np.random.default_rng(0))
    assert clips.indices.shape == (5, 3)
    assert (np.diff(clips.indices.ravel()) == 2).all()


def test_the_loss_by_hand(monkeypatch):
    """Two videos, one predicted block, two cells: four predictions, each to be told from four candidates."""
    task = make(predict=1)
    scores = torch.tensor([[3.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1.0], [5.0, 0, 0, 0]]).view(2, 1, 2, 2, 1, 2)
    monkeypatch.setattr(task, "scores", lambda clips: scores)
    values = task(torch.zeros(2, 5, 3, 4, 32, 32), torch.zeros(2, 0))
    costs = [
        math.log(math.exp(3) + 3) - 3,
        math.log(math.exp(2) + 3) - 2,
        math.log(3 + math.e),  # the right one, the third, has 0
        math.log(3 + math.exp(5)),
    ]
    assert values["loss"].item() == pytest.approx(sum(costs) / 4, rel=1e-5)
    assert values["accuracy"].tolist() == [1.0, 0.0]
    assert values["chance"].tolist() == [0.25, 0.25]
    assert values["block_accuracy"].tolist() == [1.0, 1.0]  # there is but one block


def test_block_accuracy_compares_blocks_of_one_cell_only(monkeypatch):
    task = make()
    scores = torch.zeros(1, 2, 1, 1, 2, 1)
    scores[0, 0, 0, 0, 1, 0] = 1.0  # the first block takes the second for itself
    scores[0, 1, 0, 0, 1, 0] = 1.0
    monkeypatch.setattr(task, "scores", lambda clips: scores)
    assert task(torch.zeros(1, 5, 3, 4, 32, 32), torch.zeros(1, 0))["block_accuracy"].tolist() == [0.5]


def test_a_prediction_knows_only_what_came_before():
    task, clips = make(), clips_of()
    other = clips.clone()
    other[0, -2:] = torch.randn_like(other[0, -2:])
    with torch.no_grad():
        scores, changed = task.scores(clips), task.scores(other)
    against_second = (slice(None), slice(None), slice(None), 1)  # the targets of the video that stayed
    assert torch.allclose(scores[against_second], changed[against_second], atol=1e-4)
    assert not torch.allclose(scores[:, :, :, 0], changed[:, :, :, 0], atol=1e-4)


def test_cells_are_aggregated_each_on_its_own():
    class Pixels(torch.nn.Module):
        info = create_model("r3d_18_tiny").info

        def forward(self, x):  # every cell sees its own 16 x 16 pixels
            cells = torch.nn.functional.avg_pool3d(x, (1, 16, 16))
            return cells.mean(1, keepdim=True).expand(-1, self.info.dim, -1, -1, -1)

    torch.manual_seed(0)
    task = DPC(Pixels(), **SMALL).eval()
    clips = clips_of(1)
    other = clips.clone()
    other[:, :3, ..., :16, :16] += 1.0  # what was seen at the first of the four cells
    with torch.no_grad():
        scores, changed = task.scores(clips), task.scores(other)
    assert scores.shape == (1, 2, 4, 1, 2, 4)
    moved = (scores - changed).abs().amax((0, 1, 3, 4, 5))
    assert moved[0] > 1e-4
    assert (moved[1:] < 1e-6).all()


def test_targets_are_signed():
    """The feature before the ReLU is what is predicted: products of both signs, though the backbone's features have one."""
    task = make()
    with torch.no_grad():
        features = task.project(task.backbone(clips_of(1)[0]).mean(2).flatten(2).transpose(1, 2))
    assert features.min() < 0 < features.max()


def test_other_cells_can_be_left_out():
    task, clips = make(spatial=False), clips_of()
    with torch.no_grad():
        scores, values = task.scores(clips), task(clips, torch.zeros(2, 0))
    B, P, S = scores.shape[:3]
    same = torch.eye(S, dtype=torch.bool).view(1, 1, S, 1, 1, S).expand_as(scores)
    assert torch.isfinite(scores[same]).all()
    assert (scores[~same] == -torch.inf).all()
    assert values["chance"].tolist() == [1 / (B * P)] * 2
    assert torch.isfinite(values["loss"])


def test_a_still_video_has_no_blocks_to_tell():
    task = make(predict=2)
    still = torch.randn(2, 1, 3, 1, 32, 32, generator=torch.Generator().manual_seed(0)).expand(-1, 5, -1, 4, -1, -1)
    with torch.no_grad():
        scores = task.scores(still)
    assert torch.allclose(scores[:, :, :, :, 0], scores[:, :, :, :, 1], atol=1e-4)


def test_colours_change_from_frame_to_frame_and_the_crop_does_not():
    params = make().augment.draw(np.random.default_rng(0), 5, 4)
    assert (params["box"] == params["box"][:1, :1]).all()
    assert len(np.unique(params["color"][..., 0])) == 20
