"""`ssvid list models`, `list weights`, `show` and `bench zoo`."""

from __future__ import annotations

import json
import re

import pytest
import torch
from typer.testing import CliRunner

from ssvid.bench import bench_markdown, run_bench
from ssvid.cli import app
from ssvid.cli.catalogue import catalogue, cell_text
from ssvid.cli.model_sheet import model_sheet
from ssvid.errors import ConfigError
from ssvid.zoo import count_macs, list_models
from ssvid.zoo.info import POOLED

runner = CliRunner()


def names(pattern: str = "*", needs: str = "") -> list[str]:
    return [row["name"] for row in catalogue("models", pattern, needs)["models"]]


def test_models_are_listed_by_family_with_those_of_libraries_at_the_end():
    rows = catalogue("models")["models"]
    families = [row["family"] for row in rows if row["family"] != "?"]
    assert families == sorted(families)
    assert {"timm/NAME", "hf/NAME", "early/NAME", "late/NAME", "two_stream/NAME", "objects/NAME"} <= set(names())
    assert names("timm*") == ["timm/NAME"]
    (resnet,) = catalogue("models", "resnet18")["models"]
    assert resnet["weights"] == ["imagenet1k"]
    assert cell_text(POOLED) == "whole"


def test_only_models_that_offer_what_is_needed_are_listed():
    tiny = names("*_tiny")
    assert {"r3d_18_tiny", "karpathy_tiny", "resnet18_tiny"} <= set(tiny)
    timely = names("*_tiny", "time")
    assert {"r3d_18_tiny", "karpathy_tiny"} <= set(timely)
    assert "resnet18_tiny" not in timely
    # every frame is kept by image networks and where strides can be dropped
    assert {"r3d_18_tiny", "resnet18_tiny"} <= set(names("*_tiny", "any_length"))
    assert "karpathy_tiny" not in names("*_tiny", "any_length")
    assert names("*_tiny", "speednet") == [name for name in timely if name in names("*_tiny", "any_length")]
    assert set(names("*_tiny", "tcc")) - set(names("*_tiny", "colorization")) == {"vivit_tiny"}
    assert set(tiny) - set(names("*_tiny", "tcc")) == {"two_stream_tiny"}
    with pytest.raises(
        ConfigError, match="nothing needs 'luck'; needs: time, any_length, frames, cells, or a task: arrow_of_time"
    ):
        names("*", "luck")


def test_weights_are_listed_with_their_address_and_score():
    rows = {row["name"]: row for row in catalogue("weights")["weights"]}
    assert rows["vgg16@imagenet1k"]["address"].startswith("https://download.pytorch.org/models/vgg16-")
    assert rows["vgg16@imagenet1k"]["published"] == ["71.592 top-1 on ImageNet-1K"]
    assert "timm/NAME@TAG" in rows
    assert "weights" not in catalogue("all")


def test_all_of_one_is_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    sheet = json.loads(runner.invoke(app, ["show", "resnet18", "--json"]).output)
    assert sheet["parameters"] == 11_176_512
    assert sheet["multiply_adds"] == count_macs("resnet18", 16, 224)
    kept = tmp_path / "checkpoints" / "resnet18-f37072fd.pth"
    assert sheet["weights"]["imagenet1k"]["file"] == str(kept)
    assert not sheet["weights"]["imagenet1k"]["at_hand"]
    assert "tcc" in sheet["tasks"]
    assert "speednet" not in sheet["tasks"]
    kept.parent.mkdir()
    kept.touch()
    text = runner.invoke(app, ["show", "resnet18"]).output
    assert f"(at {kept})" in text
    assert "a step sees\t1 frame\n" in text
    assert "69.758 top-1 on ImageNet-1K" in text


def test_heads_and_networks_without_weights_are_shown_too():
    headed = model_sheet("resnet18_tiny+lstm")
    assert "arrow_of_time" in headed["tasks"]
    assert "lstm_hidden" in headed["options"]
    assert "tasks\tnone: it has no weight to learn" in runner.invoke(app, ["show", "baseline_hog"]).output
    assert runner.invoke(app, ["show", "resnet19"]).exception


def test_the_zoo_is_timed_beside_the_bare_networks():
    rows = run_bench("zoo", rounds=5, models="mobilenet_tiny")  # on a busy machine a single round can be far off
    (row,) = rows
    assert (row["name"], row["dim"], row["sees, frames"], row["clip"]) == ("mobilenet_tiny", 64, 1, "16 x 48 px")
    assert float(row["forward, clips/s"]) > 0
    for mode in ("forward", "both"):
        assert 0 < float(row[f"{mode}, ours to bare"].split()[0]) < 2
        assert 0 < float(row[f"{mode}, ours to input and bare"].split()[0]) < 2
    assert "| mobilenet_tiny |" in bench_markdown("zoo", 5, rows)
    with pytest.raises(ConfigError, match="no backbone that learns matches 'baseline_hog'"):
        run_bench("zoo", models="baseline_hog")
    assert "baseline_hog" in list_models()


def test_rows_of_the_zoo_that_are_kept_are_not_timed_again(tmp_path):
    kept = tmp_path / "zoo.cells.jsonl"
    (first,) = run_bench("zoo", rounds=1, models="mobilenet_tiny", kept=kept)
    both = run_bench("zoo", rounds=1, models="[am]*net_tiny", kept=kept)
    assert [row["name"] for row in both] == ["alexnet_tiny", "mobilenet_tiny"]
    assert both[1] == first
    assert len(kept.read_text().splitlines()) == 2
    (twice,) = run_bench("zoo", rounds=2, models="mobilenet_tiny", kept=kept)  # other rounds are another measurement
    assert re.fullmatch(r"\d\.\d{3} ± \d\.\d{3}", twice["both, ours to bare"])
    assert len(kept.read_text().splitlines()) == 3
