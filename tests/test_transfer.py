"""The transfer table: its rows, that every cell is computed once, and what is said when something is wrong."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ssvid.config import PretrainConfig
from ssvid.errors import ConfigError, DataError, Interrupted, VideoError
from ssvid.evaluation.adapter import EvalContext, find_protocol
from ssvid.evaluation.features import View
from ssvid.evaluation.tables.cells import CellFile
from ssvid.evaluation.tables.entries import model_rows
from ssvid.evaluation.tables.request import TableRequest
from ssvid.evaluation.tables.runner import candidate_of, confusion_counts
from ssvid.evaluation.tables.table_spec import make_spec
from ssvid.evaluation.tables.transfer import transfer
from ssvid.files import read_json, write_json
from ssvid.training.fit import pretrain
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
def request_(runs, world_index):
    """A small table: two seeds of a task, two protocols."""
    return TableRequest(
        models=[str(runs / "speed2-s0"), str(runs / "speed2-s1")],
        data=[str(world_index.path)],
        protocols=["linear", "finetune"],
        options=QUICK,
        view=VIEW,
        seeds=2,
        workers=0,
        device="cpu",
        command="ssvid transfer ...",
    )


@pytest.fixture(scope="module")
def made(request_, tmp_path_factory):
    """That table, computed and written."""
    out = tmp_path_factory.mktemp("results") / "t"
    lines = []
    found = transfer(replace(request_, out=out), log=lines.append)
    found.write(out)
    return out, found, lines


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Installs an adapter that has the protocol "odd", which computes what the given statement says."""

    def install(statement: str) -> None:
        folder = tmp_path / "site"
        (folder / "odd-1.dist-info").mkdir(parents=True)
        (folder / "odd-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1\n")
        (folder / "odd-1.dist-info" / "entry_points.txt").write_text("[ssvid.adapters]\nodd = odd_adapter\n")
        (folder / "odd_adapter.py").write_text(
            'PROTOCOLS = {"odd": {"summary": "s", "after": "a", "differs": "d", "trains": "nothing"}}\n'
            "from ssvid.errors import DataError, VideoError\n"
            "from ssvid.evaluation.adapter import Candidate, EvalContext, Score\n"
            "def odd(candidate: Candidate, context: EvalContext, *, times: int = 1):\n"
            f"    {statement}\n    yield Score('odd', times, None, {{}})\n"
        )
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, "odd_adapter", raising=False)

    return install


def test_a_task_of_a_users_file_is_named_without_its_folder(request_, runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs / "speed2-s0", run)
    write_json(run / "card.json", read_json(run / "card.json") | {"task": "/home/somebody/mine.py"})
    asked = replace(request_, models=[str(run)], protocols=["linear"], options=[], supervised=False, out=tmp_path / "t")
    table = transfer(asked).table
    assert [(row.task, row.steps) for row in table.rows] == [("", 0), ("mine", 2)]
    assert "somebody" not in table.json()


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


def test_training_from_scratch_can_be_left_out_and_the_table_says_so(request_, made, tmp_path):
    _, found, _ = made
    table = transfer(replace(request_, supervised=False, out=tmp_path / "less")).table
    assert [row.name for row in table.rows] == [row.name for row in found.table.rows if row.name != "supervised"]
    assert any("left out" in note for note in table.notes)
    assert not any("left out" in note for note in found.table.notes)


def test_every_score_leads_to_its_run(made):
    out, found, lines = made
    assert len(lines) == 10
    assert lines[0].startswith("[1/10] random init toy.py:toy s0, world, linear: linear ")
    stored = CellFile(f"{out}.cells.jsonl").read()
    assert len(stored) == 10
    for row in found.table.rows:
        for column, keys in row.cells.items():
            cells = [stored[key] for key in keys]
            assert [score["value"] for cell in cells for score in cell["scores"]] == pytest.approx(
                row.scores[column], abs=1e-3
            )
            assert [cell["seed"] for cell in cells] == [0, 1]
            for cell in cells:
                assert cell["command"] == "ssvid transfer ..."
                assert cell["environment"]["packages"]["torch"]
                assert cell["view"]["size"] == 24
                assert cell["data"]["tested"] == 13
                assert cell["options"].keys() == find_protocol(cell["protocol"]).options.keys()
                (score,) = cell["scores"]
                counts = confusion_counts([score], len(cell["classes"]))
                assert 100 * counts.trace() / counts.sum() == pytest.approx(score["value"], abs=1e-3)
                assert np.mean(list(score["per_class"].values())) == pytest.approx(
                    score["value"], abs=0.01
                )  # one video a class
    assert found.table.rows[2].cells["linear"][1].startswith("speednet-toy_py_toy-world-linear-s1-")


def test_files_of_the_table(made):
    out, found, _ = made
    kinds = ("md", "csv", "tex", "json", "png", "html", "cells.jsonl")
    assert {path.name for path in out.parent.iterdir()} == {f"t.{kind}" for kind in kinds}
    assert json.loads(out.with_suffix(".json").read_text())["made_with"]["command"] == "ssvid transfer ..."
    page = out.with_suffix(".html").read_text()
    assert page.count("<details>") == 3 + 3  # the classes and the cells of every row
    assert page.count("data:image/png") == 2 + 2 * 3
    for row in found.table.rows:
        for keys in row.cells.values():
            assert all(f'href="#{key}"' in page and f'<pre id="{key}">' in page for key in keys)
    assert "](" not in out.with_suffix(".md").read_text()


def test_a_second_call_computes_nothing(request_, made):
    out, found, _ = made
    before, lines = Path(f"{out}.cells.jsonl").read_bytes(), []
    again = transfer(replace(request_, out=out), log=lines.append)
    assert lines == [f"10 of 10 cells are there already in {out}.cells.jsonl"]
    assert Path(f"{out}.cells.jsonl").read_bytes() == before
    assert [row.scores for row in again.table.rows] == [row.scores for row in found.table.rows]


def test_an_interrupted_table_goes_on(request_, made, tmp_path):
    out, found, _ = made
    cells = list(CellFile(f"{out}.cells.jsonl").read().items())
    gone = [key for key, cell in cells if cell["protocol"] == "linear"][:3]
    file = CellFile(tmp_path / "t.cells.jsonl")
    file.write((key, cell) for key, cell in cells if key not in gone)
    lines = []

    def stop(line):
        lines.append(line)
        if len(lines) == 3:  # what is there, and two that were missing
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="9 of 10 cells") as stopped:
        transfer(replace(request_, out=tmp_path / "t"), log=stop)
    assert stopped.value.exit_code == 130
    assert len(set(gone) & file.read().keys()) == 2
    lines.clear()
    again = transfer(replace(request_, out=tmp_path / "t"), log=lines.append)
    assert len(lines) == 2
    assert [row.scores for row in again.table.rows] == [row.scores for row in found.table.rows]


def test_several_processes_give_the_same(request_, made, tmp_path):
    _, found, _ = made
    small = replace(request_, models=[TOY], protocols=["linear"], seeds=1, engine="local:2", out=tmp_path / "t")
    assert [row.scores["linear"] for row in transfer(small).table.rows] == [
        row.scores["linear"][:1] for row in found.table.rows[:2]
    ]
    assert len(CellFile(tmp_path / "t.cells.jsonl").read()) == 2


def test_a_protocol_that_does_not_fit_a_data_set_leaves_a_gap(request_, tmp_path, plugin):
    plugin("raise DataError('no phases here')")
    small, lines = replace(request_, models=[TOY], seeds=1, out=tmp_path / "t"), []
    table = transfer(replace(small, protocols=["linear", "odd"]), log=lines.append).table
    assert list(table.chance) == ["linear"]
    assert table.notes[-1] == "world: odd left out: no phases here"
    assert "[2/4] random init toy.py:toy s0, world, odd: no phases here; about " in lines[1]
    with pytest.raises(DataError, match="no phases here"):
        transfer(replace(small, protocols=["odd"]))


def test_a_file_that_cannot_be_read_stops_the_table(request_, tmp_path, plugin):
    plugin("raise VideoError('v.mp4', 'is gone')")
    with pytest.raises(VideoError, match="is gone"):
        transfer(replace(request_, protocols=["odd"], out=tmp_path / "t"))


def test_a_protocol_of_an_installed_adapter_gets_its_options(request_, tmp_path, plugin):
    plugin("assert context.protocol == 'odd'")
    small = replace(request_, models=[TOY], seeds=1, protocols=["odd"], options=["odd.times=3"], out=tmp_path / "t")
    assert [row.scores for row in transfer(small).table.rows] == [{"odd": [3]}] * 2
    with pytest.raises(ConfigError, match=r"Protocol odd has no option 'time'\. Did you mean times"):
        transfer(replace(small, options=["odd.time=3"]))


def spec_of(request, **changes):
    changed = replace(request, **changes)
    return make_spec(changed, changed.protocols)


def keys(request, **changes):
    return {job.key for job in spec_of(request, **changes).jobs()}


def test_a_cell_is_named_after_all_that_decides_it(request_):
    before = keys(request_)
    assert len(before) == 10
    assert keys(request_) == before
    assert len(keys(request_, seeds=3) - before) == 3  # an init more: linear twice, finetune once
    assert not keys(request_, view=VIEW | {"clips": 2}) & before
    assert len(keys(request_, options=[*QUICK, "linear.strengths=[1.0]"]) & before) == 4  # those of finetune
    assert (
        len(keys(request_, options=["finetune.epochs=1"]) & before) == 4
    )  # linear, but for the row that finetune makes
    assert len(keys(request_, protocols=["linear", "knn"]) & before) == 6


def test_changed_weights_get_a_new_name(request_, runs, tmp_path):
    shutil.copytree(runs / "speed2-s0", tmp_path / "run")
    same = keys(request_, models=[str(runs / "speed2-s0")])
    assert keys(request_, models=[str(tmp_path / "run")]) == same
    shutil.copy(runs / "speed3-s0" / "backbone.safetensors", tmp_path / "run")
    assert len(keys(request_, models=[str(tmp_path / "run")]) & same) == 6  # random init and supervised


def test_supervised_learns_from_each_folds_training_videos_alone(request_, world_index):
    spec = spec_of(request_)
    context = EvalContext(spec.sets[0].videos, spec.sets[0].folds, spec.view)
    subjects = {(job.row.name, job.protocol.name): candidate_of(job, context) for job in spec.jobs()}
    assert {key for key, candidate in subjects.items() if candidate.per_fold} == {("supervised", "linear")}
    assert {key for key, candidate in subjects.items() if candidate.pretrained} == {
        ("speednet", "linear"),
        ("speednet", "finetune"),
    }
    assert ("random init", "finetune") not in subjects  # that is the row supervised
    fresh, random = subjects["supervised", "finetune"].backbone(0), subjects["random init", "linear"].backbone(0)
    assert all(torch.equal(a, b) for a, b in zip(fresh.parameters(), random.parameters(), strict=True))


def test_rows_are_grouped_over_seeds(runs):
    groups = model_rows([str(runs / name) for name in ("speed2-s0", "speed2-s1", "speed3-s0")], 3)
    assert [(group.name, group.seeds, group.alone) for group in groups] == [
        ("random init", "3 inits", False),
        ("supervised", "3 inits", False),
        ("speednet (speed2-s0)", "2 runs", False),
        ("speednet (speed3-s0)", "1 run, 3 draws", True),
    ]
    assert [entry.seed for entry in groups[2].entries] == [0, 1]
    assert [entry.seed for entry in groups[3].entries] == [0, 1, 2]
    asked = ["r3d_18_tiny", str(runs / "speed2-s0"), "baseline_difference"]
    assert [(group.name, Path(group.backbone).name) for group in model_rows(asked, 1)] == [  # backbone by backbone
        ("random init", "r3d_18_tiny"),
        ("supervised", "r3d_18_tiny"),
        ("baseline_difference", "baseline_difference"),
        ("random init", "toy.py:toy"),
        ("supervised", "toy.py:toy"),
        ("speednet", "toy.py:toy"),
    ]


def test_what_came_of_a_run_makes_no_row_of_its_own(runs, tmp_path):
    for seed in (0, 1):
        shutil.copytree(runs / f"speed2-s{seed}", tmp_path / f"s{seed}")
        card = json.loads((tmp_path / f"s{seed}" / "card.json").read_text()) | {"diagnosis": [f"{seed} % right"]}
        (tmp_path / f"s{seed}" / "card.json").write_text(json.dumps(card))
    assert model_rows([str(tmp_path / "s0"), str(tmp_path / "s1")], 1)[-1].seeds == "2 runs"


def test_published_rows_are_marked(request_, made, tmp_path):
    out, _, _ = made
    (tmp_path / "p.csv").write_text(
        "model,dataset,protocol,value,source\nTheirs,world,linear,99,https://example.org\nOther,ucf101,linear,1,s\n"
    )
    table = transfer(replace(request_, out=out, published=tmp_path / "p.csv")).table
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
        model_rows([other_version(tmp_path, runs, what)], 1)


def test_a_run_that_is_not_finished_is_told(runs, tmp_path):
    with pytest.raises(DataError, match="ssvid pretrain --resume"):
        model_rows([other_version(tmp_path, runs, "nothing")], 1)


@pytest.mark.parametrize("what", ["damaged", "of another network"])
def test_weights_that_cannot_be_read_are_told_before_anything_is_computed(what, runs, tmp_path):
    shutil.copytree(runs / "speed2-s0", tmp_path / "run")
    weights = tmp_path / "run" / "backbone.safetensors"
    if what == "damaged":
        weights.write_bytes(weights.read_bytes()[:100])
    else:
        save_file(create_model("resnet18_tiny").state_dict(), weights)
    with pytest.raises(DataError, match=r"run/backbone\.safetensors"):
        model_rows([str(tmp_path / "run")], 1)


def test_the_view_is_that_of_the_first_run(request_):
    assert spec_of(request_, view={"clips": None}).view == View(frames=6, size=32, stride=1)
