"""A run on a cluster: stopped it says so with a code of its own, its job goes back in the queue, and started again it goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import ssvid
from ssvid.config import load_config
from ssvid.errors import ConfigError, Interrupted, Preempted
from ssvid.training.run import Run

TOY = str(Path(__file__).parent / "toy.py") + ":toy"
ROOT = Path(__file__).parents[1]
SETTINGS = {"steps": 5, "batch": 4, "log_every": 1, "save_every": 1, "frames": 6, "size": (24, 32), "workers": 0}


def trained(index, out, **settings) -> Run:
    return ssvid.pretrain("speednet", index.path, backbone=TOY, out=str(out), **{**SETTINGS, **settings})


@pytest.fixture(scope="module")
def whole(world_index, tmp_path_factory) -> Run:
    return trained(world_index, tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture
def scontrol(tmp_path, monkeypatch) -> Path:
    """A SLURM job, with a scontrol that notes what it was asked; the note."""
    note, program = tmp_path / "asked", tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {note}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    return note


def stopped(index, out, monkeypatch, name: str, **settings) -> Interrupted:
    """What ends a run that gets a signal in its third step."""
    window = ssvid.training.task.PretextTask.window
    calls = []

    def kill(task, *arguments):
        calls.append(1)
        if len(calls) == 9:
            os.kill(os.getpid(), getattr(signal, name))
        return window(task, *arguments)

    monkeypatch.setattr(ssvid.training.task.PretextTask, "window", kill)
    with pytest.raises(Interrupted) as ended:
        trained(index, out, **settings)
    monkeypatch.setattr(ssvid.training.task.PretextTask, "window", window)
    return ended.value


@pytest.mark.parametrize(
    ("name", "requeue", "code", "asked"),
    [
        ("SIGUSR1", "auto", 75, True),
        ("SIGTERM", "auto", 75, False),
        ("SIGTERM", "always", 75, True),
        ("SIGUSR1", "never", 75, False),
        ("SIGINT", "always", 130, False),
    ],
)
def test_a_job_goes_back_in_the_queue(name, requeue, code, asked, scontrol, world_index, tmp_path, monkeypatch):
    ended = stopped(world_index, tmp_path / "run", monkeypatch, name, requeue=requeue)
    assert ended.exit_code == code
    assert scontrol.exists() is asked
    assert ("; job 4711 is back in the queue" in str(ended)) is asked
    if asked:
        assert scontrol.read_text() == "requeue 4711\n"
    state = Run(tmp_path / "run").checkpoint()
    assert state is not None
    assert state["step"] == 3


def test_a_queue_that_refuses_is_told(scontrol, world_index, tmp_path, monkeypatch):
    (tmp_path / "bin" / "scontrol").write_text("#!/bin/sh\necho Requeue disabled >&2; exit 1\n")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    ended = stopped(world_index, tmp_path / "run", monkeypatch, "SIGUSR1")
    assert "job 12_3 could not be put back in the queue (Requeue disabled): submit it with sbatch --requeue" in str(
        ended
    )


def test_the_same_command_goes_on_when_the_job_is_started_again(whole, world_index, tmp_path, monkeypatch):
    ended = stopped(world_index, tmp_path / "run", monkeypatch, "SIGTERM")
    assert isinstance(ended, Preempted)
    with pytest.raises(ConfigError, match="holds a run already"):
        trained(world_index, tmp_path / "run")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    again = trained(world_index, tmp_path / "run")
    assert same(again, whole)
    with pytest.raises(ConfigError, match=r"was started with lr="):  # another run is none to go on with
        trained(world_index, tmp_path / "run", lr=0.5)


def same(run: Run, other: Run) -> bool:
    one, two = (load_file(found.path / "backbone.safetensors") for found in (run, other))
    return all(torch.equal(one[name], weight) for name, weight in two.items())


def test_an_unknown_word_is_told():
    with pytest.raises(ConfigError, match="requeue='maybe' is not one of auto, always, never"):
        load_config(None, ["requeue=maybe"])


def command(index, out, *launcher: str, task: str = "speednet", **changes) -> list[str]:
    pairs = [
        f"{key}={list(value) if isinstance(value, tuple) else value}" for key, value in (SETTINGS | changes).items()
    ]
    words = [sys.executable, "-m", "torch.distributed.run", *launcher, "-m", "ssvid", "pretrain", task, *pairs]
    return [*words, "--data", str(index.path), "--backbone", TOY, "-o", str(out)]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


DIES = """
import os, signal
from pathlib import Path
from pretext.speednet import SpeedNet as Base

class Dies(Base):
    '''SpeedNet, whose first process is killed in its fourth step. frames, size: of SpeedNet.'''
    passes = 0

    def __init__(self, backbone, *, frames: int = 6, size: tuple[int, int] = (24, 32)):
        super().__init__(backbone, frames=frames, size=size)

    def forward(self, clips, target):
        self.passes += self.training
        if self.passes == 4 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(clips, target)
"""


@pytest.mark.ddp
@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_again_and_goes_on(whole, world_index, tmp_path):
    (tmp_path / "dies.py").write_text(DIES)
    out = tmp_path / "run"
    launcher = ("--standalone", "--nproc_per_node", "1", "--max-restarts", "1")
    words = command(world_index, out, *launcher, task=str(tmp_path / "dies.py"))
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=environment())
    assert done.returncode == 0, done.stderr
    assert same(Run(out), whole)
    assert [line["step"] for line in Run(out).metrics()] == [1, 2, 3, 4, 5]


@pytest.mark.ddp
@pytest.mark.slow
def test_two_machines_follow_the_curve_of_one(whole, world_index, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    nodes = []
    for rank in range(2):
        launcher = ("--nnodes", "2", "--node-rank", str(rank), "--nproc_per_node", "1")
        launcher += ("--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}", "--rdzv-id", "test")
        words = command(world_index, tmp_path / "run", *launcher, accumulate=2)
        nodes.append(subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment()))
    said = [node.communicate(timeout=120)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    losses = ([line["loss"] for line in run.metrics()] for run in (Run(tmp_path / "run"), whole))
    assert next(losses) == pytest.approx(next(losses), abs=2e-5)
    expected = load_file(whole.path / "backbone.safetensors")
    for name, weight in load_file(tmp_path / "run" / "backbone.safetensors").items():
        torch.testing.assert_close(weight, expected[name], atol=1e-4, rtol=1e-3)
