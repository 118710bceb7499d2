"""Weights shared out over processes: the same training, and a checkpoint and an export like any other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import ssvid
from ssvid.config import load_config
from ssvid.errors import ConfigError
from ssvid.training.launch import make_fabric
from ssvid.training.run import Run
from ssvid.training.sharding import blocks

# the backbone of toy.py, wide enough to be shared out, which sends its process a signal in the second step where $STOP is set
WIDE = (
    (
        (Path(__file__).parent / "toy.py")
        .read_text()
        .replace("nn.Conv3d(8, 8, 3,", "nn.Conv3d(8, 512, 3,")
        .replace("nn.Sequential(", "nn.Sequential(\n        Stop(),")
    )
    + """

class Stop(nn.Module):
    shares = 0

    def forward(self, clips):
        import os, signal

        self.shares += self.training
        if self.shares == 3 and "STOP" in os.environ:
            os.kill(os.getpid(), signal.SIGTERM)
        return clips
"""
)
SETTINGS = {"steps": 3, "batch": 4, "log_every": 1, "save_every": 3, "frames": 6, "size": (24, 32), "workers": 0}


def test_large_layers_of_lists_are_blocks_and_what_is_in_them_is_not_taken_twice():
    block = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10))
    net = nn.Sequential(nn.Linear(2, 2), block, nn.ModuleList([nn.Linear(30, 30)]))
    assert blocks(net, least=200) == [net[2][0], block]
    assert blocks(net, least=100) == [net[2][0], block[1], block[0]]
    assert blocks(net, least=10_000) == []


@pytest.mark.ddp
@pytest.mark.slow
def test_two_processes_share_the_weights_out_and_go_on_where_a_signal_stopped_them(world_index, tmp_path):
    (tmp_path / "wide.py").write_text(WIDE)
    backbone = f"{tmp_path / 'wide.py'}:toy"
    settings = {**SETTINGS, "ema": 0.5, "accumulate": 2}
    whole = ssvid.pretrain("speednet", world_index.path, backbone=backbone, out=str(tmp_path / "whole"), **settings)
    pairs = [f"{key}={list(value) if isinstance(value, tuple) else value}" for key, value in settings.items()]
    out, words = tmp_path / "run", [*pairs, "--data", str(world_index.path), "--backbone", backbone]
    start = [sys.executable, "-m", "ssvid", "pretrain"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}

    def call(*more: str, wanted: int = 0, **variables: str) -> None:
        done = subprocess.run([*start, *more], capture_output=True, text=True, timeout=120, env=environment | variables)
        assert done.returncode == wanted, done.stderr

    call("speednet", *words, "-o", str(out), "strategy=fsdp", "--devices", "2", wanted=75, STOP="1")
    assert [line["step"] for line in Run(out).metrics()] == [1, 2]
    assert not (out / "backbone.safetensors").exists()
    call("--resume", str(out))
    assert [line["step"] for line in Run(out).metrics()] == [1, 2, 3]
    expected, found = (load_file(run / "backbone.safetensors") for run in (whole.path, out))
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, atol=1e-4, rtol=1e-3)
    one, other = whole.checkpoint(), Run(out).checkpoint()
    for part in ("task", "average"):
        assert {name: value.shape for name, value in one[part].items()} == {
            name: value.shape for name, value in other[part].items()
        }


def test_what_cannot_be_shared_out_is_told():
    with pytest.raises(ConfigError, match="strategy=fsdp shares the weights out over processes; give devices=2"):
        make_fabric(load_config(None, ["strategy=fsdp"]))
    with pytest.raises(ConfigError, match="channels_last=false"):
        load_config(None, ["strategy=fsdp", "channels_last=true"])
    with pytest.raises(ConfigError, match="strategy 'zero' is not one of ddp, fsdp"):
        load_config(None, ["strategy=zero"])
