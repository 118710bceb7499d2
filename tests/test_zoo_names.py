"""Finding backbones by name: ours, an installed package's, a user's file; listing imports nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssvid.cli.catalogue import catalogue
from ssvid.errors import ConfigError
from ssvid.plugins import import_source, locate, read_literal, read_summary
from ssvid.zoo import count_parameters, create_model, list_models, model_info

ALL = list_models()


def test_listing_needs_no_torch() -> None:
    code = (
        "import sys, ssvid.zoo as zoo; assert 's3dg' in zoo.list_models(); assert zoo.model_info('s3dg').dim == 1024; "
        "from ssvid.cli.catalogue import catalogue; rows = catalogue('models', '*_tiny+lstm')['models']; "
        "assert {row['order'] for row in rows} == {'aware'} and len(rows) > 4; "
        "assert not {'torch', 'omegaconf'} & set(sys.modules), 'something slow was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_list_models_takes_a_pattern() -> None:
    assert list_models("s3d*") == ["s3d", "s3d_tiny", "s3dg", "s3dg_small", "s3dg_tiny"]
    assert sorted(ALL) == ALL
    assert list_models("nothing*") == []


def test_combinations_are_listed_where_the_head_is_asked_for() -> None:
    assert "resnet18+lstm" in list_models("*lstm*")
    assert list_models("r3d_18*+lstm") == ["r3d_18+lstm", "r3d_18_small+lstm", "r3d_18_tiny+lstm"]
    assert {"r3d_18+gru", "r3d_18_tiny+lstm"} < set(list_models("r3d_18*+*"))
    assert not [name for name in [*list_models(), *list_models("resnet*")] if "+" in name]
    assert not [name for name in list_models("*+*") if name.startswith("baseline_")]


def test_info_follows_the_options() -> None:
    assert model_info("s3dg").options == {"temporal_stride": True}
    assert model_info("s3dg").temporal_stride == 8
    kept = model_info("s3dg", temporal_stride=False)
    assert (kept.temporal_stride, kept.min_frames, kept.options) == (1, 1, {"temporal_stride": False})
    assert model_info("resnet18", output_stride=8).spatial_stride == 8


def test_unknown_names_and_options_are_explained() -> None:
    with pytest.raises(ConfigError, match=r"'s3gd'.*Did you mean s3d.*ssvid list"):
        create_model("s3gd")
    with pytest.raises(ConfigError, match=r"no option 'stride'.*Its options: temporal_stride, input"):
        model_info("r3d_18", stride=1)
    with pytest.raises(ConfigError, match="'maybe' is not bool"):
        model_info("r3d_18", temporal_stride="maybe")
    with pytest.raises(ConfigError, match="output_stride: 4 is not one of 32, 16, 8"):
        model_info("resnet18", output_stride=4)


FAMILY = '''"""A family of one."""
from torch import nn
from ssvid.zoo.backbone import PerFrame

MODELS = {"one": {"description": "one convolution", "frames": 8, "size": 32, "mean": (0.5, 0.5, 0.5),
    "std": (0.2, 0.2, 0.2), "source": "here", "licence": "Apache-2.0"}}

def build(name, *, bias: bool = True):
    return PerFrame(nn.Conv2d(3, 4, 2, 2, bias=bias))
'''


def test_a_users_file_is_a_family(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(FAMILY)
    backbone = create_model(f"{file}:one", bias=False)
    assert backbone(torch.zeros(2, 3, 5, 32, 32)).shape == (2, 4, 5, 16, 16)
    assert count_parameters(backbone) == 48
    assert create_model(backbone.info.name, **backbone.info.options).info == backbone.info
    with pytest.raises(ConfigError, match=r"has no backbone 'two'\. Its MODELS has: one"):
        create_model(f"{file}:two")
    with pytest.raises(ConfigError, match="Cannot read"):
        create_model(f"{tmp_path / 'none.py'}:one")


def test_a_users_mistakes_are_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    for text, message in (
        (FAMILY.replace('"frames": 8', '"frames": len("four")'), "plain literal"),
        (FAMILY.replace('"frames": 8', '"frames": 8, "length": 8'), "unknown fields length"),
        (FAMILY.replace('"frames": 8', '"frames": 8, "dim": 4'), "dim of MODELS are measured"),
        (FAMILY.replace('"licence": "Apache-2.0"', ""), "licence"),
        (FAMILY.replace("bias: bool", "bias: Switch"), "bias of build needs a type of int"),
        (FAMILY.replace("bias: bool = True", "bias: bool"), "bias of build needs a default"),
        (FAMILY.replace("def build", "def make"), "no function build"),
        ("MODELS = {", "not valid Python"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=message):
            model_info(f"{file}:one")


def install(folder: Path, entries: str) -> None:
    """A package `third_party_zoo` as pip would leave it; importing the package itself fails, so listing must not."""
    package = folder / "third_party_zoo"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('listing must not import')")
    (package / "one.py").write_text(FAMILY)
    (package / "broken.py").write_text("MODELS = {")
    meta = folder / "third_party_zoo-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party-zoo\nVersion: 1.0\n")
    (meta / "entry_points.txt").write_text(f"[ssvid.backbones]\n{entries}\n")


def test_installed_families_are_found_without_importing_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(tmp_path, "one = third_party_zoo.one\nbroken = third_party_zoo.broken\ngone = third_party_zoo.gone")
    monkeypatch.syspath_prepend(tmp_path)
    assert sorted([*ALL, "one"]) == list_models()
    assert "one" in list_models("o*")
    assert next(row for row in catalogue("models")["models"] if row["name"] == "one")["dim"] == "?"
    assert "broken.py" in caplog.text
    assert "third_party_zoo.gone" in caplog.text
    assert not [module for module in sys.modules if module.startswith("third_party_zoo")]
    (tmp_path / "third_party_zoo" / "__init__.py").write_text("")
    assert model_info("one").dim == 4
    assert create_model("one", bias=True)(torch.zeros(1, 3, 2, 4, 4)).shape == (1, 4, 2, 2, 2)
    assert "third_party_zoo.one" in sys.modules
    for module in ("third_party_zoo", "third_party_zoo.one"):
        monkeypatch.delitem(sys.modules, module)


def test_sources_are_read_and_imported_by_their_own_name(tmp_path: Path) -> None:
    ours = locate("ssvid.zoo.encoders.s3d")
    assert ours is not None
    assert read_summary(ours).startswith("S3D and S3D-G")
    assert import_source(ours).__name__ == "ssvid.zoo.encoders.s3d"
    assert locate("ssvid.zoo.no_such_family") is None
    assert locate("no_such_package.family") is None

    file = tmp_path / "mine.py"
    file.write_text("names: list = ['a', 'b']\nlater = len(names)\n")
    assert read_summary(file) == ""
    assert read_literal(file, "names") == ["a", "b"]
    assert read_literal(file, "absent") is None
    assert import_source(file).later == 2
    file.write_text("raise ValueError('mine')\n")
    with pytest.raises(ValueError, match="mine"):
        import_source(file)
