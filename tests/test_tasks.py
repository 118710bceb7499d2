"""The contract of every pretext task on every tiny backbone: a new file in pretext/ is tested by existing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pretext.arrow_of_time import ArrowOfTime
from pretext.speednet import SpeedNet
from ssvid.config import PretrainConfig, option_schema
from ssvid.data.augment import apply
from ssvid.data.loader import ClipReader, collate
from ssvid.errors import ConfigError
from ssvid.plugins import list_tasks, load_task
from ssvid.training.fit import build_task, make_optimizer, training_videos
from ssvid.training.plans import PlanSampler
from ssvid.zoo import create_model, list_models, model_info

SMALL = {"frames": 8, "size": 32}
TASKS = sorted(list_tasks())
TINY = list_models("*_tiny")


def small_options(name: str) -> dict:
    """The small values that this task's options allow."""
    schema = option_schema(load_task(name))
    options = {key: value for key, value in SMALL.items() if key in schema}
    if name == "speednet":
        options["size"] = (32, 32)
    return options


def fits(task: str, backbone: str) -> bool:
    maker = load_task(task)
    wishes = {key: value for key, value in maker.backbone_options.items() if key in model_info(backbone).options}
    try:
        maker.check(model_info(backbone, **wishes))
    except ConfigError:
        return False
    return True


PAIRS = [(task, backbone) for task in TASKS for backbone in TINY if fits(task, backbone)]


def config_of(task: str, backbone: str, **settings) -> PretrainConfig:
    return PretrainConfig(
        task=task, backbone=backbone, batch=4, steps=12, lr=3e-3, options=small_options(task), **settings
    )


def batch_of(task, videos, config, step=0):
    plans = PlanSampler(task, videos, config).plans(step)
    reader = ClipReader(videos, task.augment.decode_size)
    return collate([reader[plan] for plan in plans])


def floats(task, batch):
    mean, std = torch.tensor(task.backbone.info.mean), torch.tensor(task.backbone.info.std)
    return apply(batch.clips, batch.params, batch.size, mean, std)


@pytest.fixture(scope="module")
def videos(world_index):
    return world_index.videos("train")


@pytest.mark.parametrize(("name", "backbone"), PAIRS)
def test_contract(name, backbone, videos):
    config = config_of(name, backbone)
    task = build_task(config)
    kept = [video for video in videos if task.why_unusable(video) is None]
    assert kept
    batch = batch_of(task, kept, config)
    clips = floats(task, batch)
    B, _, C, _, H, W = clips.shape
    assert (4, 3, batch.size, batch.size) == (B, C, H, W)
    assert batch.target.shape[0] == B
    values = task(clips, batch.target)
    assert values["loss"].ndim == 0
    assert values["accuracy"].shape == (B,)
    assert all(value.ndim == 0 or value.shape == (B,) for value in values.values())
    assert 0 < task.chance < 1
    values["loss"].backward()
    without = [
        key
        for key, parameter in task.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert without == []


@pytest.mark.parametrize(("name", "backbone"), PAIRS)
def test_loss_falls_on_one_batch(name, backbone, videos):
    config = config_of(name, backbone)
    task = build_task(config).train()
    kept = [video for video in videos if task.why_unusable(video) is None]
    batch = batch_of(task, kept, config)
    clips = floats(task, batch)
    optimizer = make_optimizer(task, config)
    losses = []
    for _ in range(config.steps):
        loss = task(clips, batch.target)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < losses[0] - 0.02


@pytest.mark.parametrize("name", TASKS)
def test_the_seed_decides_everything(name, videos):
    backbone = next(backbone for task, backbone in PAIRS if task == name)

    def first_batch(seed):
        config = config_of(name, backbone, seed=seed)
        task = build_task(config)
        kept = [video for video in videos if task.why_unusable(video) is None]
        return task, batch_of(task, kept, config, step=3)

    (one, batch), (same, again), (_, other) = first_batch(1), first_batch(1), first_batch(2)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), same.state_dict().values(), strict=True))
    assert torch.equal(batch.clips, again.clips)
    assert all(torch.equal(batch.params[key], again.params[key]) for key in batch.params)
    assert batch.paths != other.paths or not torch.equal(batch.clips, other.clips)


@pytest.mark.parametrize("name", TASKS)
def test_options_are_documented_and_typed(name):
    maker = load_task(name)
    text = maker.__doc__ or ""
    for option, parameter in option_schema(maker).items():
        assert parameter.default is not parameter.empty
        assert parameter.annotation is not parameter.empty
        assert option in text


@pytest.mark.parametrize("name", TASKS)
def test_windows_are_taken_inside_one_shot(name, videos):
    backbone = next(backbone for task, backbone in PAIRS if task == name)
    task = build_task(config_of(name, backbone))
    kept, _ = training_videos(task, _Shelf(videos), "all")
    for video in kept[:6]:
        for seed in range(5):
            indices = task.sample(video, np.random.default_rng(seed)).indices
            assert indices.min() >= 0
            assert indices.max() < video.info.frames
            assert all(len(set(row.tolist())) == len(row) for row in indices)  # nothing repeated, so nothing padded
            assert not any(indices.min() < cut <= indices.max() for cut in video.shots.cuts)


class _Shelf:
    """An index of the videos at hand."""

    path = "shelf"

    def __init__(self, videos):
        self._videos = videos

    def videos(self, split=None):
        return self._videos


def test_a_backbone_that_cannot_see_time_is_refused():
    with pytest.raises(ConfigError, match="sees every frame on its own"):
        build_task(config_of("speednet", "resnet18_tiny"))


def test_speednet_labels_are_balanced_and_the_sped_up_clip_reaches_further(videos):
    task = SpeedNet(create_model("s3dg_tiny", temporal_stride=False), frames=8, size=(32, 32))
    spans = []
    for seed in range(40):
        clips = task.sample(videos[0], np.random.default_rng(seed))
        assert clips.target.tolist() == [0, 1]
        assert clips.indices.shape == (2, 8)
        spans.append(np.ptp(clips.indices, axis=1))
    normal, sped_up = np.mean(spans, 0) / 7
    assert 1.0 <= normal < 1.25
    assert 1.7 < sped_up < 2.2
    still = task.sample(videos[0], np.random.default_rng(0), training=False).indices
    assert np.diff(still).tolist() == [[1] * 7, [2] * 7]


def test_arrow_of_time_sees_a_clip_and_its_very_reverse():
    seen = []

    class Spy(torch.nn.Module):
        info = model_info("r3d_18_tiny")

        def forward(self, x):
            seen.append(x)
            return x.mean((2, 3, 4), keepdim=True).expand(-1, -1, 1, 1, 1)[:, :1].repeat(1, self.info.dim, 1, 1, 1)

    task = ArrowOfTime(Spy())
    clips = torch.randn(2, 1, 3, 5, 8, 8)
    values = task(clips, torch.tensor([[0.0, 1.0]] * 2))
    both = seen[0].view(2, 2, 3, 5, 8, 8)
    assert torch.equal(both[:, 0], clips[:, 0])
    assert torch.equal(both[:, 1], clips[:, 0].flip(2))
    # a network that sees no order gives both the same logit, so exactly one of the two is right
    assert values["accuracy"].tolist() == [0.5, 0.5]


def test_speednet_by_hand():
    class Peak(torch.nn.Module):
        info = model_info("s3dg_tiny", temporal_stride=False)

        def forward(self, x):  # (B,3,T,H,W) -> (B,D,T,H,W), every channel the first of x
            return x[:, :1].repeat(1, self.info.dim, 1, 1, 1)

    task = SpeedNet(Peak(), frames=2)
    torch.nn.init.constant_(task.head.weight, 1 / task.head.in_features)
    torch.nn.init.zeros_(task.head.bias)
    clips = torch.zeros(1, 2, 3, 2, 2, 2)
    clips[0, 0, 0, :, 0, 0] = -2.0
    clips[0, 0, 0, :, 0, 1] = -1.0  # the largest of frame 0 and 1 is 0: two cells stay there
    clips[0, 1, 0, 0, 1, 1] = 4.0  # max over space 4 and 0, mean over time 2
    values = task(clips, torch.tensor([[0.0, 1.0]]))
    expected = (np.log(1 + np.exp(0.0)) + np.log(1 + np.exp(-2.0))) / 2
    assert values["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert values["accuracy"].tolist() == [1.0]  # 0 is not above 0: "normal"; 2 is: "sped up"
    assert values["pair_accuracy"].tolist() == [1.0]
