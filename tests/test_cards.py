"""Weights that come with the package, and cards: how a network is built that weights are for, and shown a video."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssvid.config import PretrainConfig, load_config
from ssvid.errors import ConfigError
from ssvid.evaluation.export_weights import export_weights, table_scores
from ssvid.evaluation.features import View
from ssvid.training.build import build_task
from ssvid.training.fit import pretrain
from ssvid.training.models import open_model
from ssvid.training.run import Run
from ssvid.zoo import ModelName, create_model, model_info
from ssvid.zoo.cards import CORRESPONDENCE, MOTION, PACKAGED, card_of, packaged_file
from ssvid.zoo.registry import ENCODERS, catalogue

ROOT = Path(__file__).parents[1]
SHIPPED = [
    f"{name}@{tag}"
    for name, entry in catalogue(ENCODERS).items()
    for tag, address in entry.fields.get("weights", {}).items()
    if address.startswith(f"{PACKAGED}ssvid/")
]


@pytest.fixture(scope="module")
def pace_run(world_index, tmp_path_factory) -> Run:
    """A run of two steps, too few to have learnt anything."""
    out = tmp_path_factory.mktemp("cards") / "run"
    config = PretrainConfig(
        task="pace",
        backbone="r3d_18_tiny",
        data=[str(world_index.path)],
        out=str(out),
        steps=2,
        batch=2,
        workers=0,
        accelerator="cpu",
        options={"frames": 8, "size": 32, "contrast": 0.5},
    )
    return pretrain(config)


def address_of(name: str) -> str:
    parts = ModelName.parse(name)
    return catalogue(ENCODERS)[parts.encoder].fields["weights"][parts.weights]


def test_a_network_of_motion_and_one_of_correspondence_come_with_the_package():
    assert {MOTION, CORRESPONDENCE} <= set(SHIPPED)
    assert sum(packaged_file(address_of(name)).stat().st_size for name in SHIPPED) < 30e6


@pytest.mark.parametrize("name", SHIPPED)
def test_what_comes_with_the_package_is_built_and_shown_as_its_card_says(name):
    card = card_of(ModelName.parse(name))
    model = open_model(name)
    assert dict(model.backbone.info.options) == dict(model_info(name).options)
    assert {option: model.backbone.info.options[option] for option in card["backbone_options"]} == card[
        "backbone_options"
    ]
    view = View(**model.view)
    with torch.inference_mode():
        features = model.backbone(torch.rand(1, 3, view.frames, view.size, view.size))
    assert features.isfinite().all()
    assert features.std() > 0
    for fact in ("licence", "seconds", "hardware", "steps", "scores"):
        assert card[fact], fact
    assert card["data"]["description"]
    assert (ROOT / card["recipe"]).is_file()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_recipe_that_comes_with_weights_is_the_one_they_were_made_with(name):
    card = card_of(ModelName.parse(name))
    recipe = load_config(ROOT / card["recipe"])
    assert (recipe.task, recipe.backbone, recipe.steps, recipe.batch) == tuple(
        card[key] for key in ("task", "backbone", "steps", "batch")
    )
    assert recipe.options == card["options"]
    assert recipe.backbone_options.items() <= card["backbone_options"].items()


def test_the_options_of_a_card_hold_unless_others_are_given():
    assert model_info("r3d_18_small").options.get("input", "rgb") == "rgb"
    assert model_info(MOTION).options["input"] == "flow"
    assert create_model("r3d_18_small", weights="pace").info.options["input"] == "flow"
    assert create_model(MOTION, input="residual").info.options["input"] == "residual"


def test_pretraining_goes_on_with_the_options_of_the_weights_it_begins_from():
    config = PretrainConfig(task="dpc", backbone="r3d_18_small", data=["d"], init="pace", options={"size": 32})
    started = build_task(config).backbone
    assert started.info.options["input"] == "flow"
    kept = open_model(MOTION).backbone.state_dict()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in started.state_dict().items())


def test_a_card_counts_for_the_network_it_names_and_no_other(tmp_path):
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / "card.json").write_text(json.dumps({"backbone": "r3d_18_tiny", "backbone_options": {"input": "flow"}}))
    assert card_of(ModelName.parse(f"r3d_18_tiny@{folder}"))["backbone_options"] == {"input": "flow"}
    assert card_of(ModelName.parse(f"resnet18_tiny@{folder}")) == {}
    assert card_of(ModelName.parse("r3d_18@kinetics400")) == {}
    assert card_of(ModelName.parse("r3d_18")) == {}


def test_reading_a_card_imports_no_torch():
    code = f"import sys; from ssvid.zoo import model_info; model_info({MOTION!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_exported_weights_are_the_runs_with_what_a_table_found(pace_run, tmp_path):
    table = {
        "rows": [
            {"name": "random init", "facts": {"backbone": "a"}, "scores": {"svm": [10.0, 20.0]}},
            {"name": "random init", "facts": {"backbone": "b"}, "scores": {"svm": [90.0]}},
            {"name": "pace", "facts": {"backbone": "a"}, "scores": {"svm": [30.0, 50.0]}},
        ]
    }
    path = tmp_path / "t.json"
    path.write_text(json.dumps(table))
    assert table_scores(path, "pace") == {"svm": {"pretrained": 40.0, "random init": 15.0}}
    with pytest.raises(ConfigError, match="no row 'dpc'; it has: pace, random init"):
        table_scores(path, "dpc")
    folder = export_weights(pace_run, tmp_path / "out", {"frames": 20}, {"licence": "mine"}, [f"{path}=pace"])
    card = json.loads((folder / "card.json").read_text())
    assert card["view"]["frames"] == 20
    assert card["scores"] == {"t": {"svm": {"pretrained": 40.0, "random init": 15.0}}}
    name = f"{card['backbone']}@{folder}"
    there, here = open_model(name).backbone.state_dict(), pace_run.load().state_dict()
    assert all(torch.equal(tensor, there[key]) for key, tensor in here.items())
    assert (folder / "backbone.safetensors").stat().st_mode & 0o777 == path.stat().st_mode & 0o777
    shutil.rmtree(folder)
