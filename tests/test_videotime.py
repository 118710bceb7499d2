"""The table of what sees the order of time: its rows, its controls, which must be able to fail, and that nothing is computed twice."""

from __future__ import annotations

import copy
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from ssvid.audit import videotime as module
from ssvid.audit.videotime import check_world, failed_controls, require_controls, scores, videotime, write
from ssvid.config import PretrainConfig
from ssvid.data.synthetic import IRREVERSIBLE
from ssvid.errors import ConfigError, DataError, SsvidError
from ssvid.training.build import build_task
from tests.labelled import videos_of

BACKBONES = ("resnet18_tiny", "resnet18_tiny+lstm")
SETTINGS = "steps: 3\nbatch: 4\nlr: 0.01\norder_blind: allow\n"
OPTIONS = {
    "arrow_of_time": "{frames: 6, stride: 3, size: 24, drift: 0.0}",
    "future_frame": "{frames: 4, stride: 1, size: 24}",
}


class Inline:
    """Runs what is submitted at once, in this process."""

    def __init__(self, jobs):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def submit(self, work, *arguments):
        done = Future()
        done.set_result(work(*arguments))
        return done


@pytest.fixture(scope="module")
def made(world_index, tmp_path_factory):
    """Both tasks on two backbones: how to make the table again, the table, the facts, and the folder of the runs."""
    folder = tmp_path_factory.mktemp("videotime")
    configs = [folder / f"{task}.yaml" for task in OPTIONS]
    for path in configs:
        path.write_text(f"task: {path.stem}\n{SETTINGS}options: {OPTIONS[path.stem]}\n")

    def make(seeds=1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "executor", Inline)
            return videotime(configs, str(world_index.path), backbones=BACKBONES, seeds=seeds, runs=folder / "runs")

    return make, *make(), folder / "runs"


def test_one_row_a_backbone_with_both_tasks(made):
    _, table, facts, _ = made
    assert [row.name for row in table.rows] == list(BACKBONES)
    assert [row.facts["order"] for row in table.rows] == ["blind", "aware"]
    assert table.chance["arrow_of_time"] == 50
    assert table.chance["future_frame"] == 25
    assert table.chance["future_frame gap"] is None
    assert all(set(row.scores) == set(table.chance) for row in table.rows)
    assert len(facts) == 4
    assert all(len(fact["labels"]) == len(fact["accuracy"]) for fact in facts)


def test_a_blind_backbone_is_at_chance_and_answers_alike_backward(made):
    _, table, facts, _ = made
    blind = table.rows[0]
    assert blind.scores["arrow_of_time"] == pytest.approx([50], abs=3)
    assert blind.scores["future_frame"] == blind.scores["future_frame played backward"]
    assert not failed_controls(facts)
    require_controls(facts)


def test_the_backward_clip_reaches_the_network(made):
    # right forward is wrong backward, with the logits of the very same two clips
    _, _, facts, _ = made
    arrow = next(fact for fact in facts if fact["run"].startswith("arrow_of_time-resnet18_tiny+lstm"))
    assert np.array(arrow["accuracy"]) + np.array(arrow["played_backward"]) == pytest.approx(1)


@pytest.mark.parametrize("task", OPTIONS)
def test_a_control_that_sees_order_fails_loudly(made, task):
    facts = copy.deepcopy(made[2])
    fact = next(fact for fact in facts if fact["order"] == "blind" and fact["config"]["task"] == task)
    fact["accuracy"] = [1.0] * len(fact["accuracy"])
    said = failed_controls(facts)
    assert any("resnet18_tiny" in line and task in line for line in said)
    with pytest.raises(SsvidError, match="gives the answer away"):
        require_controls(facts)


def test_the_gap_is_between_the_two_kinds_of_motion():
    fact = {"labels": ["bounce", "orbit", "diffuse", "orbit"], "accuracy": [1.0, 0.5, 0.5, 0.0], "played_backward": [0]}
    assert scores(fact)[" gap"] == pytest.approx(75 - 25)


def test_a_second_call_trains_nothing(made, monkeypatch):
    make, table, _, runs = made
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    again, _ = make()
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()} == before
    assert [row.scores for row in again.rows] == [row.scores for row in table.rows]


def test_what_is_written_names_no_place_of_this_machine(made, tmp_path):
    _, table, facts, runs = made
    write(table, facts, runs, tmp_path / "out")
    assert (tmp_path / "out.png").stat().st_size > 10_000
    assert {path.name for path in tmp_path.iterdir()} == {
        f"out{end}" for end in (".md", ".csv", ".tex", ".json", ".png", ".cells.jsonl")
    }
    assert "The controls hold" in (tmp_path / "out.md").read_text()


def test_other_videos_are_refused():
    with pytest.raises(DataError, match="make-world"):
        check_world(videos_of(["cat", "dog"]))
    with pytest.raises(DataError, match="one kind alone"):
        check_world(videos_of(sorted(IRREVERSIBLE)))


def test_a_blind_backbone_is_trained_as_a_control_only():
    config = PretrainConfig(task="arrow_of_time", backbone="resnet18_tiny")
    with pytest.raises(ConfigError, match="could only guess"):
        build_task(config)
    config.order_blind = "allow"
    assert build_task(config).backbone.info.order == "blind"


def test_the_shipped_settings_build_every_backbone():
    from ssvid.config import load_config

    for path in sorted((Path(__file__).parents[1] / "configs" / "videotime").glob("*.yaml")):
        for backbone in module.BACKBONES:
            build_task(load_config(path, [], {"backbone": backbone}))
