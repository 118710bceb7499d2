"""Weights by name, of a run and of files: what fits is used, what does not is refused, nothing is unpickled."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from ssvid.errors import ConfigError, DataError
from ssvid.zoo import ModelName, create_model, list_models
from ssvid.zoo.registry import ENCODERS, catalogue
from ssvid.zoo.weights import bare, load_weights


def pixels(T: int = 8, size: int = 32) -> torch.Tensor:
    return torch.rand(2, 3, T, size, size, generator=torch.Generator().manual_seed(0))


def normalised(net: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    return (x - net.mean) / net.std  # type: ignore[operator]


def test_features_of_torchvision_weights_are_those_of_torchvision(tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = torchvision.models.video.r3d_18(weights=None).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm3d):  # running statistics that differ from a fresh network's
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    file = tmp_path / "theirs.safetensors"
    save_file(theirs.state_dict(), file)
    kept = []
    theirs.layer4.register_forward_hook(lambda module, inputs, output: kept.append(output.mean((2, 3, 4))))
    for ours in (create_model(f"r3d_18@{file}"), create_model("r3d_18", weights=str(file))):
        with torch.no_grad():
            features = ours.eval()(pixels()).mean((2, 3, 4))
            theirs(normalised(ours, pixels()))
        torch.testing.assert_close(features, kept[-1], atol=1e-5, rtol=1e-5)
    assert ours.info.name == "r3d_18"


@pytest.mark.parametrize(("name", "theirs"), [("resnet18", "resnet18"), ("s3d", "s3d")])
def test_other_families_take_the_names_of_torchvision(name: str, theirs: str, tmp_path: Path, caplog) -> None:
    state = torchvision.models.get_model(theirs, weights=None).state_dict()
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}, tmp_path / "a.pth")
    with caplog.at_level(logging.INFO):
        loaded = load_weights(create_model(name), tmp_path / "a.pth")
    assert {key.split(".")[1] for key in loaded.unused} == {"fc" if name == "resnet18" else "classifier"}
    assert loaded.fresh == ()
    assert loaded.unused[0] in caplog.text


def test_a_head_may_come_without_weights_and_keeps_its_own(tmp_path: Path) -> None:
    encoder, whole = create_model("resnet18_tiny"), create_model("resnet18_tiny+lstm")
    save_file(encoder.state_dict(), tmp_path / "encoder.safetensors")
    before = whole.trunk.temporal.lstm.weight_hh_l0.clone()
    loaded = load_weights(whole, tmp_path / "encoder.safetensors")
    assert all(name.startswith("trunk.temporal.lstm") for name in loaded.fresh)
    assert torch.equal(whole.trunk.temporal.lstm.weight_hh_l0, before)
    x = pixels()
    torch.testing.assert_close(whole.eval().trunk.encoder(x), encoder.eval().trunk(x))
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    again = create_model("resnet18_tiny+lstm", weights=str(tmp_path / "whole.safetensors")).eval()
    torch.testing.assert_close(again(x), whole(x))
    # a file of the whole serves the encoder too, and says what it left
    assert {bare(name).split(".")[0] for name in load_weights(encoder, tmp_path / "whole.safetensors").unused} == {
        "temporal"
    }


def refused(file: Path, text: str, name: str = "resnet18_tiny") -> None:
    with pytest.raises(DataError, match=text) as caught:
        load_weights(create_model(name), file)
    assert str(file) in str(caught.value)


def test_files_that_do_not_fit_are_refused_with_the_first_tensors(tmp_path: Path) -> None:
    state = dict(create_model("resnet18_tiny").state_dict())
    file = tmp_path / "w.safetensors"
    save_file({key: value for key, value in state.items() if "0.0.weight" not in key}, file)
    refused(file, r"1 tensors are missing, as trunk\.net\.0\.0\.weight")
    save_file(state | {"trunk.net.0.0.weight": torch.zeros(16, 3, 5, 5)}, file)
    refused(file, r"trunk\.net\.0\.0\.weight is 16 x 3 x 7 x 7 in the network and 16 x 3 x 5 x 5 in the file")
    save_file(state | {"module.net.0.0.weight": torch.zeros(16, 3, 7, 7)}, file)
    refused(file, "holds two networks")
    save_file(create_model("r3d_18_tiny").state_dict(), file)
    refused(file, "it holds trunk.0")
    file.write_bytes(b"nothing")
    refused(file, "cannot be read as weights")


class Runs:
    """What an attacker would put into a checkpoint."""

    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def test_no_code_of_a_file_is_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"net": Runs()}, tmp_path / "bad.pth")
    refused(tmp_path / "bad.pth", "cannot be read as tensors alone")
    assert not (tmp_path / "ran").exists()
    (tmp_path / "bad.ckpt").write_bytes(b"")
    refused(tmp_path / "bad.ckpt", "are read from .safetensors, .pt, .pth and .pyth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    refused(tmp_path / "list.pth", "no tensors by name")


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:FutureWarning")
def test_named_weights_are_those_of_the_libraries() -> None:
    hubs = [
        importlib.import_module(f"pytorchvideo.models.hub.{name}")
        for name in ("csn", "r2plus1d", "resnet", "slowfast", "x3d")
    ]
    known = {url for hub in hubs for url in hub.checkpoint_paths.values()}
    for builder in torchvision.models.list_models():
        known |= {member.value.url for member in torchvision.models.get_model_weights(builder)}
    named = {name: entry.fields["weights"] for name, entry in catalogue(ENCODERS).items() if "weights" in entry.fields}
    for name, weights in named.items():
        for tag, url in weights.items():
            if url.startswith("package:ssvid/"):  # our own, of which test_cards tells
                continue
            if not url.startswith("package:"):  # of which test_zoo_efficientnet tells
                assert url in known, name
            assert tag in ("imagenet1k", "kinetics400")
        if name in torchvision.models.list_models():
            assert set(weights.values()) <= {member.value.url for member in torchvision.models.get_model_weights(name)}
    assert {"resnet50", "r3d_18", "s3d", "slow_r50", "mvit_v2_s", "swin3d_t"} <= set(named)


NAMED = '''"""A family with weights by name."""
from torch import nn
from ssvid.zoo.backbone import PerFrame

MODELS = {"one": {"description": "one convolution", "frames": 8, "size": 32, "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2),
    "source": "here", "licence": "Apache-2.0", "weights": {"mine": "URL"}}}

def build(name):
    return PerFrame(nn.Sequential(nn.Conv2d(3, 4, 2, 2)))
'''


def test_named_weights_are_downloaded_once_or_asked_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    served = tmp_path / "served" / "one.pth"
    served.parent.mkdir()
    family = tmp_path / "mine.py"
    family.write_text(NAMED.replace("URL", served.as_uri()))
    kept = tmp_path / "torch" / "hub" / "checkpoints" / "one.pth"
    with pytest.raises(DataError, match="cannot be downloaded") as caught:
        create_model(f"{family}:one@mine")
    assert f"put {served.as_uri()} at {kept}" in str(caught.value)
    torch.manual_seed(3)
    torch.save(create_model(f"{family}:one").trunk.net.state_dict(), served)
    first = create_model(f"{family}:one@mine")
    served.unlink()
    assert kept.is_file()
    torch.testing.assert_close(create_model(f"{family}:one", weights="mine")(pixels()), first(pixels()))
    with pytest.raises(ConfigError, match=r"has no weights 'yours'.*It has: mine"):
        create_model(f"{family}:one@yours")
    with pytest.raises(DataError, match="does not exist"):
        create_model(f"{family}:one@no.safetensors")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("resnet18", ("resnet18", "", "")),
        ("resnet18+lstm", ("resnet18", "lstm", "")),
        ("r3d_18@kinetics400", ("r3d_18", "", "kinetics400")),
        ("timm/resnet50.a1_in1k+lstm@runs/a+b@c", ("timm/resnet50.a1_in1k", "lstm", "runs/a+b@c")),
        ("a/b.py:one+c/d.py:two@w.pth", ("a/b.py:one", "c/d.py:two", "w.pth")),
    ],
)
def test_names_are_taken_apart_and_put_together(text: str, parts: tuple[str, str, str]) -> None:
    name = ModelName.parse(text)
    assert (name.encoder, name.temporal, name.weights) == parts
    assert str(name) == text


@pytest.mark.parametrize("text", ["", "+lstm", "@x", "resnet18+", "resnet18@", "a+b+c"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a model's name"):
        ModelName.parse(text)


def test_no_two_names_share_a_slug() -> None:
    texts = [
        "timm/x",
        "timm_x",
        "timm=2Fx",
        "timm%2Fx",
        "x",
        "x+lstm",
        "x@lstm",
        "x~1",
        "a b",
        "a=b",
        "é",
        *list_models("*"),
    ]
    slugs = [ModelName.parse(text).slug for text in texts]
    assert len(set(slugs)) == len(texts)
    assert slugs[0] == "timm=2Fx"
    assert all(
        set(slug) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+@_-.=") for slug in slugs
    )
    assert ModelName.parse("resnet18_tiny+lstm").slug == "resnet18_tiny+lstm"
