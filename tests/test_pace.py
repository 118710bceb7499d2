"""Which frames make a pace, and that nothing but the pace tells it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pretext.pace import STRIDES, Pace, centred
from ssvid.errors import ConfigError
from ssvid.zoo import create_model, model_info


@pytest.fixture(scope="module")
def videos(world_index):
    return world_index.videos("train")


class Mean(torch.nn.Module):
    """Every channel the mean of the clip."""

    info = model_info("r3d_18_tiny")

    def forward(self, x):
        return x.mean((1, 2, 3, 4), keepdim=True).expand(-1, self.info.dim, 1, 1, 1)


def test_centred_by_hand():
    assert centred(9, 3, 4).tolist() == [0, 4, 8]
    assert centred(9, 3, 2).tolist() == [2, 4, 6]
    assert centred(9, 3, 1).tolist() == [3, 4, 5]


def test_all_four_paces_of_a_video_share_a_moment(videos):
    task = Pace(Mean(), frames=8)
    for seed in range(20):
        clips = task.sample(videos[0], np.random.default_rng(seed))
        assert clips.indices.shape == (4, 8)
        assert clips.target.tolist() == [0, 1, 2, 3]
        for indices, stride in zip(clips.indices, STRIDES, strict=True):
            assert np.diff(indices).tolist() == [stride] * 7
        middles = clips.indices.mean(1)
        assert np.ptp(middles) <= 0.5  # ticks: whole ones cannot be halved


def test_a_video_needs_room_for_the_largest_stride_whatever_is_asked(videos):
    window_length = 7 * 4 + 1
    for together in (True, False):
        task = Pace(Mean(), frames=8, together=together)
        exact, short = (
            replace(videos[0], info=replace(videos[0].info, frames=count, times=videos[0].info.times[:count]))
            for count in (window_length, window_length - 1)
        )
        assert task.why_unusable(short) == f"shorter than {window_length} frames"
        assert task.why_unusable(exact) is None
        for seed in range(40):
            indices = task.sample(exact, np.random.default_rng(seed)).indices
            assert indices.min() >= 0
            assert indices.max() < window_length
            assert (np.diff(indices, axis=1) > 0).all()  # never wrapped, never held


def test_one_pace_a_clip_is_drawn_evenly_and_from_the_same_places(videos):
    task = Pace(Mean(), frames=8, together=False)
    drawn = [task.sample(videos[0], np.random.default_rng(seed)) for seed in range(800)]
    assert all(clips.indices.shape == (1, 8) for clips in drawn)
    paces = np.array([clips.target[0] for clips in drawn])
    middles = np.array([clips.indices.mean() for clips in drawn])
    for pace in range(4):
        here = middles[paces == pace]
        assert abs(len(here) / 800 - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 800)
        assert abs(here.mean() - middles.mean()) < 4 * middles.std() / np.sqrt(len(here)) + 0.5
    tested = task.sample(videos[0], np.random.default_rng(0), training=False)
    assert tested.target.tolist() == [0, 1, 2, 3]


def test_loss_and_accuracy_by_hand():
    task = Pace(Mean(), frames=4)
    with torch.no_grad():
        task.head.weight.zero_()
        task.head.bias.copy_(torch.tensor([0.0, 0.0, np.log(2.0), 0.0]))  # probabilities 1/5, 1/5, 2/5, 1/5
    values = task(torch.zeros(2, 4, 3, 4, 8, 8), torch.tensor([[0, 1, 2, 3]] * 2))
    assert values["loss"].item() == pytest.approx((3 * np.log(5) + np.log(2.5)) / 4, rel=1e-5)
    assert values["accuracy"].tolist() == [0.25, 0.25]
    one = task(torch.zeros(2, 1, 3, 4, 8, 8), torch.tensor([[2], [0]]))
    assert one["accuracy"].tolist() == [1.0, 0.0]


def test_each_clip_is_augmented_on_its_own():
    params = Pace(Mean()).augment.draw(np.random.default_rng(0), 4, 16)
    assert len(np.unique(params["box"][:, 0], axis=0)) == 4
    assert len(np.unique(params["color"].reshape(-1, 4), axis=0)) == 64


def test_each_clip_has_a_crop_of_its_own_and_each_frame_colours_of_its_own():
    params = Pace(create_model("s3dg_tiny"), frames=6).augment.draw(np.random.default_rng(0), len(STRIDES), 6)
    boxes, colors = params["box"], params["color"][..., :3]
    assert len(np.unique(boxes[:, 0, 0])) == len(STRIDES)
    np.testing.assert_allclose(np.diff(boxes, 2, axis=1), 0, atol=1e-6)  # a crop drifts evenly
    assert len(np.unique(colors[..., 0])) == len(STRIDES) * 6


def test_the_contrastive_loss_is_that_of_clips_of_one_video_among_those_of_others():
    torch.manual_seed(0)
    task = Pace(create_model("r3d_18_tiny"), frames=8, size=32, contrast=0.3, temperature=0.5).eval()
    clips, target = torch.rand(3, 4, 3, 8, 32, 32), torch.arange(4).expand(3, 4)
    with torch.no_grad():
        values, compared = task(clips, target), task.project(task.vectors(clips))
    unit = torch.nn.functional.normalize(compared, dim=-1)
    losses = []
    for clip in range(4):  # each with the next of its video, the last with the first; both ways
        pair = torch.cat([unit[:, clip], unit[:, (clip + 1) % 4]])  # (6,D): video 0, 1, 2, and again
        alike = (pair @ pair.T / 0.5).masked_fill(torch.eye(6, dtype=torch.bool), -torch.inf)
        losses.append(torch.nn.functional.cross_entropy(alike, torch.tensor([3, 4, 5, 0, 1, 2])))
    assert values["contrastive_loss"].item() == pytest.approx(torch.stack(losses).mean().item(), abs=1e-5)
    assert values["loss"].item() == pytest.approx(values["pace_loss"].item() + 0.3 * values["contrastive_loss"].item())


def test_with_contrast_a_batch_is_compared_as_a_whole_and_clips_stand_together():
    assert Pace(create_model("r3d_18_tiny"), frames=8, size=32, contrast=0.1).whole_batch
    assert not Pace(create_model("r3d_18_tiny"), frames=8, size=32).whole_batch
    with pytest.raises(ConfigError, match="contrast compares clips of one video at several paces"):
        Pace(create_model("r3d_18_tiny"), frames=8, size=32, contrast=0.1, together=False)
