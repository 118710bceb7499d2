"""The contract of every pretext task on every tiny backbone: a new file in pretext/ is tested by existing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ssvid.config import PretrainConfig, option_schema
from ssvid.data.augment import apply
from ssvid.data.loader import ClipReader, collate
from ssvid.errors import ConfigError
from ssvid.plugins import list_tasks, load_task
from ssvid.training.build import build_task
from ssvid.training.optimizer import make_optimizer
from ssvid.training.sampler import PlanSampler
from ssvid.training.task import PretextTask
from ssvid.training.videos import training_videos
from ssvid.zoo import list_models, model_info

SMALL = {"frames": 8, "size": 32, "stride": 1, "gap": 1, "patch": 16, "grid": 3, "width": 32, "blocks": 4, "block": 8}
TASKS = sorted(list_tasks())
TINY = list_models("*_tiny")


def small_options(name: str) -> dict:
    """The small values that this task's options allow."""
    schema = option_schema(load_task(name))
    options: dict = {key: value for key, value in SMALL.items() if key in schema}
    if "size" in options and isinstance(schema["size"].default, tuple):
        options["size"] = (options["size"],) * 2
    return options


def fits(task: str, backbone: str) -> bool:
    maker = load_task(task)
    wishes = {key: value for key, value in maker.backbone_options.items() if key in model_info(backbone).options}
    info = model_info(backbone, **wishes)
    if task == "time_cycle" and info.min_size > SMALL["size"] / 3:  # of which its patches are a third
        return False
    try:
        maker.check(info)
    except ConfigError:
        return False
    return True


PAIRS = [(task, backbone) for task in TASKS for backbone in TINY if fits(task, backbone)]
MISFITS = [(task, backbone) for task in TASKS for backbone in TINY if (task, backbone) not in PAIRS]
LEARNERS = (
    "resnet18_tiny",
    "r3d_18_tiny",
    "s3dg_tiny",
)  # one of each kind; that all give gradients, `test_contract` holds


def config_of(task: str, backbone: str, **settings) -> PretrainConfig:
    settings = {"batch": 4, "steps": 12, "lr": 3e-3} | settings
    return PretrainConfig(task=task, backbone=backbone, options=small_options(task), **settings)


def batch_of(task, videos, config, step=0):
    plans = PlanSampler(task, videos, config).plans(step)
    reader = ClipReader(task.augment.decode_size)
    return collate([reader[plan] for plan in plans])


def floats(task, batch):
    return apply(batch.clips, batch.params, batch.size)


@pytest.fixture(scope="module")
def videos(world_index):
    return world_index.videos("train")


@pytest.fixture(scope="module")
def first_batch(videos):
    """(batch, clips) of the first step, decoded once for all backbones with which a task reads the same."""
    kept_batches = {}

    def read(task, config):
        kept = [video for video in videos if task.why_unusable(video) is None]
        assert kept
        plans = PlanSampler(task, kept, config).plans(0)
        arrays = [(plan.indices, plan.target, *plan.params.values()) for plan in plans]
        key = (config.task, task.augment.decode_size, *(plan.video.path for plan in plans))
        key += tuple(array.tobytes() for row in arrays for array in row)
        if key not in kept_batches:
            batch = batch_of(task, kept, config)
            kept_batches[key] = batch, floats(task, batch)
        batch, clips = kept_batches[key]
        return batch, clips.clone()

    return read


@pytest.mark.parametrize(("name", "backbone"), PAIRS)
def test_contract(name, backbone, first_batch):
    """A task on a backbone trains one step, in which every parameter takes part."""
    config = config_of(name, backbone, batch=2)
    task = build_task(config)
    batch, clips = first_batch(task, config)
    task.prepare(clips)
    B, _, C, _, H, W = clips.shape
    assert (2, 3, batch.size, batch.size) == (B, C, H, W)
    assert batch.target.shape[0] == B
    values = task(clips, batch.target)
    assert values["loss"].ndim == 0
    assert values["accuracy"].shape == (B,)
    assert all(value.ndim == 0 or value.shape == (B,) for value in values.values())
    assert 0 < task.chance < 1 or 0 < values["chance"].mean() < 1
    values["loss"].backward()
    without = [
        key
        for key, parameter in task.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert without == []
    assert values["loss"].isfinite()
    before = {key: parameter.detach().clone() for key, parameter in task.named_parameters()}
    make_optimizer(task, config).step()
    assert [key for key, parameter in task.named_parameters() if torch.equal(parameter, before[key])] == []


@pytest.mark.parametrize("name", sorted({task for task, _ in MISFITS}))
def test_what_does_not_fit_is_refused_with_the_reason(name, first_batch):
    for backbone in [backbone for task, backbone in MISFITS if task == name]:
        said = (
            rf"features of {backbone} are the same in any order|which {backbone} cannot give|{backbone} needs at least"
            rf"|could not teach the motion stream of {backbone}|but {backbone} gives one cell a frame"
        )
        with pytest.raises(ConfigError, match=said):
            try_a_step(config_of(name, backbone, batch=2), first_batch)


def try_a_step(config: PretrainConfig, first_batch) -> None:
    task = build_task(config)
    batch, clips = first_batch(task, config)
    task(clips, batch.target)


@pytest.mark.parametrize("name", TASKS)
def test_a_picture_of_a_batch_is_drawn(name, videos):
    config = config_of(name, next(backbone for task, backbone in PAIRS if task == name))
    task = build_task(config).eval()
    kept = [video for video in videos if task.why_unusable(video) is None]
    clips, target = floats(task, batch := batch_of(task, kept, config)), batch.target
    task.prepare(clips)
    with torch.no_grad():
        rows = list(task.visualize(clips, target))
    assert rows
    for caption, frames in rows:
        assert caption.strip()
        assert frames.ndim == 4
        assert frames.shape[0] == 3
        assert 0 <= frames.min() <= frames.max() <= 1
    assert type(task).visualize is not PretextTask.visualize, "say what was answered"


@pytest.mark.parametrize(("name", "backbone"), [pair for pair in PAIRS if pair[1] in LEARNERS])
def test_loss_falls_on_one_batch(name, backbone, videos):
    config = config_of(name, backbone)
    task = build_task(config).train()
    kept = [video for video in videos if task.why_unusable(video) is None]
    batch = batch_of(task, kept, config)
    clips = floats(task, batch)
    task.prepare(clips)
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
def test_a_loss_is_a_mean_over_videos_or_the_task_says_so(name, videos):
    """What `accumulate` rests on."""
    config = config_of(name, next(backbone for task, backbone in PAIRS if task == name))
    task = build_task(config).eval()  # in which batch norm knows no batch, and nothing is drawn
    kept = [video for video in videos if task.why_unusable(video) is None]
    clips, target = floats(task, batch := batch_of(task, kept, config)), batch.target
    task.prepare(clips)
    with torch.no_grad():
        whole, *halves = (task(clips[part], target[part])["loss"].item() for part in (slice(4), slice(2), slice(2, 4)))
    same = whole == pytest.approx(sum(halves) / 2, abs=1e-4)
    assert same is not task.whole_batch


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


def test_every_video_that_is_not_trained_on_is_told_with_the_reason(videos):
    task = build_task(config_of("speednet", next(backbone for name, backbone in PAIRS if name == "speednet")))
    mixed = [replace(video, split=split) for video, split in zip(videos, ("train", "test", None, "mine"), strict=False)]
    kept, left_out = training_videos(task, _Shelf(mixed), "auto")
    assert sum(left_out.values()) + len(kept) == 4
    assert {reason: left_out[reason] for reason in ("held out (test)", "of the split 'mine'")} == {
        "held out (test)": 1,
        "of the split 'mine'": 1,
    }


class _Shelf:
    """An index of the videos at hand."""

    path = "shelf"

    def __init__(self, videos):
        self._videos = videos

    def videos(self, split=None):
        return self._videos


def test_a_backbone_that_cannot_see_time_is_refused():
    with pytest.raises(ConfigError, match="the features of resnet18_tiny are the same in any order"):
        build_task(config_of("speednet", "resnet18_tiny"))


def test_a_backbone_of_one_cell_is_refused_where_places_are_compared():
    with pytest.raises(ConfigError, match="vivit_tiny gives one cell a frame; use one that gives a map"):
        build_task(config_of("time_cycle", "vivit_tiny"))


def test_a_backbone_that_sees_motion_is_refused_where_frames_stand_alone():
    with pytest.raises(ConfigError, match="the motion stream of two_stream_tiny; use a backbone of one stream"):
        build_task(config_of("tcc", "two_stream_tiny"))
