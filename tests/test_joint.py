"""Two tasks on one backbone: each gets its own clips and its own target, and the losses are balanced as the paper says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ssvid.config import PretrainConfig
from ssvid.data.augment import apply
from ssvid.data.loader import ClipReader, collate
from ssvid.errors import ConfigError
from ssvid.training.build import build_task
from ssvid.training.sampler import PlanSampler
from ssvid.training.sampler import test_plans as held_out_plans


def joint(backbone: str = "r3d_18_tiny", **options):
    options = {"frames": 8, "size": 32} | options
    return build_task(PretrainConfig(task="joint", backbone=backbone, options=options, batch=2, steps=2))


def batch_of(task, videos, held_out=False):
    kept = [video for video in videos if task.why_unusable(video) is None]
    plans = (
        next(held_out_plans(task, kept, 2)) if held_out else PlanSampler(task, kept, PretrainConfig(batch=2)).plans(0)
    )
    batch = collate([ClipReader(task.augment.decode_size)[plan] for plan in plans])
    return apply(batch.clips, batch.params, batch.size), batch.target


@pytest.fixture(scope="module")
def videos(world_index):
    return world_index.videos("train")


def test_the_loss_is_that_of_both_tasks_balanced_by_uncertainty(videos):
    task = joint().eval()
    clips, target = batch_of(task, videos)
    assert clips.shape[1] == 5  # four paces, and the clip that runs either way
    with torch.no_grad():
        task.uncertainty.copy_(torch.tensor([0.5, -1.0]))
        values = task(clips, target)
        pace = task.tasks[0](clips[:, :4], torch.tensor([[0, 1, 2, 3]] * 2))
        arrow = task.tasks[1](clips[:, 4:], torch.tensor([[0, 1]] * 2))
    balanced = math.exp(-0.5) * pace["loss"] + 0.5 + math.e * arrow["loss"] - 1
    assert values["loss"].item() == pytest.approx(balanced.item(), abs=1e-5)
    assert values["pace_loss"].item() == pytest.approx(pace["loss"].item(), abs=1e-6)
    assert torch.equal(values["accuracy"], (pace["accuracy"] + arrow["accuracy"]) / 2)
    assert values["chance"].tolist() == [0.375, 0.375]


def test_targets_of_any_shape_and_type_come_apart_as_they_were_given(videos):
    task = joint(second="future_frame", frames=4)
    clips, target = batch_of(task, videos, held_out=True)
    (shown, paces), (others, answer) = task.parts(clips, target)
    assert paces.tolist() == [[0, 1, 2, 3]] * 2
    assert paces.dtype == torch.int64
    assert answer.shape == (2,)
    assert answer.dtype == torch.int64
    assert torch.equal(torch.cat([shown, others], 1), clips)


def test_the_backbone_is_there_once(tmp_path):
    task = joint()
    own = [name for name in task.state_dict() if "backbone" in name]
    assert own
    assert all(name.startswith("backbone.") for name in own)
    assert task.tasks[0].backbone is task.tasks[1].backbone is task.backbone


def test_a_share_is_told_to_both(videos):
    task = joint()
    task.first_share = False
    task(*batch_of(task, videos))
    assert not any(one.first_share for one in task.tasks)


SHORTER = """
import numpy as np
from ssvid.training.task import Augment, Backbone, Clips, PretextTask, Window, clip_vector

class Shorter(PretextTask):
    '''Half as many frames.'''

    def __init__(self, backbone: Backbone, *, frames: int = 8, size: int = 32) -> None:
        super().__init__(backbone, Augment(size=size), Window(frames // 2))

    def sample(self, video, rng, training=True):
        return Clips(self.window(video, rng, training)[None])

    def forward(self, clips, target):
        vectors = clip_vector(self.backbone(clips[:, 0]))
        return {"loss": vectors.square().mean(), "accuracy": vectors[:, 0] * 0}
"""


def test_what_does_not_go_together_is_refused_with_the_reason(videos, tmp_path):
    with pytest.raises(ConfigError, match="first and second are both pace"):
        joint(second="pace")
    with pytest.raises(ConfigError, match="Unknown task 'paces'"):
        joint(first="paces")
    with pytest.raises(ConfigError, match="colorization has no option 'frames'"):
        joint(second="colorization")
    with pytest.raises(ConfigError, match="SpeedNet needs a temporal stride of 1"):
        joint(second="speednet")
    (tmp_path / "shorter.py").write_text(SHORTER)
    uneven = joint(second=str(tmp_path / "shorter.py"))
    with pytest.raises(ConfigError, match="clips of 8 and of 4 frames cannot stand in one batch"):
        uneven.sample(videos[0], np.random.default_rng(0))
