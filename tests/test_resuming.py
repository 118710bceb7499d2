"""A run is one training: on resume its settings and videos are its own, one process writes it, and it may be moved."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import ssvid
from ssvid.config import resume_config
from ssvid.data.index import Index
from ssvid.data.scanning import scan_videos
from ssvid.errors import ConfigError, DataError, SsvidError
from ssvid.evaluation.tables.entries import model_rows
from ssvid.training.fit import pretrain
from ssvid.training.models import load
from ssvid.training.resuming import resumed_config
from ssvid.training.run import Run
from ssvid.training.run_lock import locked
from ssvid.training.validate import trained_task
from ssvid.video.writer import write_video
from tests.footage import panning

TOY = Path(__file__).parent / "toy.py"
SETTINGS = {"steps": 2, "batch": 2, "log_every": 1, "save_every": 1, "frames": 6, "size": (24, 32), "workers": 0}


def film(path: Path, frames: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, panning(ord(path.stem), frames, 32, 48))


def project(folder: Path, seed: int = 0) -> Path:
    """A folder with videos, a backbone in a file and a run of two steps, all named from within it; the run."""
    for name in "abc":
        film(folder / "videos" / "run" / f"{name}.mp4")
    shutil.copy(TOY, folder / "net.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        ssvid.pretrain("speednet", "videos", backbone="net.py:toy", out="runs/one", seed=seed, **SETTINGS)
    return folder / "runs" / "one"


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    return project(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def run(kept, tmp_path) -> Path:
    """A project of its own, to be changed by a test."""
    shutil.copytree(kept.parents[1], tmp_path / "own")
    run = tmp_path / "own" / "runs" / "one"
    (run / "config.yaml").write_text(
        (run / "config.yaml").read_text().replace(str(kept.parents[1]), str(tmp_path / "own"))
    )
    return run


def resume(run: Path, *words: str, **changes):
    return pretrain(replace(resume_config(run, words), **changes), resume=True)


def test_files_that_a_run_names_are_found_from_anywhere(kept, tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text("raise RuntimeError('another file of that name')")
    monkeypatch.chdir(tmp_path)
    assert Run(kept).config.backbone == f"{kept.parents[1]}/net.py:toy"
    assert Run(kept).config.data == [f"{kept.parents[1]}/videos"]
    assert load(kept).info.dim == 8
    assert trained_task(Run(kept)) is not None


def test_files_that_moved_along_with_a_run_are_found(run, tmp_path):
    (tmp_path / "own").rename(tmp_path / "moved")
    moved = tmp_path / "moved" / "runs" / "one"
    assert Run(moved).config.backbone == f"{tmp_path}/moved/net.py:toy"
    assert Run(moved).config.data == [f"{tmp_path}/moved/videos"]
    assert load(moved).info.dim == 8
    assert resume(moved).card["steps"] == 2


def test_a_run_of_an_older_version_finds_its_files_beside_it(run, tmp_path, monkeypatch):
    text = re.sub(r"/\S*/(net\.py:toy|videos|runs/one)$", r"\1", (run / "config.yaml").read_text(), flags=re.MULTILINE)
    (run / "config.yaml").write_text(text)
    assert "backbone: net.py:toy" in text
    assert "out: runs/one" in text
    (tmp_path / "net.py").write_text("raise RuntimeError('another file of that name')")
    monkeypatch.chdir(tmp_path)
    assert Run(run).config.backbone == f"{run.parents[1]}/net.py:toy"


def test_settings_are_those_of_the_file_now_and_a_readers_own(run):
    run = Run(run)
    changed = run.config
    changed.steps, changed.options["size"] = 77, 8
    assert run.config.steps != 77
    assert run.config.options != changed.options
    file = run.path / "config.yaml"
    file.write_text(re.sub(r"^lr: .*$", "lr: 0.125", file.read_text(), flags=re.MULTILINE))
    assert run.config.lr == 0.125


def test_data_that_changed_end_a_resumed_run(run):
    film(run.parents[1] / "videos" / "run" / "d.mp4")
    with pytest.raises(DataError, match=r"have changed since it began: 3 videos then, 4 now; .*--data.*--overwrite"):
        resume(run)
    (run.parents[1] / "videos" / "run" / "d.mp4").unlink()
    assert resume(run).card["data"]["videos"] == 3
    film(run.parents[1] / "videos" / "run" / "c.mp4", 22)
    with pytest.raises(DataError, match="3 videos, but not the same ones"):
        resume(run)


def test_data_that_were_moved_are_named_anew(run, tmp_path):
    (run.parents[1] / "videos").rename(tmp_path / "there")
    index = Index(tmp_path / "there.sqlite", create=True)
    scan_videos([tmp_path / "there"], index, engine="local:1")
    config = resume_config(run, data=[str(index.path)])
    assert pretrain(config, resume=True).card["data"]["videos"] == 3


@pytest.mark.parametrize(
    "change", [{"steps": 3}, {"seed": 1}, {"lr": 0.5}, {"frames": 8}, {"backbone": "resnet18_tiny"}]
)
def test_the_call_from_python_checks_what_the_command_checks(kept, change):
    before = (kept / "card.json").read_bytes()
    settings = {"backbone": f"{kept.parents[1]}/net.py:toy", **SETTINGS, **change}
    name = "options" if "frames" in change else next(iter(change))
    with pytest.raises(ConfigError, match=rf"was started with {name}=.*a resumed run keeps its settings"):
        ssvid.pretrain("speednet", f"{kept.parents[1]}/videos", out=str(kept), resume=True, **settings)
    assert (kept / "card.json").read_bytes() == before


def test_what_does_not_change_the_result_may_change(kept):
    assert resumed_config(resume_config(kept, ["workers=3"])).workers == 3


def test_two_processes_do_not_train_in_one_folder(run, tmp_path):
    code = "import sys; from pathlib import Path; from ssvid.training.run_lock import locked\n"
    code += "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    root = {**os.environ, "PYTHONPATH": str(TOY.parents[1])}
    command = [sys.executable, "-c", code, str(run)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=root) as other:
        assert other.stdout.readline() == "held\n"
        before = (run / "metrics.jsonl").read_bytes()
        with pytest.raises(ConfigError, match="another process is training in"):
            resume(run)
        with pytest.raises(ConfigError, match="another process is training in"):
            pretrain(replace(Run(run).config, out=str(run)), overwrite=True)
        assert (run / "metrics.jsonl").read_bytes() == before
        other.kill()  # a lock does not outlive its process
    with locked(run):  # raised if it did
        assert (run / ".lock").is_file()
    assert not (run / ".lock").exists()


def test_a_loss_that_is_not_finite_leaves_the_weights_before_it(run):
    state = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    config = replace(
        Run(run).config, out=str(run.parent / "broken"), steps=6, save_every=100, lr=1e30, clip_grad=0.0, warmup=0.5
    )
    with pytest.raises(SsvidError, match=r"the loss is (nan|inf|-inf) at step \d;.*checkpoints/last\.pt"):
        pretrain(config)
    left = Run(run.parent / "broken").checkpoint()
    assert left is not None
    assert left["step"] < 6
    assert left["task"].keys() == state["task"].keys()


def test_a_run_and_its_copy_are_one_training(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "copy")
    (tmp_path / "link").symlink_to(kept)
    one = model_rows([str(kept)], seeds=3)
    several = model_rows([str(kept), f"{kept}/", str(tmp_path / "copy"), str(tmp_path / "link")], seeds=3)
    assert [row.seeds for row in several] == [row.seeds for row in one]
    assert several[-1].seeds == "1 run, 3 draws"
