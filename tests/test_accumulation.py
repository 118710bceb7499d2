"""A batch that is taken in shares is one batch: the same videos, the same gradient, the same draws as of as many processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import ssvid
from ssvid.config import load_config, resume_config
from ssvid.data.index import Index
from ssvid.errors import ConfigError
from ssvid.training import build, launch
from ssvid.training.fit import pretrain
from ssvid.training.run import Run
from ssvid.training.sampler import PlanSampler

TOY = str(Path(__file__).parent / "toy.py") + ":toy"
SETTINGS = {"steps": 4, "batch": 4, "log_every": 1, "save_every": 1, "frames": 6, "size": (24, 32), "workers": 0}


def trained(index: Index, out: Path, **settings) -> Run:
    return ssvid.pretrain("speednet", index.path, backbone=TOY, out=str(out), **{**SETTINGS, **settings})


@pytest.fixture(scope="module")
def whole(world_index, tmp_path_factory) -> Run:
    return trained(world_index, tmp_path_factory.mktemp("runs") / "whole")


@pytest.mark.parametrize("accumulate", [2, 4])
def test_shares_give_the_weights_of_the_whole_batch(accumulate, whole, world_index, tmp_path):
    run = trained(world_index, tmp_path / "run", accumulate=accumulate)
    for line, other in zip(run.metrics(), whole.metrics(), strict=True):
        assert line["loss"] == pytest.approx(other["loss"], abs=2e-5)
        assert line["accuracy"] == pytest.approx(other["accuracy"], abs=1e-5)
    expected = load_file(whole.path / "backbone.safetensors")
    for name, weight in load_file(run.path / "backbone.safetensors").items():
        torch.testing.assert_close(weight, expected[name], atol=1e-5, rtol=1e-4)
    assert run.card["accumulate"] == accumulate
    assert "accumulate" not in whole.card


def test_it_resumes_between_steps_bit_for_bit(world_index, tmp_path):
    run = trained(world_index, tmp_path / "run", accumulate=2)
    expected = load_file(run.path / "backbone.safetensors")

    def stop(line):
        if line.get("step") == 3:
            raise KeyboardInterrupt

    config = replace(run.config, out=str(tmp_path / "stopped"))
    with pytest.raises(KeyboardInterrupt):
        pretrain(config, report=stop)
    again = pretrain(resume_config(tmp_path / "stopped"), resume=True)
    found = load_file(again.path / "backbone.safetensors")
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())
    assert [line["loss"] for line in again.metrics()] == [line["loss"] for line in run.metrics()]


def test_one_process_with_shares_reads_what_processes_do(world_index):
    config = load_config(
        None, ["task=speednet", "backbone=s3dg_tiny", "batch=8", "accumulate=2", "steps=3", "frames=6"]
    )
    task, videos = build.build_task(config), world_index.videos()
    alone = list(PlanSampler(task, videos, replace(config, accumulate=4)))
    ranks = [list(PlanSampler(task, videos, config, rank=rank, world=2)) for rank in range(2)]
    together = [ranks[rank][2 * step + share] for step in range(3) for rank in range(2) for share in range(2)]
    positions = [[(plan.position, plan.offset) for plan in plans] for plans in alone]
    assert positions == [[(plan.position, plan.offset) for plan in plans] for plans in together]
    assert len(PlanSampler(task, videos, config, start=1)) == 4
    whole = list(PlanSampler(task, videos, replace(config, accumulate=1)))
    assert [plan.offset for plans in alone[:4] for plan in plans] == [plan.offset for plan in whole[0]]


def test_a_task_counts_steps_and_not_shares(world_index, tmp_path):
    options = {"size": 96, "dim": 8, "context": 2}
    run = ssvid.pretrain(
        "time_cycle",
        world_index.path,
        backbone="resnet18_tiny",
        out=str(tmp_path / "run"),
        steps=2,
        batch=2,
        accumulate=2,
        workers=0,
        **options,
    )
    state = run.checkpoint()
    assert state is not None
    assert state["task"]["steps"] == 2


def test_what_cannot_be_taken_in_shares_is_told():
    with pytest.raises(ConfigError, match=r"dpc compares all videos of a batch .*; use accumulate=1"):
        checked("dpc", batch=8)
    with pytest.raises(ConfigError, match=r"batch 6 is .* and their shares \(accumulate=4\); make it a multiple of 4"):
        load_config(None, ["batch=6", "accumulate=4"])
    with pytest.raises(ConfigError, match=r"in twos, .* shares \(accumulate=4\); make it a multiple of 8"):
        checked("tcc", batch=12)
    with pytest.raises(ConfigError, match="accumulate must be at least 1"):
        load_config(None, ["accumulate=0"])
    checked("tcc", batch=8)


def checked(task: str, batch: int) -> None:
    config = load_config(None, [f"task={task}", "backbone=r3d_18_tiny", f"batch={batch}", "accumulate=4"])
    launch.check_batch(build.build_task(config), config, 1)
