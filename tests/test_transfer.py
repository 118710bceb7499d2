"""The transfer table: who stands in it, what is computed once and only once, and what is told when something is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ssvid.config import PretrainConfig
from ssvid.errors import DataError, VideoError
from ssvid.evaluation import adapter
from ssvid.evaluation.adapter import EvalContext
from ssvid.evaluation.features import View
from ssvid.evaluation.tables import transfer as module
from ssvid.evaluation.tables.entries import line_up
from ssvid.evaluation.tables.jobs import confusion_counts
from ssvid.evaluation.tables.table_spec import TRAINING
from ssvid.evaluation.tables.transfer import candidate_of, make_table_spec, transfer
from ssvid.training.fit import Interrupted, pretrain
from ssvid.zoo import create_model

TOY = str(Path(__file__).parent / "toy.py") + ":toy"
VIEW = {"clips": 1, "frames": 6, "stride": 2, "size": 24}
QUICK = ["finetune.epochs=1", "finetune.clips=1"]


@pytest.fixture(scope="module")
def runs(world_index, tmp_path_factory):
    """Run folders of two seeds and of one with another number of steps."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, steps in ((0, 2), (1, 2), (0, 3)):
        config = PretrainConfig(
            backbone=TOY,
            data=[str(world_index.path)],
            out=str(folder / f"speed{steps}-s{seed}"),
            steps=steps,
            batch=4,
            seed=seed,
            workers=0,
            options={"frames": 6, "size": (24, 32)},
        )
        pretrain(config)
    return folder


@pytest.fixture(scope="module")
def asked(runs, world_index):
    """A small table: two seeds of a task, two protocols."""
    return {
        "models": [str(runs / "speed2-s0"), str(runs / "speed2-s1")],
        "data": [str(world_index.path)],
        "protocols": ["linear", "finetune"],
        "options": QUICK,
        "view": VIEW,
        "seeds": 2,
        "workers": 0,
    }


@pytest.fixture(scope="module")
def made(asked, tmp_path_factory):
    """That table, computed and written."""
    out = tmp_path_factory.mktemp("results") / "t"
    told = []
    found = transfer(**asked, out=out, command="ssvid transfer ...", told=told.append)
    found.write(out)
    return out, found, told


def refuse(*arguments):
    raise AssertionError("nothing should be computed")


def test_random_init_and_supervised_are_always_there(made):
    _, found, _ = made
    table = found.table
    assert [(row.name, row.facts) for row in table.rows] == [
        ("random init", {"seeds": "2 inits"}),
        ("supervised", {"seeds": "2 inits"}),
        ("speednet", {"seeds": "2 runs"}),
    ]
    assert table.header() == ["model", "seeds", "linear (chance 7.7)", "finetune (chance 7.7)"]
    assert [sorted(row.scores) for row in table.rows] == [["linear"], ["finetune", "linear"], ["finetune", "linear"]]
    assert all(len(values) == 2 for row in table.rows for values in row.scores.values())
    assert "Backbone toy.py:toy" in table.protocol
    assert "1 clip x 1 centre crop" in table.protocol
    below = "\n".join(table.below())
    assert "own split, 39 train, 13 test, 13 classes" in below
    assert "pretrained without labels on world.sqlite (39 videos), 2 steps of 4" in below
    assert "One data set only" in below
    assert "finetune, epochs=1, clips=1" in below


def test_every_score_leads_to_its_run(made):
    out, found, told = made
    assert len(told) == 10
    assert told[0].startswith("[1/10] random init toy.py:toy s0, world, linear: linear ")
    for row in found.table.rows:
        for column, links in row.links.items():
            cells = [json.loads((out.parent / link).read_text()) for link in links]
            assert [score["value"] for cell in cells for score in cell["scores"]] == pytest.approx(
                row.scores[column], abs=1e-3
            )
            assert [cell["seed"] for cell in cells] == [0, 1]
            for cell in cells:
                assert cell["command"] == "ssvid transfer ..."
                assert cell["environment"]["packages"]["torch"]
                assert cell["view"]["size"] == 24
                assert cell["data"]["tested"] == 13
                assert cell["options"].keys() == adapter.find_protocol(cell["protocol"]).options.keys()
                (score,) = cell["scores"]
                counts = confusion_counts([score], len(cell["classes"]))
                assert 100 * counts.trace() / counts.sum() == pytest.approx(score["value"], abs=1e-3)
                assert np.mean(list(score["per_class"].values())) == pytest.approx(
                    score["value"], abs=0.01
                )  # one video a class
    assert found.table.rows[2].links["linear"][1].startswith("t/cells/speednet-toy_py_toy-world-linear-s1-")


def test_files_of_the_table(made):
    out, _, _ = made
    assert {path.name for path in out.parent.iterdir()} == {
        "t",
        *(f"t.{kind}" for kind in ("md", "csv", "tex", "json", "png", "html")),
    }
    assert json.loads(out.with_suffix(".json").read_text())["made_with"]["command"] == "ssvid transfer ..."
    page = out.with_suffix(".html").read_text()
    assert page.count("<details>") == 3
    assert page.count("data:image/png") == 2 + 2 * 3
    assert 'href="t/cells/' in page


def test_a_second_call_computes_nothing(asked, made, monkeypatch):
    out, found, _ = made
    monkeypatch.setattr(adapter, "run", refuse)
    told = []
    again = transfer(**asked, out=out, told=told.append)
    assert told == [f"10 of 10 cells are there already in {out / 'cells'}"]
    assert [row.scores for row in again.table.rows] == [row.scores for row in found.table.rows]


def test_an_interrupted_table_goes_on(asked, made, tmp_path, monkeypatch):
    out, found, _ = made
    shutil.copytree(out / "cells", tmp_path / "t" / "cells")
    gone = sorted((tmp_path / "t" / "cells").glob("*-linear-*"))[:3]
    for path in gone:
        path.unlink()
    real, calls = adapter.run, []

    def stopping(*arguments):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(adapter, "run", stopping)
    with pytest.raises(Interrupted, match="9 of 10 cells") as stopped:
        transfer(**asked, out=tmp_path / "t")
    assert stopped.value.exit_code == 130
    assert sum(path.exists() for path in gone) == 2
    calls.clear()
    again = transfer(**asked, out=tmp_path / "t")
    assert len(calls) == 1
    assert [row.scores for row in again.table.rows] == [row.scores for row in found.table.rows]


def test_several_processes_give_the_same(asked, made, tmp_path):
    _, found, _ = made
    again = transfer(**asked | {"models": [TOY], "protocols": ["linear"], "seeds": 1}, jobs=2, out=tmp_path / "t")
    assert [row.scores["linear"] for row in again.table.rows] == [
        row.scores["linear"][:1] for row in found.table.rows[:2]
    ]
    assert len(list((tmp_path / "t" / "cells").iterdir())) == 2


def test_a_protocol_that_does_not_fit_a_data_set_leaves_a_gap_and_is_told(asked, tmp_path, monkeypatch):
    real = adapter.run

    def without_labels(protocol, candidate, context):
        if protocol == "knn":
            raise DataError("no phases here")
        return real(protocol, candidate, context)

    monkeypatch.setattr(adapter, "run", without_labels)
    small, told = asked | {"models": [TOY], "seeds": 1}, []
    table = transfer(**small | {"protocols": ["linear", "knn"]}, out=tmp_path / "t", told=told.append).table
    assert list(table.chance) == ["linear"]
    assert table.notes[-1] == "world: knn left out: no phases here"
    assert "[2/4] random init toy.py:toy s0, world, knn: no phases here; about " in told[1]
    with pytest.raises(DataError, match="no phases here"):
        transfer(**small | {"protocols": ["knn"]}, out=tmp_path / "t")


def test_a_file_that_cannot_be_read_stops_the_table(asked, tmp_path, monkeypatch):
    def broken(*arguments):
        raise VideoError("v.mp4", "is gone")

    monkeypatch.setattr(adapter, "run", broken)
    with pytest.raises(VideoError, match="is gone"):
        transfer(**asked, out=tmp_path / "t")


def keys(asked, **changes):
    wanted = {name: value for name, value in (asked | changes).items() if name != "workers"}
    return {cell.key for cell in make_table_spec(**wanted).cells()}


def test_a_cell_is_named_after_all_that_decides_it(asked):
    before = keys(asked)
    assert len(before) == 10
    assert keys(asked) == before
    assert len(keys(asked, seeds=3) - before) == 3  # an init more: linear twice, finetune once
    assert not keys(asked, view=VIEW | {"clips": 2}) & before
    assert len(keys(asked, options=[*QUICK, "linear.strengths=[1.0]"]) & before) == 4  # those of finetune
    assert len(keys(asked, options=["finetune.epochs=1"]) & before) == 4  # linear, but for the row that finetune makes
    assert len(keys(asked, protocols=["linear", "knn"]) & before) == 6


def test_changed_weights_get_a_new_name(asked, runs, tmp_path):
    shutil.copytree(runs / "speed2-s0", tmp_path / "run")
    same = keys(asked, models=[str(runs / "speed2-s0")])
    assert keys(asked, models=[str(tmp_path / "run")]) == same
    shutil.copy(runs / "speed3-s0" / "backbone.safetensors", tmp_path / "run")
    assert len(keys(asked, models=[str(tmp_path / "run")]) & same) == 6  # random init and supervised


def test_supervised_learns_from_each_folds_training_videos_alone(asked, world_index):
    plan = make_table_spec(**{name: value for name, value in asked.items() if name != "workers"})
    context = EvalContext(plan.sets[0].videos, plan.sets[0].folds, plan.view)
    subjects = {
        (cell.group.name, cell.protocol.name): candidate_of(plan.options[TRAINING], cell, context)
        for cell in plan.cells()
    }
    assert {key for key, candidate in subjects.items() if candidate.per_fold} == {("supervised", "linear")}
    assert {key for key, candidate in subjects.items() if candidate.pretrained} == {
        ("speednet", "linear"),
        ("speednet", "finetune"),
    }
    assert ("random init", "finetune") not in subjects  # that is the row supervised
    fresh, random = subjects["supervised", "finetune"].backbone(0), subjects["random init", "linear"].backbone(0)
    assert all(torch.equal(a, b) for a, b in zip(fresh.parameters(), random.parameters(), strict=True))


def test_rows_are_grouped_over_seeds(runs):
    groups = line_up([str(runs / name) for name in ("speed2-s0", "speed2-s1", "speed3-s0")], 3)
    assert [(group.name, group.seeds, group.alone) for group in groups] == [
        ("random init", "3 inits", False),
        ("supervised", "3 inits", False),
        ("speednet (speed2-s0)", "2 runs", False),
        ("speednet (speed3-s0)", "1 run, 3 draws", True),
    ]
    assert [entry.seed for entry in groups[2].entries] == [0, 1]
    assert [entry.seed for entry in groups[3].entries] == [0, 1, 2]
    asked = ["r3d_18_tiny", str(runs / "speed2-s0"), "baseline_difference"]
    assert [(group.name, Path(group.backbone).name) for group in line_up(asked, 1)] == [  # backbone by backbone
        ("random init", "r3d_18_tiny"),
        ("supervised", "r3d_18_tiny"),
        ("baseline_difference", "baseline_difference"),
        ("random init", "toy.py:toy"),
        ("supervised", "toy.py:toy"),
        ("speednet", "toy.py:toy"),
    ]


def test_published_rows_are_marked(asked, made, tmp_path):
    out, _, _ = made
    (tmp_path / "p.csv").write_text(
        "model,dataset,protocol,value,source\nTheirs,world,linear,99,https://example.org\nOther,ucf101,linear,1,s\n"
    )
    table = transfer(**asked, out=out, published=tmp_path / "p.csv").table
    assert table.cells()[-1] == ["Theirs, published", "", "99.0", "–"]
    assert "Published rows (1): from p.csv, measured by others" in "\n".join(table.below())


def other_version(folder: Path, runs: Path, what: str) -> str:
    shutil.copytree(runs / "speed2-s0", folder / what)
    card = json.loads((folder / what / "card.json").read_text())
    if what == "config":
        with (folder / what / "config.yaml").open("a") as file:
            file.write("quantum: 3\n")
    elif what == "lacks":
        del card["backbone_options"]
    elif what == "option":
        card["backbone_options"] = {"warp": 9}
    else:
        (folder / what / "card.json").unlink()
        return str(folder / what)
    (folder / what / "card.json").write_text(json.dumps(card | {"ssvid": "0.0.7"}))
    return str(folder / what)


@pytest.mark.parametrize("what", ["config", "lacks", "option"])
def test_a_run_of_another_version_is_told(what, runs, tmp_path):
    with pytest.raises(DataError, match=r"made by ssvid 0\.0\.7 and cannot be read by .* or pretrain again"):
        line_up([other_version(tmp_path, runs, what)], 1)


def test_a_run_that_is_not_finished_is_told(runs, tmp_path):
    with pytest.raises(DataError, match="ssvid pretrain --resume"):
        line_up([other_version(tmp_path, runs, "nothing")], 1)


@pytest.mark.parametrize("what", ["damaged", "of another network"])
def test_weights_that_cannot_be_read_are_told_before_anything_is_computed(what, runs, tmp_path):
    shutil.copytree(runs / "speed2-s0", tmp_path / "run")
    weights = tmp_path / "run" / "backbone.safetensors"
    if what == "damaged":
        weights.write_bytes(weights.read_bytes()[:100])
    else:
        save_file(create_model("resnet18_tiny").state_dict(), weights)
    with pytest.raises(DataError, match=r"run/backbone\.safetensors"):
        line_up([str(tmp_path / "run")], 1)


def test_the_view_is_that_of_the_first_run(asked):
    plan = make_table_spec(**{name: value for name, value in asked.items() if name != "workers"} | {"view": {}})
    assert plan.view == View(frames=6, size=32, stride=1)
    assert module.DEFAULT == ("linear", "knn", "few")
