"""The survey: the content of its table, and that nothing is computed twice, left out silently or started again."""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
import torch

from ssvid.audit import survey as module
from ssvid.audit.audit import audit
from ssvid.audit.survey import finished_run, shortfalls, survey, tabulate, write
from ssvid.config import PretrainConfig
from ssvid.data.index import Index
from ssvid.data.scanning import scan_videos
from ssvid.data.synthetic import make_world
from ssvid.errors import ConfigError, DataError, Interrupted
from ssvid.evaluation.splits import open_labelled
from ssvid.evaluation.tables.cells import CellFile
from ssvid.training.fit import pretrain
from ssvid.training.models import load
from ssvid.training.run import Run

TOY = str(Path(__file__).parent / "toy.py") + ":toy"
SETTINGS = "steps: 4\nbatch: 4\nlog_every: 1\nsave_every: 1\n"
OPTIONS = {"speednet": "{frames: 6, size: [24, 32]}", "arrow_of_time": "{frames: 6, size: 24}", "pace": "{frames: 999}"}


class Inline:
    """Runs what is submitted at once, in this process, where a smaller audit can be put in place."""

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
def index(tmp_path_factory) -> Index:
    """Two videos a class, without a split: all are held out."""
    folder = tmp_path_factory.mktemp("survey")
    index = Index(folder / "few.sqlite", create=True)
    world = make_world(folder / "world", per_class=2, frames=40, size=48, seed=5, engine="local:1")
    rows = [line.split(",") for line in world.read_text().splitlines()]
    world.write_text("".join(f"{path},{label},{group}\n" for path, label, _, group in rows))
    scan_videos([world], index, engine="local:1")
    return index


@pytest.fixture(scope="module")
def configs(tmp_path_factory) -> dict[str, Path]:
    folder, paths = tmp_path_factory.mktemp("configs"), {}
    for task, options in OPTIONS.items():
        paths[task] = folder / f"{task}_world.yaml"
        paths[task].write_text(f"task: {task}\nbackbone: {TOY}\n{SETTINGS}options: {options}\n")
    return paths


@pytest.fixture(scope="module")
def made(index, configs, tmp_path_factory):
    """Two tasks surveyed: the folder of the runs, the table, the facts, and the log."""
    runs, lines = tmp_path_factory.mktemp("runs"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "executor", Inline)
        patch.setattr(module, "audit", partial(audit, videos=8))
        chosen = [configs["speednet"], configs["arrow_of_time"]]
        table, facts = survey(chosen, str(index.path), seeds=1, runs=runs, log=lines.append)
    return runs, table, facts, lines


def times(runs: Path) -> dict[str, int]:
    return {str(path.relative_to(runs)): path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}


def test_shortfalls_by_hand():
    assert shortfalls(3.1, "passed", [4.0, 6.0]) == []  # 5 above a deviation of 1.4
    assert shortfalls(2.9, "fade", [1.0, 5.0, 0.0]) == ["accuracy", "audit", "probe"]  # 2 within 2.6
    assert shortfalls(9.0, "passed", [8.0]) == ["probe"]  # one seed shows no spread


def test_settings_are_for_all_configs_or_for_one():
    paths = [Path("a_world.yaml"), Path("b_world.yaml")]
    settings = ["steps=3", "a_world.stride=1", "backbone.input=flow", "b_world.backbone.input=rgb"]
    assert module.settings_of(paths[0], settings, paths) == ["steps=3", "stride=1", "backbone.input=flow"]
    assert module.settings_of(paths[1], settings, paths) == ["steps=3", "backbone.input=flow", "backbone.input=rgb"]
    assert module.settings_of(paths[0], ["c_world.stride=1"], paths) == ["c_world.stride=1"]  # refused by the config


def test_one_row_for_each_task(made):
    _, table, facts, lines = made
    assert table.header() == [
        *("model", "backbone", "steps", "seconds", "seeds", "chance", "untrained", "standard errors above chance"),
        *("audit", "falls short", "pretext accuracy", "linear (chance 7.7)", "random linear (chance 7.7)", "gain"),
    ]
    assert [row.name for row in table.rows] == ["arrow_of_time", "speednet"]
    for row, fact in zip(table.rows, facts, strict=True):
        assert row.facts["backbone"] == TOY
        assert (row.facts["steps"], row.facts["seeds"], row.facts["chance"]) == ("4", "1", "50.0")
        accuracy = 100 * fact["held_out"]["accuracy"][0]
        gain = fact["probe"]["linear"] - fact["random"]["linear"]
        assert row.scores["pretext accuracy"] == [pytest.approx(accuracy)]
        assert row.scores["gain"] == [pytest.approx(gain)]
        assert f"{fact['run']}: accuracy {accuracy / 100:.3f} (chance 0.5), audit " in "\n".join(lines)
    assert "Pretrained on 26 videos without labels" in table.protocol
    assert "on the same 26 videos, since they have no split" in table.protocol


def test_every_run_leaves_its_facts(made, tmp_path):
    runs, table, facts, _ = made
    write(table, facts, tmp_path / "out")
    kinds = ("md", "csv", "tex", "json", "cells.jsonl")
    assert {path.name for path in tmp_path.iterdir()} == {f"out.{kind}" for kind in kinds}
    cells = CellFile(tmp_path / "out.cells.jsonl").read()
    assert list(cells) == ["arrow_of_time_world-s0", "speednet_world-s0"]
    fact = cells["speednet_world-s0"]
    run = Run(runs / "speednet_world-s0")
    assert fact["config"] == asdict(run.config) | {"options": {"frames": 6, "size": [24, 32]}}
    assert fact["command"] == (run.path / "command.txt").read_text().strip()
    assert fact["environment"]["threads"] == 1
    assert fact["held_out"] == json.loads((run.path / "held_out.json").read_text())["trained"]
    assert fact["audit"] == ", ".join(json.loads((run.path / "audit" / "audit.json").read_text())["shortcuts"])


def test_random_weights_are_those_the_run_started_from(made):
    runs, _, facts, _ = made
    start = module.build_task(Run(runs / "speednet_world-s0").config).backbone.state_dict()
    end = load(runs / "speednet_world-s0").state_dict()
    assert not all(torch.equal(start[name], end[name]) for name in start)
    moved = max((start[name] - end[name]).abs().max().item() for name in start)
    assert moved < 0.1  # four small steps away: another draw would lie further
    assert facts[1]["random"].keys() == facts[1]["probe"].keys()


@pytest.mark.slow
def test_a_second_call_does_nothing_again_and_a_run_that_fails_is_logged(made, index, configs):
    """In processes of their own, as surveys are made: what the first call left is there for the second."""
    runs, table, facts, _ = made
    before, lines = times(runs), []
    again, found = survey(list(configs.values()), str(index.path), seeds=1, runs=runs, log=lines.append)
    assert times(runs) == before
    assert [row.scores for row in again.rows] == [row.scores for row in table.rows]  # pace left a gap
    for key in ("held_out", "untrained", "audit", "probe", "random", "seconds"):
        assert [fact[key] for fact in found] == [fact[key] for fact in facts]
    (failed,) = [line for line in lines if "pace_world-s0" in line]
    assert "pace_world-s0: " in failed
    assert "no video that Pace can use: 26 shorter than" in failed
    assert len(lines) == 3
    assert table.notes == []
    assert again.notes == [f"Left out: {failed}."]


def test_a_run_made_with_other_settings_is_refused(made, index, configs, tmp_path):
    runs, _, _, _ = made
    other = tmp_path / "speednet_world.yaml"
    other.write_text(configs["speednet"].read_text().replace("steps: 4", "steps: 5\nlr: 0.5"))
    before = times(runs)
    with pytest.raises(
        ConfigError, match=r"speednet_world-s0 was made with another steps, lr .*; remove it or name other"
    ):
        survey([other], str(index.path), seeds=1, runs=runs)
    other.write_text(configs["speednet"].read_text().replace("log_every: 1", "log_every: 2"))
    assert module.planned_run(other, [], index, 0, runs).log_every == 2  # changes no result
    assert times(runs) == before


def test_an_interrupted_survey_says_that_it_goes_on(made, index, configs, monkeypatch):
    runs, _, _, _ = made
    monkeypatch.setattr(module, "executor", Inline)

    def stop(line):
        if "arrow_of_time" in line:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"stopped after [01] of 2 runs; the same command continues"):
        survey([configs["speednet"], configs["arrow_of_time"]], str(index.path), seeds=1, runs=runs, log=stop)


def test_an_interrupted_run_goes_on(made, index, configs, tmp_path):
    runs, _, _, _ = made
    config = module.planned_run(configs["speednet"], ["log_every=1"], index, 0, tmp_path)

    def stop(line):
        if line.get("step") == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(config, report=stop)
    (tmp_path / "speednet_world-s0" / "command.txt").write_text("the first call\n")
    run = finished_run(config)
    assert (run.path / "command.txt").read_text() == "the first call\n"  # which a run that begins again replaces
    assert [line["step"] for line in run.metrics()] == [1, 2, 3, 4]
    whole = load(runs / "speednet_world-s0").state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in run.load().state_dict().items())


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(index, configs, tmp_path):
    config = module.planned_run(configs["speednet"], ["log_every=1"], index, 0, tmp_path)
    Run.create(config)
    assert [line["step"] for line in finished_run(config).metrics()] == [1, 2, 3, 4]


def fact(run: str, accuracy: tuple[float, float], shortcuts: str, linear: float, random: float, **changes) -> dict:
    return {
        "run": run,
        "config": asdict(PretrainConfig(task="pace", backbone="s3dg_tiny", steps=300)),
        "seconds": 60.0,
        "held_out": {"accuracy": accuracy},
        "untrained": {"accuracy": (0.5, 0.02)},
        "chance": 0.5,
        "audit": shortcuts,
        "probe": {"linear": linear},
        "random": {"linear": random},
    } | changes


def test_a_survey_without_held_out_videos_is_refused_before_it_trains(configs, world_index, tmp_path):
    listing = tmp_path / "train.csv"
    listing.write_text("path\n" + "".join(f"{video.path}\n" for video in world_index.videos()[:4]))
    with pytest.raises(DataError, match="all 4 videos with a split are for training"):
        survey([configs["speednet"]], str(listing), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_rows_by_hand(index):
    facts = [
        fact("dpc-odd-s-s0", (0.25, 0.0), "", 12.0, 14.5, chance=0.25),  # another config of the same task
        fact("speed_world-s0", (0.6, 0.02), "pan, fade", 40.0, 30.0),
        fact("speed_world-s1", (0.7, 0.04), "fade", 50.0, 34.0, seconds=80.0, untrained={"accuracy": (0.53, 0.02)}),
    ]
    alone, both = tabulate(facts, index, open_labelled(str(index.path))).rows
    assert (alone.name, both.name) == ("dpc-odd-s", "speed_world")
    assert both.facts == {
        "backbone": "s3dg_tiny",
        "steps": "300",
        "seconds": "70",
        "seeds": "2",
        "chance": "50.0",
        "untrained": "51.5",
        "standard errors above chance": "5.0",  # 65 - 50 in units of 3, the mean of 2 and 4
        "audit": "fade, pan",
        "falls short": "audit",
    }
    assert (alone.facts["audit"], alone.facts["standard errors above chance"]) == ("passed", "0.0")
    expected = {"pretext accuracy": [60, 70], "linear": [40, 50], "random linear": [30, 34], "gain": [10, 16]}
    assert {name: pytest.approx(values) for name, values in both.scores.items()} == expected
    table = tabulate(facts, index, open_labelled(str(index.path)))
    assert "Pretrained on 26 videos without labels" in table.protocol
    assert "on the same 26 videos, since they have no split, one sample a video" in table.protocol
    assert [row[-4:] for row in table.cells()] == [
        ["25.0", "12.0", "14.5", "-2.5"],
        ["65.0 ± 7.1", "45.0 ± 7.1", "32.0 ± 2.8", "13.0 ± 4.2"],
    ]
