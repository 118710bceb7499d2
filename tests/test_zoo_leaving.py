"""Ways out of the toolkit for every small backbone: its file, other number formats and layouts, and torch.export."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from ssvid.zoo import create_model, list_models
from ssvid.zoo.backbone import channels_last
from tests.zoo_contract import build, clip

every_tiny = pytest.mark.parametrize("name", list_models("*_tiny"))


@every_tiny
def test_a_file_brings_back_the_same_bits(name, tmp_path):
    backbone = create_model(name).eval()
    save_file(backbone.state_dict(), tmp_path / "net.safetensors")
    again = create_model(name, weights=str(tmp_path / "net.safetensors")).eval()
    x = clip(1, 16, 48).float().sigmoid()
    assert torch.equal(again(x), backbone(x))


@every_tiny
def test_other_layouts_and_formats_give_the_same_features(name):
    backbone = build(name).float()
    x = clip(1, 16, 48).float().sigmoid()
    with torch.no_grad():
        maps = backbone(x)
        with torch.autocast("cpu", torch.bfloat16):
            coarse = backbone(x)
        torch.testing.assert_close(channels_last(backbone)(x), maps, rtol=1e-4, atol=1e-4)
    assert (coarse.float() - maps).norm() < 0.1 * maps.norm()


@every_tiny
@pytest.mark.filterwarnings("ignore")
def test_the_plain_network_can_be_exported(name):
    backbone = build(name).float()
    x = clip(1, 16, 48).float().sigmoid()
    program = torch.export.export(backbone, (x,))
    torch.testing.assert_close(program.module()(x), backbone(x), rtol=1e-4, atol=1e-4)
