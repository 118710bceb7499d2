"""The average of the weights: what it is, that it is what a run exports, and that it resumes with the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import ssvid
from ssvid.config import load_config, resume_config
from ssvid.errors import ConfigError
from ssvid.training.average import AveragedWeights
from ssvid.training.fit import pretrain
from ssvid.training.run import Run
from ssvid.training.validate import trained_task

SETTINGS = {"steps": 5, "batch": 4, "log_every": 1, "save_every": 2, "workers": 0, "frames": 6, "size": (24, 32)}


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def step(net: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    net(torch.randn(8, 4, generator=generator))
    with torch.no_grad():
        for weight in net.parameters():
            weight += torch.randn(weight.shape, generator=generator).to(weight.dtype)


def test_it_is_the_moving_average_that_torch_has():
    net = network()
    average, other = AveragedWeights(net, 0.7), AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.7))
    other.update_parameters(net)  # which takes the first weights as they are
    for number in range(4):
        step(net, number)
        average.update()
        other.update_parameters(net)
    expected = other.module.state_dict()
    state = average.state_dict()
    assert state.keys() == expected.keys()
    for name, value in state.items():
        torch.testing.assert_close(value, expected[name])
    assert torch.equal(state["1.running_mean"], net.state_dict()["1.running_mean"])
    last = net[0].weight.detach().clone()
    average.apply()
    assert torch.equal(net[0].weight, average.weights["0.weight"])
    assert not torch.equal(net[0].weight, last)


def test_small_changes_are_not_lost_in_half_precision():
    net = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    nn.init.constant_(net.weight, 1.0)
    average = AveragedWeights(net, 0.999)
    nn.init.constant_(net.weight, 2.0)
    for _ in range(100):
        average.update()
    assert average.state_dict()["weight"].item() == pytest.approx(2 - 0.999**100, abs=1e-4)


@pytest.fixture(scope="module")
def averaged(world_index, tmp_path_factory) -> Run:
    """A run with batch norm, in which the average and the last weights differ."""
    out = tmp_path_factory.mktemp("runs") / "averaged"
    return ssvid.pretrain("speednet", world_index.path, backbone="s3dg_tiny", out=str(out), ema=0.6, **SETTINGS)


def test_a_run_exports_the_average(averaged):
    state, exported = averaged.checkpoint(), load_file(averaged.path / "backbone.safetensors")
    assert state is not None
    differ = 0
    for name, value in exported.items():
        assert torch.equal(value, state["average"][f"backbone.{name}"])
        differ += not torch.equal(value, state["task"][f"backbone.{name}"])
        if "running" in name:
            assert torch.equal(value, state["task"][f"backbone.{name}"])
    assert differ > 0
    assert averaged.card["ema"] == 0.6
    assert averaged.config.ema == 0.6
    found = trained_task(averaged).state_dict()  # which audits and tests of the run ask
    assert all(torch.equal(found[name], value) for name, value in state["average"].items())


def test_it_is_the_recursion_over_the_weights_of_every_step(averaged, tmp_path):
    weights: list[torch.Tensor] = []
    config = replace(averaged.config, out=str(tmp_path / "run"), save_every=1)

    def look(line):
        if line.get("step", 0) > 1:  # a line comes before its step is saved
            state = Run(config.out).checkpoint()
            weights.append(state["task"]["head.weight"])
            averages.append(state["average"]["head.weight"])

    averages: list[torch.Tensor] = []
    run = pretrain(config, report=look)
    for before, after, now in zip(averages, averages[1:], weights[1:], strict=False):
        torch.testing.assert_close(after, 0.6 * before + 0.4 * now)
    state = run.checkpoint()
    torch.testing.assert_close(state["average"]["head.weight"], 0.6 * averages[-1] + 0.4 * state["task"]["head.weight"])


def test_it_resumes_bit_for_bit(averaged, tmp_path):
    def stop(line):
        if line.get("step") == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(replace(averaged.config, out=str(tmp_path / "run")), report=stop)
    again = pretrain(resume_config(tmp_path / "run"), resume=True)
    one, other = averaged.checkpoint(), again.checkpoint()
    for part in ("task", "average"):
        assert all(torch.equal(other[part][name], value) for name, value in one[part].items())
    exported = (load_file(Path(run.path) / "backbone.safetensors") for run in (averaged, again))
    first, second = exported
    assert all(torch.equal(second[name], value) for name, value in first.items())


@pytest.mark.parametrize("word", ["ema=1", "ema=-0.1", "ema=1.5"])
def test_what_is_no_decay_is_told(word):
    with pytest.raises(ConfigError, match=r"ema is the decay of an average, 0 \(none\) or up to below 1"):
        load_config(None, [word])
