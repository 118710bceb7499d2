"""Settings are checked where they are read, and errors say what was meant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from ssvid.config import PretrainConfig, check_options, default_out, load_config, to_yaml
from ssvid.errors import ConfigError, DataError
from ssvid.evaluation.features import View
from ssvid.plugins import load_task
from ssvid.training.build import build_task
from ssvid.training.launch import make_fabric

CONFIGS = sorted((Path(__file__).parents[1] / "configs" / "pretrain").glob("*.yaml"))


def maker(backbone, *, frames: int = 8, size: tuple[int, int] = (1, 2), fps: float | None = None, mode: str = "a"):
    """Stands for a task's constructor."""


def test_later_sources_win(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("task: arrow_of_time\nsteps: 7\nlr: 0.5\noptions:\n  frames: 4\n")
    config = load_config(path, ["lr=0.25", "stride=3", "backbone.temporal_stride=false"], {"seed": 2, "batch": None})
    assert (config.task, config.steps, config.lr, config.seed, config.batch) == ("arrow_of_time", 7, 0.25, 2, 16)
    assert config.options == {"frames": 4, "stride": 3}
    assert config.backbone_options == {"temporal_stride": False}


def test_yaml_round_trip(tmp_path):
    config = PretrainConfig(task="speednet", data=["a"], steps=3, options={"size": (32, 48)})
    (tmp_path / "c.yaml").write_text(to_yaml(config))
    again = load_config(tmp_path / "c.yaml")
    assert again.options == {"size": [32, 48]}
    assert (again.data, again.steps) == (["a"], 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["steps=soon"], "steps"),
        (["steps=0"], "at least 1"),
        (["nonsense"], "key=value"),
        (["batch=5", "devices=2"], "multiple of 2"),
        (["warmup=2"], "0 to 1"),
        (["backbone_options.input=flow"], r"here: backbone\.input=flow"),
        (["options.frames=8"], "here: frames=8"),
    ],
)
def test_wrong_settings_are_told(words, message):
    with pytest.raises(ConfigError, match=message):
        load_config(None, words)


def test_wrong_files_are_told(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_text("stpes: 5\n")
    with pytest.raises(ConfigError, match="did you mean steps"):
        load_config(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("steps: [1,\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(tmp_path / "b.yaml")


def test_options_take_the_type_of_the_annotation():
    checked = check_options(maker, {"frames": "16", "size": [32, 48], "fps": 15}, "task")
    assert checked == {"frames": 16, "size": (32, 48), "fps": 15.0}
    assert check_options(maker, {"fps": None}, "task") == {"fps": None}
    for text in ("32,48", "(32, 48)", "[32, 48]"):  # as a command line has it, and as `ssvid list` shows it
        assert check_options(maker, {"size": text}, "task") == {"size": (32, 48)}
    assert check_options(load_task("speednet"), {"size": 24}, "speednet") == {"size": 24}
    assert check_options(load_task("speednet"), {"size": "32,48", "fps": "15"}, "speednet") == {
        "size": (32, 48),
        "fps": 15.0,
    }
    with pytest.raises(ConfigError, match="not int"):
        check_options(load_task("speednet"), {"frames": "many"}, "speednet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"framse": 3}, "Did you mean frames"),
        ({"frames": "many"}, "not int"),
        ({"size": [1, 2, 3]}, "2 values"),
        ({"step": 1}, "steps"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(ConfigError, match=message):
        check_options(maker, options, "task")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_builds_its_task(path):
    from ssvid.training.build import build_task

    config = load_config(path)
    assert path.read_text().startswith("#"), "the header says command, hardware, time and score"
    build_task(config)


@pytest.mark.parametrize(
    ("backbone", "folder"),
    [
        ("s3dg_tiny", "runs/pace-s3dg_tiny-s3"),
        ("a/b.py:one+c/d.py:two", "runs/pace-one+two-s3"),
        ("timm/x+lstm@w/theirs.pth", "runs/pace-timm=2Fx+lstm@theirs-s3"),
    ],
)
def test_a_run_folder_is_named_by_task_backbone_and_seed(backbone, folder):
    assert default_out(PretrainConfig(task="pace", backbone=backbone, seed=3)) == folder


def test_values_of_a_literal_are_checked():
    def build(name: str, *, cell: Literal[8, 16] = 8, padding: Literal["zeros", "replicate"] = "zeros") -> None: ...

    assert check_options(build, {"cell": "16", "padding": "replicate"}, "net") == {"cell": 16, "padding": "replicate"}
    for wrong in ({"cell": 4}, {"cell": 8.0}, {"padding": "none"}):
        with pytest.raises(ConfigError, match=r"is not one of (8, 16|zeros, replicate)"):
            check_options(build, wrong, "net")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("lr=-1", "lr must be above 0, not -1"),
        ("lr=0", "lr must be above 0"),
        ("weight_decay=-1", "weight_decay must be at least 0"),
        ("seed=-1", "seed must be at least 0"),
        ("workers=-5", "workers must be at least -1"),
        ("optimizer=adam", "not one of adamw, sgd, lars"),
        ("precision=8-true", "not one of 32-true, bf16-mixed"),
    ],
)
def test_values_without_a_meaning_are_refused_before_anything_begins(word, message):
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=[word])


@pytest.mark.parametrize(
    "word", ["frames=-3", "frames=0", "stride=-2", "stride=0", "fps=0", "fps=-1", "size=0", "min_motion=-1"]
)
def test_windows_and_sizes_without_a_meaning_are_refused(word):
    with pytest.raises(ConfigError, match=f"{word.partition('=')[0]} must be"):
        build_task(load_config(overrides=["task=arrow_of_time", "backbone=r3d_18_tiny", word]))


@pytest.mark.parametrize("change", [{"clips": 0}, {"frames": 0}, {"stride": -2}, {"size": 0}, {"fps": 0.0}])
def test_a_view_without_a_meaning_is_refused(change):
    with pytest.raises(ConfigError, match=f"{next(iter(change))} must be"):
        View(**change)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["accelerator=abacus"], "accelerator=abacus"), (["accelerator=cpu", "precision=16-mixed"], "needs a GPU")],
)
def test_what_the_machine_lacks_is_said(words, message):
    with pytest.raises(ConfigError, match=message):
        make_fabric(load_config(overrides=words))


def test_several_devices_need_a_program_that_is_a_file():
    code = "from ssvid.config import load_config; from ssvid.training.launch import make_fabric; "
    code += "make_fabric(load_config(overrides=['devices=2', 'accelerator=cpu']))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "no file; save it as one" in ended.stderr
