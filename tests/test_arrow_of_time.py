"""The arrow of time sees a clip and its very reverse, and its map of evidence is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pretext.arrow_of_time import ArrowOfTime
from ssvid.data.flow import flow_pictures, optical_flow
from ssvid.errors import ConfigError
from ssvid.zoo import create_model, model_info
from ssvid.zoo.backbone import Backbone


class Spy(torch.nn.Module):
    """Keeps what it saw; its features are the mean over space and time, the same in every channel."""

    info = model_info("r3d_18_tiny")

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        return x.mean((1, 2, 3, 4), keepdim=True).expand(-1, self.info.dim, 1, 1, 1)


def backbone_of(options: dict) -> Backbone:
    """A real backbone that makes the input the task is about."""
    return create_model("r3d_18_tiny", input=options.get("input", "rgb"))


def test_a_clip_and_its_very_reverse_are_seen():
    task = ArrowOfTime(Spy())
    clips = torch.randn(2, 1, 3, 5, 8, 8)
    values = task(clips, torch.tensor([[0.0, 1.0]] * 2))
    both = task.backbone.seen[0].view(2, 2, 3, 5, 8, 8)
    assert torch.equal(both[:, 0], clips[:, 0])
    assert torch.equal(both[:, 1], clips[:, 0].flip(2))
    # a network that sees no order gives both the same logit, so exactly one of the two is right
    assert values["accuracy"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    "options", [{"head": "mean"}, {"head": "tcam"}, {"head": "tcam", "groups": 4}, {"input": "flow"}]
)
def test_the_map_averages_to_the_logit(options):
    torch.manual_seed(0)
    task = ArrowOfTime(backbone_of(options), frames=16, size=32, **options).eval()
    clips = torch.rand(2, 1, 3, 16 + task.paired, 32, 32)
    with torch.no_grad():
        maps, logits = task.cam(clips), task.logits(clips)[:, :1]
        if options.get("head") == "tcam":
            assert maps.shape == (2, 1, 1, 2, 2)
            pooled = task.compare(task.towers(clips[:, 0])).mean((2, 3))
        else:
            assert maps.shape == (2, 1, 16 // task.backbone.info.temporal_stride, 2, 2)
            pooled = task.backbone(clips[:, 0]).mean((2, 3, 4))
        torch.testing.assert_close(maps.mean((2, 3, 4)), logits)
        torch.testing.assert_close(task.head(pooled), logits)  # the plain way: pool, then the linear layer
    assert maps.std() > 0


def test_the_towers_of_tcam_see_one_group_each_in_order():
    task = ArrowOfTime(Spy(), frames=6, head="tcam", groups=3)
    clips = torch.arange(6.0).view(1, 1, 6, 1, 1).expand(2, 3, 6, 8, 8)
    D = Spy.info.dim
    maps = task.towers(clips)
    assert task.backbone.seen[0].shape == (6, 3, 2, 8, 8)
    assert maps.shape == (2, 3 * D, 1, 1)
    assert maps[0, ::D, 0, 0].tolist() == [0.5, 2.5, 4.5]
    assert task.head.in_features == 3 * D


def test_groups_of_flow_share_the_frame_between_them():
    spy = Spy()
    backbone = Backbone(spy, model_info("r3d_18_tiny", input="flow"))
    task = ArrowOfTime(backbone, frames=4, size=32, head="tcam", input="flow").eval()
    pixels = torch.rand(1, 3, 5, 32, 32)
    task.towers(pixels)
    torch.testing.assert_close(torch.cat(list(spy.seen[0]), 1), flow_pictures(pixels)[0], atol=1e-4, rtol=1e-3)


def test_flow_is_computed_for_each_direction_from_the_frames_as_played():
    spy = Spy()
    task = ArrowOfTime(Backbone(spy, model_info("r3d_18_tiny", input="flow")), frames=4, size=32, input="flow")
    pixels = torch.rand(1, 3, 5, 32, 32)
    task(pixels[:, None], torch.tensor([[0.0, 1.0]]))
    forward, backward = spy.seen[0]
    assert forward.shape == (3, 4, 32, 32)
    for seen, played in ((forward, pixels), (backward, pixels.flip(2))):
        flow = optical_flow(played)[0]  # at 32 px a 32nd of the side is one
        middle = flow.flatten(2).sort(2).values[..., (32 * 32 - 1) // 2]
        own = flow - middle[..., None, None]
        torch.testing.assert_close(seen[:2], own.sign() * (own.abs() - 0.1).clamp(min=0), atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(seen[2], seen[:2].square().sum(0).sqrt())
    assert not torch.allclose(backward[:2], -forward[:2].flip(1), atol=1e-2)


def test_flow_reads_one_frame_more(world_index):
    video = world_index.videos("train")[0]
    for mode, frames in (("rgb", 8), ("flow", 9)):
        task = ArrowOfTime(Spy(), frames=8, stride=3, input=mode)
        clips = task.sample(video, np.random.default_rng(0))
        assert clips.indices.shape == (1, frames)
        assert np.diff(clips.indices[0]).tolist() == [3] * (frames - 1)
        assert clips.target.tolist() == [0, 1]


def test_camera_motion_of_our_own_goes_either_way():
    drawn = [ArrowOfTime(Spy()).augment.draw(np.random.default_rng(seed), 1, 16)["box"][0] for seed in range(300)]
    zooms = np.array([box[-1, 3] - box[0, 3] for box in drawn])
    zooms = zooms[zooms != 0]  # a box as high as the frame, at both ends
    assert len(zooms) > 250
    assert abs((zooms > 0).mean() - 0.5) < 3 * 0.5 / len(zooms) ** 0.5


@pytest.mark.parametrize("options", [{"input": "tvl1"}, {"head": "max"}, {"head": "tcam", "frames": 9}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError, match="groups then divides frames"):
        ArrowOfTime(Spy(), **options)


def test_the_motion_of_the_camera_is_taken_out_of_the_flow():
    still = torch.nn.functional.avg_pool2d(torch.rand(1, 3, 84, 84, generator=torch.Generator().manual_seed(0)), 5, 1)
    panned = torch.stack([still[:, :, 8 : 72 - 8, 8 + 2 * t : 72 - 8 + 2 * t] for t in range(5)], 2)  # 2 px a frame
    images = flow_pictures(panned)
    assert optical_flow(panned)[..., 8:-8, 8:-8].abs().mean() > 0.9  # -2 across, 0 down
    assert images[..., 8:-8, 8:-8].abs().mean() < 0.1


@pytest.mark.parametrize("options", [{"head": "tcam"}, {"input": "flow"}, {"head": "tcam", "input": "flow"}])
def test_every_parameter_learns(options):
    torch.manual_seed(0)
    task = ArrowOfTime(backbone_of(options), frames=16, size=32, **options)
    values = task(torch.rand(2, 1, 3, 16 + task.paired, 32, 32), torch.tensor([[0.0, 1.0]] * 2))
    values["loss"].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in task.parameters())
