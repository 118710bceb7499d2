"""Families of 3-D and attention networks: their counts, and that they compute what the libraries they come from compute."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo import count_macs, count_parameters, create_model, model_info
from ssvid.zoo.encoders.i3d import NonLocal
from ssvid.zoo.inflation import inflate
from tests.zoo_contract import build, clip


@pytest.mark.parametrize(
    ("name", "options", "frames", "size", "classes", "parameters", "macs"),
    [  # millions of parameters and billions of multiply-adds, the linear classifier included where classes are given
        ("c3d", {"layer": "fc7"}, 16, 112, 101, 78.410, 38.55),
        ("c3d", {"layer": "fc7"}, 16, 112, 487, 79.991, 38.55),
        ("c3d_bn", {"layer": "fc7"}, 16, 112, 400, 64.960, 38.53),
        ("r3d_10", {}, 16, 112, 0, 14.36, 19.9),
        ("r2plus1d_10", {}, 16, 112, 0, 12.49, None),
        ("r3d_34", {}, 16, 112, 0, 63.48, 75.38),
        ("r2plus1d_34", {}, 16, 112, 0, 61.63, 75.20),
        ("r2plus1d_18_paper", {}, 16, 112, 400, 33.371, 41.496),
        ("i3d", {}, 64, 224, 400, 12.697, 111.15),
        ("i3d_r50", {}, 8, 224, 400, 28.04, 28.41),
        ("i3d_r50_nl", {}, 8, 224, 400, 35.4, None),
        ("slow_r50", {}, 8, 224, 400, 32.45, 41.74),
        ("c2d_r50", {}, 8, 224, 400, 24.33, 19.49),
        ("slowfast_r50", {}, 32, 224, 400, 34.57, 50.31),
        ("slowfast_r101", {}, 32, 224, 400, 62.83, 96.40),
        ("csn_r101", {}, 32, 224, 400, 22.21, 56.47),
        ("csn_r50", {}, 32, 224, 400, 13.13, None),
        ("r2plus1d_r50", {}, 16, 224, 400, 28.11, 57.53),
    ],
)
def test_size_and_cost_are_the_published_ones(
    name: str, options: dict[str, object], frames: int, size: int, classes: int, parameters: float, macs: float | None
) -> None:
    with torch.device("meta"):
        backbone = create_model(name, **options)
    dim = backbone.info.dim
    assert (count_parameters(backbone) + (dim + 1) * classes) / 1e6 == pytest.approx(parameters, rel=1e-3)
    if macs is not None:
        assert (count_macs(backbone, frames, size) + dim * classes) / 1e9 == pytest.approx(macs, rel=1e-3)


@pytest.mark.parametrize(("name", "weights", "macs"), [("csn_r152", 29.6, 96.7), ("ip_csn_r152", 32.8, 108.8)])
def test_size_and_cost_of_the_deepest_csn_are_those_of_its_authors(name: str, weights: float, macs: float) -> None:
    """They count no norms, and clips of 32 x 256 px."""
    with torch.device("meta"):
        backbone = create_model(name)
    kernels = sum(parameter.numel() for parameter in backbone.parameters() if parameter.ndim > 1)
    assert (kernels + 2049 * 400) / 1e6 == pytest.approx(weights, abs=0.05)
    assert (count_macs(backbone, 32, 256) + 2048 * 400) / 1e9 == pytest.approx(macs, rel=1e-3)


def test_channels_interact_in_the_middle_of_a_bottleneck_of_ip_csn_alone() -> None:
    x = torch.rand(1, 64, 2, 4, 4)
    other = x.clone()
    other[:, 5] += 1
    for name, channels in (("csn_r50", [5]), ("ip_csn_r50", list(range(64)))):
        middle = build(name).float().trunk.blocks[1].res_blocks[0].branch2.conv_b  # type: ignore[union-attr, index]
        changed = (middle(x) != middle(other)).amax((0, 2, 3, 4))
        assert torch.nonzero(changed).flatten().tolist() == channels


@pytest.mark.parametrize(
    ("name", "frames", "size", "parameters", "macs"),
    [
        ("x3d_xs", 4, 160, 3.794, 0.605),
        ("x3d_s", 13, 160, 3.794, 1.963),
        ("x3d_m", 16, 224, 3.794, 4.732),
        ("x3d_l", 16, 312, 6.153, 18.368),
    ],
)
def test_size_and_cost_of_x3d_with_its_head_of_two_linear_layers(
    name: str, frames: int, size: int, parameters: float, macs: float
) -> None:
    with torch.device("meta"):
        backbone = create_model(name)
    assert backbone.info.dim == 432
    linear = 432 * 2048 + 2048 * 400
    assert (count_parameters(backbone) + linear + 400) / 1e6 == pytest.approx(parameters, rel=1e-3)
    assert (count_macs(backbone, frames, size) + linear) / 1e9 == pytest.approx(macs, rel=1e-3)


# --- C3D --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["fc6", "fc7"])
def test_linear_layers_of_c3d_give_one_vector_whatever_the_clip(layer: str) -> None:
    backbone = build("c3d_tiny", layer=layer)
    for T, size in ((16, 32), (40, 49)):
        assert backbone(clip(2, T, size)).shape == (2, 64, 1, 1, 1)
    assert model_info("c3d_tiny", layer=layer).min_frames == 9  # one step is left for pool5 then
    with pytest.raises(ConfigError, match="one step of fc"):
        create_model("c3d_tiny", layer=layer, temporal_stride=False)


# --- inflation --------------------------------------------------------------------------------------------------------


def image_net(name: str) -> nn.Module:
    """torchvision's image network with running statistics that differ from a fresh one's."""
    torch.manual_seed(1)
    kwargs = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    return stirred(torchvision.models.get_model(name, weights=None, **kwargs))


def stirred(net: nn.Module) -> nn.Module:
    """The network in eval mode, its norms and what begins at zero as if it had been trained."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.uniform_(-0.5, 0.5)
    return net.eval()


def kept_output(net: nn.Module, layer: nn.Module, *inputs: object) -> Tensor:
    """What a layer gives while the whole network runs."""
    kept: list[Tensor] = []
    layer.register_forward_hook(lambda module, given, output: kept.append(output))
    with torch.no_grad():
        net(*inputs)
    return kept[-1]


def normalised(backbone: nn.Module, x: Tensor) -> Tensor:
    return (x - backbone.mean) / backbone.std  # type: ignore[operator]


@pytest.mark.parametrize("inflation", ["mean", "centre"])
@pytest.mark.parametrize(
    ("name", "image", "last"), [("i3d", "googlenet", "inception5b"), ("i3d_r50", "resnet50", "layer4")]
)
def test_a_still_video_is_answered_as_its_image(
    name: str, image: str, last: str, inflation: str, tmp_path: Path
) -> None:
    theirs = image_net(image)
    file = tmp_path / "image.safetensors"
    save_file(theirs.state_dict(), file)
    ours = create_model(name, weights=str(file), inflation=inflation, temporal_padding="replicate").eval()
    x = torch.rand(1, 3, 1, 72, 72, generator=torch.Generator().manual_seed(0))
    answer = kept_output(theirs, getattr(theirs, last), normalised(ours, x)[:, :, 0])
    with torch.no_grad():
        maps = ours(x.expand(-1, -1, 5, -1, -1))
    scale = answer.abs().max()
    for step in range(maps.shape[2]):
        assert (maps[:, :, step] - answer).abs().max() < 1e-5 * scale
    if inflation == "mean" and name == "i3d":  # the reason for the option: zeros at the ends are seen
        zeros = create_model(name, weights=str(file)).eval()
        with torch.no_grad():
            assert (zeros(x.expand(-1, -1, 5, -1, -1))[:, :, 0] - answer).abs().max() > 1e-2 * scale


def test_inflated_kernels_sum_to_the_image_kernel() -> None:
    weight = torch.randn(4, 3, 2, 2)
    mean, centre = inflate(weight, 5, "mean"), inflate(weight, 5, "centre")
    assert mean.shape == centre.shape == (4, 3, 5, 2, 2)
    torch.testing.assert_close(mean.sum(2), weight)
    assert torch.equal(mean[:, :, 0], mean[:, :, 4])
    assert torch.equal(centre[:, :, 2], weight)
    assert not centre[:, :, [0, 1, 3, 4]].any()


def test_a_non_local_block_compares_every_cell_with_every_other() -> None:
    torch.manual_seed(0)
    block = NonLocal(8).double().eval()
    x = torch.randn(2, 8, 4, 6, 6, dtype=torch.double)
    assert torch.equal(block(x), x)  # it begins as nothing
    nn.init.ones_(block.norm.weight)
    for conv in (block.theta, block.phi, block.g, block.out):
        nn.init.normal_(conv.weight, std=0.3)
    other = x.clone()
    other[:, :, 3, 5, 5] += 5
    assert ((block(other) - block(x)).abs().sum(1)[:, :3] > 0).all()
    cells = F.max_pool3d(x, (1, 2, 2))
    score = torch.einsum("bcn,bcm->bnm", block.theta(x).flatten(2), block.phi(cells).flatten(2))
    seen = torch.einsum("bnm,bcm->bcn", score.softmax(2), block.g(cells).flatten(2)).view(2, 4, 4, 6, 6)
    torch.testing.assert_close(block(x), x + block.norm(block.out(seen)))


# --- networks of pytorchvideo ------------------------------------------------------------------------------------------


def hub_network(name: str) -> nn.Module:
    """The library's own network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        hub = importlib.import_module("pytorchvideo.models.hub")
    net: nn.Module = getattr(hub, name)()
    return net


@pytest.mark.parametrize(
    "name",
    [
        "slow_r50",
        "c2d_r50",
        "i3d_r50",
        "slowfast_r50",
        "slowfast_r101",
        "csn_r101",
        "r2plus1d_r50",
        "x3d_xs",
        "x3d_s",
        "x3d_m",
        "x3d_l",
    ],
)
def test_tensors_of_pytorchvideo_fit(name: str) -> None:
    with torch.device("meta"):
        theirs, ours = hub_network(name).state_dict(), create_model(name).state_dict()
    head = f"blocks.{max(int(key.split('.')[1]) for key in theirs)}."
    trunk = {key: value.shape for key, value in theirs.items() if not key.startswith(head) or ".pool.pre_" in key}
    assert {key.removeprefix("trunk."): value.shape for key, value in ours.items()} == trunk


@pytest.mark.parametrize("name", ["slow_r50", "slowfast_r50", "x3d_s"])
def test_maps_are_those_of_pytorchvideo(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = stirred(hub_network(name))
    torch.save({"model_state": theirs.state_dict()}, tmp_path / "theirs.pyth")
    ours = create_model(name, weights=str(tmp_path / "theirs.pyth")).eval()
    x = torch.rand(1, 3, 8, 48, 48)
    *blocks, head = theirs.blocks
    with torch.no_grad():
        maps = ours(x)
        y: Any = normalised(ours, x)
        y = [y[:, :, ::4], y] if name.startswith("slowfast") else y
        for block in blocks[:-1] if name.startswith("slowfast") else blocks:
            y = block(y)
        if name.startswith("x3d"):
            y = head.pool.pre_act(head.pool.pre_norm(head.pool.pre_conv(y)))
        if name.startswith("slowfast"):
            y = torch.cat([y[0], y[1].unflatten(2, (2, 4)).mean(3)], 1)
    scale = y.abs().max()
    assert (maps - y).abs().max() < 1e-5 * scale
    assert (maps - y.roll(1, 3)).abs().max() > 1e-2 * scale


def test_slowfast_leaves_the_clip_as_it_was_and_shares_no_state() -> None:
    backbone = build("slowfast_tiny")
    x = clip(1, 9, 32)
    before = x.clone()
    assert torch.equal(backbone(x), backbone(x))
    assert torch.equal(x, before)
    assert backbone(x).shape[2] == 3


def test_norms_of_residual_blocks_begin_at_one() -> None:
    for name in ("slow_tiny", "x3d_tiny", "slowfast_tiny", "csn_tiny"):
        norms = [module for module in create_model(name).modules() if isinstance(module, nn.BatchNorm3d)]
        assert norms
        assert all((norm.weight == 1).all() for norm in norms)
