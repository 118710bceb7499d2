"""A task or a backbone is one file, found by its name, its entry point or its path, and listed without being run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ssvid
from ssvid import plugins
from ssvid.cli.catalogue import catalogue
from ssvid.errors import ConfigError
from ssvid.plugins import list_tasks, load_task, read_summary

UPSIDE_DOWN = '''"""Is the clip upside down?"""

import numpy as np
import torch
from torch import nn

from ssvid.training.task import Augment, Backbone, Clips, PretextTask, Window, binary_accuracy, binary_loss, clip_vector


class IsItUpsideDown(PretextTask):
    """frames: T. size: side in px."""

    chance = 0.5

    def __init__(self, backbone: Backbone, *, frames: int = 8, size: int = 32) -> None:
        super().__init__(backbone, Augment(size=size), Window(frames))
        self.head = nn.Linear(backbone.info.dim, 1)

    def sample(self, video, rng, training=True):
        return Clips(self.window(video, rng, training)[None], np.float32([0, 1]))

    def forward(self, clips, target):
        both = torch.stack([clips[:, 0], clips[:, 0].flip(-2)], 1)
        logits = self.head(clip_vector(self.backbone(both.flatten(0, 1)))).view(-1, 2)
        return {"loss": binary_loss(logits, target), "accuracy": binary_accuracy(logits, target)}
'''


def test_a_new_task_is_one_file_and_no_edit_elsewhere(tmp_path, world_index):
    path = tmp_path / "upside_down.py"
    path.write_text(UPSIDE_DOWN)
    run = ssvid.pretrain(
        str(path), world_index.path, backbone="resnet18_tiny", out=str(tmp_path / "run"), steps=3, batch=4, workers=0
    )
    assert run.card["task"] == str(path)
    assert ssvid.load(run.path).info.name == "resnet18_tiny"


def test_shipped_tasks_are_listed_with_what_their_source_says():
    rows = {row["name"]: row for row in catalogue("tasks")["tasks"]}
    assert {"speednet", "arrow_of_time"} <= rows.keys()
    for name, row in rows.items():
        maker = load_task(name)
        assert (row["chance"] or 0) == maker.chance  # none where it depends on the batch
        assert row["needs"] == list(maker.needs)
        assert row["description"] == read_summary(list_tasks()[name])
        assert row["description"].endswith("?"), "a task's first line is the question it asks"


def test_unknown_and_broken_files_are_told(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean speednet"):
        load_task("speedent")
    with pytest.raises(ConfigError, match="does not exist"):
        load_task(str(tmp_path / "none.py"))
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(ConfigError, match="exactly one PretextTask"):
        load_task(str(tmp_path / "empty.py"))


def test_listing_and_importing_need_no_torch():
    code = (
        "import sys, ssvid, ssvid.cli; from ssvid.cli.catalogue import catalogue; rows = catalogue('all');"
        "assert rows['tasks'] and rows['models'] and rows['layouts'];"
        "heavy = {'torch', 'numpy', 'decord', 'av', 'lightly', 'faiss', 'sklearn'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_trains_nothing_does_not_import_lightning():
    """Which takes seconds in every worker of an engine."""
    code = (
        "import sys, ssvid.evaluation.tables.transfer, ssvid.audit.audit, ssvid.search.building, ssvid.speedup.models;"
        "assert 'lightning_fabric' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_of_the_package_are_what_it_offers():
    assert "ssvid" in ssvid.Video.__module__
    assert callable(ssvid.create_model)
    with pytest.raises(AttributeError, match="nothing"):
        _ = ssvid.nothing


def test_the_digest_of_a_users_code_follows_what_it_does(tmp_path):
    net, layers = tmp_path / "net.py", tmp_path / "parts" / "layers.py"
    layers.parent.mkdir()
    net.write_text("from parts import layers\n\ndef build(): return layers.act()\n")
    layers.write_text("def act(): return 'ReLU'\n")
    before = plugins.source_digest(net)
    net.write_text('"""A net."""\nfrom parts import layers  # ours\n\ndef build():\n    return layers.act()\n')
    assert plugins.source_digest(net) == before
    layers.write_text("def act(): return 'Tanh'\n")
    assert plugins.source_digest(net) != before
    assert plugins.source_digest(Path(plugins.__file__)) == ""  # our own code is told by the version


def test_what_is_installed_or_removed_while_the_program_runs_is_seen(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    assert "later" not in list_tasks()
    (tmp_path / "later.py").write_text('"""A task that is installed later: is it seen?"""\n')
    meta = tmp_path / "later-1.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: later\nVersion: 1\n")
    (meta / "entry_points.txt").write_text("[ssvid.tasks]\nlater = later\n")
    assert list_tasks()["later"] == tmp_path / "later.py"
    shutil.rmtree(meta)
    assert "later" not in list_tasks()


def test_a_folder_that_hides_a_package_of_ours_is_named(tmp_path):
    (tmp_path / "pretext").mkdir()
    (tmp_path / "pretext" / "__init__.py").write_text("")
    code = "from ssvid.plugins import list_tasks; print(list_tasks())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "hides ssvid's own package pretext; rename that folder" in ended.stderr
