"""A run depends on its seed and step alone: not on workers, processes, kills or pauses."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import ssvid
from ssvid.config import PretrainConfig, load_config
from ssvid.errors import ConfigError, DataError, SsvidError
from ssvid.training import build, launch
from ssvid.training import fit as loop
from ssvid.training.fit import make_card
from ssvid.training.models import load
from ssvid.training.optimizer import make_optimizer
from ssvid.training.run import Run
from ssvid.training.validate import trained_task
from ssvid.zoo import model_info
from ssvid.zoo.weights import load_weights

TOY = str(Path(__file__).parent / "toy.py") + ":toy"
SETTINGS = {"steps": 24, "batch": 4, "log_every": 1, "save_every": 4, "frames": 6, "size": (24, 32), "workers": 0}


def command(index, out, *words, launcher=(sys.executable, "-m", "ssvid"), **changes) -> list[str]:
    settings = {**SETTINGS, **changes}
    pairs = [f"{key}={list(value) if isinstance(value, tuple) else value}" for key, value in settings.items()]
    return [
        *launcher,
        "pretrain",
        "speednet",
        *pairs,
        "--data",
        str(index.path),
        "--backbone",
        TOY,
        "-o",
        str(out),
        *words,
    ]


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
    }  # more would wait for each other in busy loops when the tests share two cores


def finished(arguments: list[str], code: int = 0) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, env=environment())
    assert done.returncode == code, done.stderr
    return done.stderr


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in Run(run).metrics()]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "backbone.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def whole(world_index, tmp_path_factory) -> Path:
    """An uninterrupted run, in a process of its own as the others are."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    finished(command(world_index, out))
    return out


def test_run_folder_is_complete(whole, world_index):
    names = {path.name for path in whole.iterdir()}
    assert {
        "config.yaml",
        "command.txt",
        "env.json",
        "metrics.jsonl",
        "backbone.safetensors",
        "card.json",
        "checkpoints",
        "pictures",
    } == names
    assert [line["step"] for line in Run(whole).metrics()] == list(range(1, 25))
    assert (whole / "command.txt").read_text().startswith("ssvid pretrain ")  # no path of this machine
    card = json.loads((whole / "card.json").read_text())
    assert card["task"] == "speednet"
    assert card["steps"] == 24
    assert Run(whole).config.options["frames"] == 6
    assert load_config(whole / "config.yaml").batch == 4
    assert "torch" in json.loads((whole / "env.json").read_text())["packages"]
    state = torch.load(whole / "checkpoints" / "last.pt", weights_only=True)
    assert state["step"] == 24


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_killed_and_resumed_with_other_workers_is_bit_for_bit_the_same(whole, world_index, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(world_index, out), env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while not (out / "checkpoints" / "last.pt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (out / "card.json").exists(), "the run ended before it was killed; give it more steps"
    finished([sys.executable, "-m", "ssvid", "pretrain", "--resume", str(out), "workers=2"])
    assert same(weights(whole), weights(out))
    assert losses(whole) == losses(out)


def interrupted(words: list[str], name: str, at: int) -> str:
    """What a run says after the signal `name`, which it gets when it has logged step `at`."""
    process = subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while not process.stderr.readline().startswith(f"step {at}/"):
        assert process.poll() is None
    process.send_signal(getattr(signal, name))
    try:
        _, rest = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == (130 if name == "SIGINT" else 75), rest
    return rest


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_saves_and_the_run_goes_on(name, world_index, tmp_path):
    out = tmp_path / "run"
    # more steps than there is time for: a run that ends by itself before the signal comes would prove nothing
    rest = interrupted(command(world_index, out, steps=100_000, save_every=100_000), name, at=2)
    assert "--resume" in rest
    step = torch.load(out / "checkpoints" / "last.pt", weights_only=True)["step"]
    assert step >= 2
    with (out / "metrics.jsonl").open("a") as file:  # as a kill after the checkpoint would leave it
        file.write(json.dumps({"step": step + 1, "loss": 9.0}) + '\n{"step": 3')
    interrupted([sys.executable, "-m", "ssvid", "pretrain", "--resume", str(out)], name, at=step + 5)
    last = torch.load(out / "checkpoints" / "last.pt", weights_only=True)["step"]
    assert last >= step + 5
    assert [line["step"] for line in Run(out).metrics()] == list(range(1, last + 1))  # no step lost, none twice
    assert Run(out).metrics()[step]["loss"] < 9.0


@pytest.mark.ddp
@pytest.mark.parametrize("how", ["devices", "torchrun"])
def test_two_processes_follow_the_curve_of_one(how, whole, world_index, tmp_path):
    out = tmp_path / how
    if how == "devices":
        finished(command(world_index, out, "--devices", "2"))
    else:
        launcher = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            "2",
            "-m",
            "ssvid",
        ]
        finished(command(world_index, out, launcher=launcher))
    assert losses(out) == pytest.approx(losses(whole), abs=2e-5)
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(out)[key], value, atol=1e-4, rtol=1e-3)


def test_loading_gives_the_trained_weights(whole):
    backbone = ssvid.load(whole)
    assert not backbone.training
    assert same(dict(backbone.state_dict()), weights(whole))
    with pytest.raises(DataError, match="not a run folder"):
        load(whole.parent)
    with pytest.raises(DataError, match="does not hold the weights"):
        load_weights(ssvid.create_model("s3dg_tiny"), whole / "checkpoints" / "last.pt")
    (whole.parent / "bad.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(DataError, match="cannot be read"):
        load_weights(backbone, whole.parent / "bad.safetensors")
    with pytest.raises(DataError, match="does not hold the weights"):
        load_weights(ssvid.create_model("s3dg_tiny"), whole / "backbone.safetensors")


def test_init_starts_from_the_weights_of_another_run(whole, world_index):
    config = load_config(whole / "config.yaml", [f"init={whole}", "seed=9"])
    task = build.build_task(config)
    assert same(dict(task.backbone.state_dict()), weights(whole))


def test_a_run_is_not_replaced_unasked(whole, world_index):
    before = weights(whole)
    config = Run(whole).config
    with pytest.raises(ConfigError, match="--overwrite"):
        loop.pretrain(config)
    assert same(before, weights(whole))


def test_only_what_keeps_the_result_may_change_on_resume(whole):
    message = finished([sys.executable, "-m", "ssvid", "pretrain", "--resume", str(whole), "lr=1"], code=2)
    assert "lr=1" in message


def test_a_run_of_a_task_that_was_changed_since_is_told(whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    state = torch.load(out / "checkpoints" / "last.pt", weights_only=True)
    state["task"]["head.weight"] = state["task"].pop("head.weight")[:, :-1]
    torch.save(state, out / "checkpoints" / "last.pt")
    with pytest.raises(DataError, match=rf"{out} holds weights of another SpeedNet .*head\.weight.*--overwrite"):
        trained_task(Run(out))
    with pytest.raises(DataError, match=r"another SpeedNet .*--overwrite"):
        loop.pretrain(replace(Run(out).config, out=str(out)), resume=True)
    assert trained_task(Run(whole)).head.weight.ndim == 2


@pytest.mark.parametrize(
    ("task", "batch", "processes", "multiple"),
    [
        ("speednet", 3, 1, 0),
        ("speednet", 3, 2, 2),
        ("tcc", 6, 1, 0),
        ("tcc", 3, 1, 2),
        ("tcc", 6, 2, 4),
        ("tcc", 8, 2, 0),
    ],
)
def test_a_batch_must_be_shared_out_and_pairs_stay_whole(task, batch, processes, multiple):
    config = load_config(None, [f"task={task}", "backbone=r3d_18_tiny", f"batch={batch}"])
    if not multiple:
        launch.check_batch(build.build_task(config), config, processes)
        return
    with pytest.raises(ConfigError, match=rf"batch {batch} .*\({processes}\); make it a multiple of {multiple}$"):
        launch.check_batch(build.build_task(config), config, processes)


def test_an_odd_batch_of_pairs_is_told_before_anything_is_made(world_index, tmp_path):
    with pytest.raises(ConfigError, match="tcc compares videos in twos"):
        ssvid.pretrain("tcc", world_index.path, backbone="resnet18_tiny", out=str(tmp_path / "run"), batch=3, steps=1)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_with_step_and_files(world_index, tmp_path, monkeypatch):
    def explode(task, config):
        task.head.weight.data.fill_(float("inf"))
        return task

    monkeypatch.setattr(loop, "compiled", explode)
    with pytest.raises(SsvidError, match=r"step 1;.*\.mp4"):
        ssvid.pretrain("speednet", world_index.path, backbone=TOY, out=str(tmp_path / "run"), **SETTINGS)


def test_learning_rate_rises_then_falls():
    config = load_config(None, ["steps=100", "warmup=0.1", "lr=0.5"])
    rates = [loop.learning_rate(step, config) for step in range(1, 101)]
    assert rates[0] > 0
    assert rates[9] == pytest.approx(0.5)
    assert all(a < b for a, b in itertools.pairwise(rates[:10]))
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] < 0.01


def test_norms_and_biases_are_not_decayed(world_index):
    config = load_config(None, ["backbone=r3d_18_tiny", "task=arrow_of_time"])
    task = build.build_task(config)
    decayed, free = make_optimizer(task, config).param_groups
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert all(parameter.ndim == 1 for parameter in free["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(list(task.parameters()))


def test_loggers_are_named_and_missing_ones_told(tmp_path, monkeypatch):
    config = load_config(None, ["log=[crystal_ball]", f"out={tmp_path}"])
    with pytest.raises(ConfigError, match="not one of tensorboard, wandb"):
        launch.make_loggers(config)

    def missing(*args, **kwargs):
        raise ModuleNotFoundError("tensorboard")

    monkeypatch.setattr(launch, "TensorBoardLogger", missing)
    with pytest.raises(ConfigError, match=r"ssvid\[track\]"):
        launch.make_loggers(load_config(None, ["log=[tensorboard]", f"out={tmp_path}"]))


def test_the_card_says_how_to_show_the_backbone_a_video_and_all_options(world_index):
    config = PretrainConfig(task="cubic_puzzle", data=["d"], backbone="s3dg_tiny", options={"size": 64})
    card = make_card(build.build_task(config), config, world_index.videos()[:2])
    assert card["options"]["size"] == 64
    assert "frames" in card["options"]  # a default
    assert card["view"]["size"] >= 64  # the whole clip's, not that of a cuboid
    assert card["view"]["frames"] >= model_info("s3dg_tiny").min_frames
    speed = PretrainConfig(task="speednet", data=["d"], backbone="s3dg_tiny", options={"frames": 12, "size": [32, 48]})
    view = make_card(build.build_task(speed), speed, [])["view"]
    assert (view["frames"], view["size"], view["stride"]) == (12, 48, 1)
