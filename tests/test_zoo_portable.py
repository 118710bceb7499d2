"""A backbone can be saved, cast, laid out anew and taken away as a plain torch program: every small one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ssvid.zoo import Backbone, create_model, list_models, model_info
from ssvid.zoo.backbone import channels_last

every_tiny = pytest.mark.parametrize("name", list_models("*_tiny"))


def made(name: str) -> tuple[Backbone, Tensor]:
    """A backbone in eval mode and two clips for it."""
    torch.manual_seed(0)
    backbone = create_model(name).eval()
    info = model_info(name)
    return backbone, torch.rand(2, 3, max(8, info.min_frames), 32, 32)


@every_tiny
def test_saved_and_loaded_it_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    backbone, clips = made(name)
    save_file(backbone.state_dict(), tmp_path / "backbone.safetensors")
    torch.manual_seed(1)
    again = create_model(name, weights=str(tmp_path / "backbone.safetensors")).eval()
    with torch.no_grad():
        assert torch.equal(again(clips), backbone(clips))
    assert again.digest() == backbone.digest()


@every_tiny
def test_in_mixed_precision_it_gives_about_the_same_and_learns(name: str) -> None:
    backbone, clips = made(name)
    with torch.no_grad():
        maps = backbone(clips)
    with torch.autocast("cpu", torch.bfloat16):
        lower = backbone(clips)
        lower.float().square().mean().backward()
    assert (lower.float() - maps).norm() < 0.05 * maps.norm()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in backbone.parameters())


@every_tiny
def test_channels_last_it_gives_the_same(name: str) -> None:
    backbone, clips = made(name)
    with torch.no_grad():
        maps = backbone(clips)
        laid_out = channels_last(backbone)(clips.to(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(laid_out, maps, atol=1e-5, rtol=1e-4)


@every_tiny
def test_it_can_be_taken_away_by_torch_export(name: str) -> None:
    backbone, clips = made(name)
    program = torch.export.export(backbone.trunk, (clips,))
    other = clips.flip(2)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(other), backbone.trunk(other), atol=1e-5, rtol=1e-4)
