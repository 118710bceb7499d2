"""What a backbone makes of colours: changes or flow; and that an exported one keeps to what it was trained on."""

from __future__ import annotations

import pytest
import torch

from ssvid.config import PretrainConfig
from ssvid.data.flow import flow_pictures
from ssvid.errors import ConfigError
from ssvid.training.build import build_task
from ssvid.training.fit import make_card
from ssvid.zoo import create_model, model_info


@pytest.fixture
def clips() -> torch.Tensor:
    return torch.rand(2, 3, 9, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["residual", "flow"])
def test_the_trunk_sees_what_the_input_makes_of_the_clip(name, clips):
    net = create_model("r3d_18_tiny", input=name).eval()
    std = torch.tensor(net.info.std).view(3, 1, 1, 1)
    made = {"residual": (clips / std).diff(dim=2), "flow": flow_pictures(clips)}[name]
    torch.testing.assert_close(net(clips), net.trunk(made), atol=1e-4, rtol=1e-4)
    assert net.info.options["input"] == name
    assert net.info.min_frames == model_info("r3d_18_tiny").min_frames + 1


def test_colours_are_the_default_and_leave_no_trace():
    assert "input" not in create_model("s3dg_tiny", input="rgb").info.options
    with pytest.raises(ConfigError, match="input: 'warp' is not one of rgb, residual, flow"):
        create_model("s3dg_tiny", input="warp")


def test_colours_are_normalised_by_the_backbone():
    seen = []
    net = create_model("s3dg_tiny").eval()
    net.trunk.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    clip = torch.stack([torch.full((8, 32, 32), value) for value in net.info.mean])[None]
    net(clip)
    net(clip + torch.tensor(net.info.std).view(3, 1, 1, 1))
    torch.testing.assert_close(seen[0], torch.zeros_like(seen[0]))
    torch.testing.assert_close(seen[1], torch.ones_like(seen[1]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("task", "name"), [("arrow_of_time", "flow"), ("clip_order", "residual"), ("clip_order", "rgb")]
)
def test_an_exported_backbone_makes_the_input_it_was_trained_on(task, name):
    config = PretrainConfig(task=task, data=["d"], backbone="r3d_18_tiny", options={"input": name})
    options = make_card(build_task(config), config, [])["backbone_options"]
    assert options.get("input", "rgb") == name
    assert create_model("r3d_18_tiny", **options).info.options.get("input", "rgb") == name
