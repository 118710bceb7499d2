"""What a backbone is input_modality: changes or flow instead of colours, and that an exported one keeps to what it was trained on."""

from __future__ import annotations

import pytest
import torch

from pretext.arrow_of_time import ArrowOfTime
from pretext.clip_order import ClipOrder
from ssvid.config import PretrainConfig
from ssvid.data.flow import flow_pictures
from ssvid.errors import ConfigError
from ssvid.training.fit import make_card
from ssvid.zoo import create_model, model_info


@pytest.fixture
def clips() -> torch.Tensor:
    return torch.rand(2, 3, 9, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["residual", "flow"])
def test_the_trunk_sees_what_the_input_makes_of_the_clip(name, clips):
    net = create_model("r3d_18_tiny", input=name).eval()
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (net.info.mean, net.info.std))
    made = {"residual": (clips / std).diff(dim=2), "flow": flow_pictures(clips)}[name]
    torch.testing.assert_close(net((clips - mean) / std), net.trunk(made), atol=1e-3, rtol=1e-3)
    assert net.info.options["input"] == name
    assert net.info.min_frames == model_info("r3d_18_tiny").min_frames + 1


def test_colours_are_the_default_and_leave_no_trace():
    assert "input" not in create_model("s3dg_tiny", input="rgb").info.options
    with pytest.raises(ConfigError, match="input='warp' is not one of rgb, residual, flow"):
        create_model("s3dg_tiny", input="warp")


@pytest.mark.parametrize(("task", "name"), [(ArrowOfTime, "flow"), (ClipOrder, "residual"), (ClipOrder, "rgb")])
def test_an_exported_backbone_shows_itself_what_it_was_trained_on(task, name):
    config = PretrainConfig(task="t", data=["d"], backbone="r3d_18_tiny")
    options = make_card(task(create_model("r3d_18_tiny"), input=name), config, [])["backbone_options"]
    assert options.get("input", "rgb") == name
    assert create_model("r3d_18_tiny", **options).info.options.get("input", "rgb") == name
