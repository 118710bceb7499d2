"""A family and a temporal head from files outside the package: they keep the contract, are measured when first used, and train."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssvid.config import PretrainConfig
from ssvid.errors import ConfigError
from ssvid.evaluation.tables.entries import ModelEntry
from ssvid.training import fit as loop
from ssvid.training.build import build_task
from ssvid.training.run import Run
from ssvid.zoo import count_macs, create_model, isolated_maps, list_models, model_info
from ssvid.zoo.geometry import encoder_geometry
from ssvid.zoo.info import POOLED
from ssvid.zoo.registry import ENCODERS, find
from ssvid.zoo.stream import open_stream
from tests import zoo_contract as contract

FAMILY = '''"""Convolutions over time and space, strided."""
from typing import Literal
from torch import nn

MODELS = {"one": {"description": "two convolutions", "frames": 8, "size": 32, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25),
    "source": "here", "licence": "Apache-2.0"}}

def build(name, *, width: int = 6, cell: Literal[4, 8] = 4):
    layers = [nn.Conv3d(3, width, 3, (2, 2, 2), 1), nn.Tanh(), nn.Conv3d(width, width, (3, 3, 3), (1, cell // 2, cell // 2), 1)]
    return nn.Sequential(*layers, nn.BatchNorm3d(width))
'''
HEAD = '''"""Differences of neighbouring steps, weighted."""
from torch import nn

HEADS = {"change": {"description": "differences of steps", "source": "here", "licence": "Apache-2.0"}}

def build(name, dim, *, width: int = 0):
    return Change(dim, width or 5)

class Change(nn.Module):
    def __init__(self, dim, width):
        super().__init__()
        self.mix = nn.Conv3d(dim, width, 1)

    def forward(self, maps):
        return self.mix(maps.diff(dim=2).tanh())
'''


@pytest.fixture
def family(tmp_path: Path, monkeypatch) -> str:
    monkeypatch.setenv("SSVID_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.py").write_text(FAMILY)
    return f"{tmp_path}/mine.py:one"


@pytest.fixture
def head(tmp_path: Path) -> str:
    (tmp_path / "head.py").write_text(HEAD)
    return f"{tmp_path}/head.py:change"


def test_a_family_of_a_user_keeps_the_contract(family):
    info = model_info(family)
    assert (info.dim, info.temporal_stride, info.spatial_stride, info.min_frames, info.min_size) == (6, 2, 4, 1, 1)
    assert (info.temporal_rf, info.order) == (3 + 2 * 2, "aware")
    contract.check_all(family)
    contract.check_all(family, cell=8, width=4)
    assert model_info(family, cell=8, width=4).spatial_stride == 8


def test_what_was_never_measured_can_be_counted_at_once(family):
    assert count_macs(family, 8, 32) == 6 * 4 * 16**2 * 3 * 27 + 6 * 4 * 8**2 * 6 * 27


def test_a_network_may_be_shown_a_still_clip_where_kernels_cannot_be_folded(family, tmp_path):
    (tmp_path / "mine.py").write_text(FAMILY.replace('"licence"', '"isolation": "still", "licence"'))
    backbone, x = create_model(family).eval(), torch.rand(1, 3, 3, 32, 32)
    for mode in ("replicate", "static"):
        contract.check_isolation(family, {}, mode)
    still = backbone(x[:, :, 1:2].expand(-1, -1, backbone.info.frames, -1, -1)).mean(2)
    torch.testing.assert_close(isolated_maps(backbone, x)[:, :, 1], still)


def test_a_head_of_a_user_keeps_the_contract_on_every_small_encoder(family, head):
    info = model_info(f"r3d_18_tiny+{head}")
    assert (info.dim, info.min_frames, info.temporal_rf) == (5, 1 + 4, 25 + 4)
    assert model_info(f"r3d_18_tiny+{head}", change_width=3).dim == 3
    for name in (f"resnet18_tiny+{head}", f"mc3_18_tiny+{head}", f"{family}+lstm"):
        contract.check_info(name)
        contract.check_learning(name, {})
        contract.check_order(name, {})
        contract.check_names(name)
    assert model_info(f"{family}+lstm").spatial_stride == POOLED
    assert create_model(f"resnet18_tiny+{head}")(torch.rand(1, 3, 6, 48, 48)).shape == (1, 5, 5, 6, 6)


STEPWISE = '''"""Sum of the steps so far."""
from ssvid.zoo.recurrence import StepByStep

HEADS = {"total": {"description": "running sums", "source": "here", "licence": "Apache-2.0"}}

def build(name, dim):
    return Total()

class Total(StepByStep):
    def forward(self, maps):
        return maps.cumsum(2)

    def step(self, maps, state):
        total = maps if state is None else state + maps
        return total, total
'''


@torch.no_grad()
def test_a_head_of_a_user_streams_where_it_takes_steps(tmp_path, monkeypatch):
    monkeypatch.setenv("SSVID_CACHE", str(tmp_path / "cache"))
    (tmp_path / "total.py").write_text(STEPWISE)
    backbone = create_model(f"resnet18_tiny+{tmp_path}/total.py:total").eval()
    assert backbone.info.streams
    stream, x = open_stream(backbone), torch.rand(1, 3, 5, 32, 32)
    state, given = stream.init_state(1, torch.device("cpu")), []
    for frame in x.unbind(2):
        out, state = stream.step(frame, state)
        given.append(out)
    torch.testing.assert_close(torch.stack(given, 2), backbone(x))


def test_measuring_is_done_once_and_again_when_the_file_changes(family, tmp_path):
    model_info(family)
    (kept,) = (tmp_path / "cache" / "geometry").iterdir()
    written = kept.stat().st_mtime_ns
    assert model_info(family).dim == 6
    assert kept.stat().st_mtime_ns == written
    (tmp_path / "mine.py").write_text(FAMILY.replace("width: int = 6", "width: int = 7"))
    assert model_info(family).dim == 7


def test_measuring_leaves_the_random_state_alone(family):
    torch.manual_seed(0)
    first = create_model(family).state_dict()  # measures
    torch.manual_seed(0)
    again = create_model(family).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)


@pytest.mark.parametrize(
    "model", ["family", "family+head", "resnet18_tiny+head", "resnet18_tiny+lstm", "family+gru_rcn"]
)
def test_they_train(model, family, head, world_index, tmp_path):
    name = "+".join({"family": family, "head": head}.get(part, part) for part in model.split("+"))
    config = PretrainConfig(
        task="arrow_of_time",
        backbone=name,
        data=[str(world_index.path)],
        out=str(tmp_path / "run"),
        steps=2,
        batch=4,
        workers=0,
        options={"frames": 8, "size": 32, "stride": 1, "min_motion": 0.0},
    )
    run = loop.pretrain(config)
    assert run.metrics()[-1]["step"] == 2
    loaded = Run(run.path).load()
    assert loaded.info.name == name
    assert loaded(torch.rand(1, 3, 8, 32, 32)).isfinite().all()


def test_arrow_of_time_takes_flow_of_an_image_network_and_not_its_colours():
    def build(**options) -> None:
        build_task(PretrainConfig(task="arrow_of_time", backbone="resnet18_tiny", data=["d"], options=options))

    build(input="flow")
    with pytest.raises(ConfigError, match="the features of resnet18_tiny are the same in any order"):
        build()


LIBRARY = '''"""Networks of a library, by its own names."""
from torch import nn
from ssvid.errors import ConfigError
from ssvid.zoo.backbone import PerFrame

PREFIX = "lib/"
MODELS = {"*": {"frames": 8, "size": 32, "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2), "source": "lib", "licence": "MIT"}}

def describe(name):
    if not name.startswith("net"):
        raise ConfigError(f"lib has no {name}")
    return {"description": f"{name} of a library"}

def build(name, *, bias: bool = True):
    return PerFrame(nn.Conv2d(3, int(name.removeprefix("net")), 4, 4, bias=bias))
'''


def test_a_family_serves_the_names_of_a_library_unlisted(tmp_path, monkeypatch):
    package, meta = tmp_path / "wrapped_library", tmp_path / "wrapped_library-1.dist-info"
    for folder in (package, meta):
        folder.mkdir()
    (package / "__init__.py").write_text("")
    (package / "lib.py").write_text(LIBRARY)
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: wrapped-library\nVersion: 1\n")
    (meta / "entry_points.txt").write_text("[ssvid.backbones]\nlib = wrapped_library.lib\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SSVID_CACHE", str(tmp_path / "cache"))
    info = model_info("lib/net12", bias=False)
    assert (info.name, info.dim, info.spatial_stride, info.description) == ("lib/net12", 12, 4, "net12 of a library")
    assert create_model("lib/net12+lstm")(torch.rand(1, 3, 4, 32, 32)).shape == (1, 12, 4, 1, 1)
    assert "lib/net12" not in list_models()
    with pytest.raises(ConfigError, match="lib has no tree"):
        model_info("lib/tree")


def test_a_floor_that_the_trunk_states_holds(family, tmp_path):
    text = FAMILY.replace("    return nn.Sequential(*layers, ", "    net = nn.Sequential(*layers, ")
    (tmp_path / "mine.py").write_text(text + "    net.min_frames = 4\n    return net\n")
    entry = find(ENCODERS, family)
    assert encoder_geometry(entry, entry.settings({})).min_frames == 4


def test_an_edited_file_is_another_network(family):
    entry = ModelEntry("mine", family, {}, seed=0)
    torch.manual_seed(0)
    digest, weights = create_model(family).digest(), entry.weights
    file = Path(family.partition(":")[0])
    file.write_text(file.read_text().replace("nn.Tanh", "nn.ReLU"))
    torch.manual_seed(0)
    edited = create_model(family)
    assert isinstance(edited.trunk[1], torch.nn.ReLU)  # not the bytecode of the file before
    assert edited.digest() != digest
    assert entry.weights != weights
