"""The one door to models: a run, a name, NAME@WEIGHTS, a file."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import ssvid
from ssvid.config import PretrainConfig
from ssvid.errors import ConfigError, DataError
from ssvid.training.build import build_task
from ssvid.training.fit import make_card
from ssvid.training.models import find_model, open_model
from ssvid.training.run import Run
from ssvid.zoo import ModelName, create_model


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A run as pretraining leaves it, its backbone that of flow."""
    out = str(tmp_path_factory.mktemp("door") / "run")
    config = PretrainConfig(
        task="arrow_of_time",
        backbone="resnet18_tiny",
        data=["d"],
        out=out,
        options={"input": "flow", "frames": 6, "size": 32},
    )
    made = Run.create(config)
    task = build_task(config)
    made.export(task.backbone, make_card(task, config, []))
    return made


@pytest.fixture
def clips() -> torch.Tensor:
    return torch.rand(2, 3, 6, 32, 32, generator=torch.Generator().manual_seed(0))


def test_a_run_and_its_file_are_the_same_model(run, clips):
    by_folder, by_file = open_model(run.path), open_model(run.path / "backbone.safetensors")
    assert torch.equal(by_folder.backbone(clips), by_file.backbone(clips))
    assert not by_folder.backbone.training
    assert by_folder.run.path == run.path
    assert by_file.run is None
    assert by_folder.name == ModelName("resnet18_tiny", "", str(run.path))
    assert by_folder.view == by_file.view == dict(by_folder.run.card["view"])
    assert by_folder.view["frames"] == 7  # flow lies between frames
    assert by_folder.backbone.info.options["input"] == by_file.backbone.info.options["input"] == "flow"
    assert torch.equal(ssvid.load(run.path)(clips), by_folder.backbone(clips))


def test_a_run_gives_its_weights_to_a_name_with_a_head(run):
    model = open_model(f"resnet18_tiny+lstm@{run.path}")
    trained = Run(run.path).load()
    for name, tensor in model.backbone.trunk.encoder.state_dict().items():
        assert torch.equal(tensor, trained.trunk.state_dict()[name])
    assert model.name.weights == str(run.path)


def test_random_weights_are_decided_by_the_seed_and_leave_the_state_alone(clips):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (open_model("r3d_18_tiny", seed=seed).backbone for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first(clips), again(clips))
    assert not torch.equal(first(clips), other(clips))
    torch.manual_seed(1)
    assert torch.equal(create_model("r3d_18_tiny").eval()(clips), first(clips))


def test_what_is_no_model_is_said(run, tmp_path):
    with pytest.raises(DataError, match="not a run folder"):
        find_model(run.path.parent)
    shutil.copy(run.path / "backbone.safetensors", tmp_path / "w.safetensors")
    with pytest.raises(DataError, match=r"name it too, as r3d_18@.*w\.safetensors"):
        find_model(tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match="resnet81 is neither a run folder nor a backbone"):
        open_model("resnet81")
    with pytest.raises(ConfigError, match=r"Unknown temporal head 'lstn'.*Did you mean lstm"):
        open_model("resnet18_tiny+lstn")


def test_a_card_of_the_first_version_loads_and_one_of_unknown_options_is_refused(run, tmp_path, clips):
    folder = tmp_path / "run"
    shutil.copytree(run.path, folder)
    card = json.loads((folder / "card.json").read_text())
    old = card | {"backbone_options": {"padding": "zeros", "input": "flow"}, "ssvid": "0.1.0"}
    (folder / "card.json").write_text(json.dumps(old))
    assert torch.equal(ssvid.load(folder)(clips), ssvid.load(run.path)(clips))
    (folder / "card.json").write_text(json.dumps(old | {"backbone_options": {"warp": 9}}))
    with pytest.raises(DataError, match=r"made by ssvid 0\.1\.0 .* no option 'warp'.*pretrain again"):
        ssvid.load(folder)


def test_pretraining_may_begin_from_any_weights(run):
    def weights(**settings) -> torch.Tensor:
        config = PretrainConfig(
            task="arrow_of_time",
            data=["d"],
            seed=7,
            options={"input": "flow"},
            **({"backbone": "resnet18_tiny"} | settings),
        )
        return build_task(config).backbone.state_dict()["trunk.net.0.0.weight"]

    trained = run.load().state_dict()["trunk.net.0.0.weight"]
    assert not torch.equal(weights(), trained)
    assert torch.equal(weights(init=str(run.path)), trained)
    assert torch.equal(weights(init=str(run.path / "backbone.safetensors")), trained)
    assert torch.equal(weights(backbone=f"resnet18_tiny@{run.path}"), trained)


def test_the_card_names_the_network_and_not_what_it_began_with(run):
    config = PretrainConfig(
        task="arrow_of_time", data=["d"], backbone=f"resnet18_tiny+lstm@{run.path}", options={"frames": 6, "size": 32}
    )
    assert make_card(build_task(config), config, [])["backbone"] == "resnet18_tiny+lstm"
