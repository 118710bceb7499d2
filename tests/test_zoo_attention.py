"""Attention over space and time: counts, parity with the libraries, clips of other sizes, and files of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.video import MViT, SwinTransformer3d

from ssvid.zoo import count_macs, count_parameters, create_model
from ssvid.zoo.encoders import mvit, video_swin
from ssvid.zoo.encoders.mvit import MViTMap
from ssvid.zoo.encoders.timesformer import DividedBlock, TimeSformer
from ssvid.zoo.encoders.tubelet_vit import TubeletViT, sinusoids, with_joint_qkv
from ssvid.zoo.encoders.video_swin import SwinMap
from ssvid.zoo.encoders.vivit import FactorisedViT
from ssvid.zoo.transformer import Block, resized
from tests.zoo_contract import clip


def kept_tokens(net: nn.Module, x: Tensor) -> Tensor:
    """What the last norm gives while the whole network runs."""
    kept: list[Tensor] = []
    net.norm.register_forward_hook(lambda module, given, output: kept.append(output))
    with torch.no_grad():
        net(x)
    return kept[0]


@pytest.mark.parametrize(
    ("name", "frames", "classes", "parameters", "macs"),
    [  # millions of parameters and billions of multiply-adds at 224 px, the linear classifier included where classes are given
        ("mvit_v1_b", 16, 400, 36.611, 70.60),
        ("mvit_v2_s", 16, 400, 34.538, 64.22),
        ("swin3d_t", 32, 400, 28.158, 87.76),
        ("swin3d_s", 32, 400, 49.817, 165.7),
        ("swin3d_b", 32, 400, 88.049, 281.3),
        ("timesformer_base", 8, 0, 121.26, 195.8),
        ("videomae_base", 16, 0, 86.23, 180.3),
    ],
)
def test_size_and_cost_are_the_published_ones(
    name: str, frames: int, classes: int, parameters: float, macs: float
) -> None:
    with torch.device("meta"):
        backbone = create_model(name)
    dim = backbone.info.dim
    assert (count_parameters(backbone) + (dim + 1) * classes) / 1e6 == pytest.approx(parameters, rel=1e-3)
    assert (count_macs(backbone, frames, 224) + dim * classes) / 1e9 == pytest.approx(macs, rel=1e-3)


def test_size_and_cost_of_vivit_are_those_of_its_paper() -> None:
    """115.1 M with 400 classes and 284.4 G; the paper's count of operations has more in it than multiply-adds."""
    with torch.device("meta"):
        backbone = create_model("vivit_base")
    assert (count_parameters(backbone) + 769 * 400) / 1e6 == pytest.approx(115.1, rel=1e-3)
    assert count_macs(backbone, 32, 224) / 1e9 == pytest.approx(284.4, rel=5e-3)


@pytest.mark.parametrize("name", ["mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b"])
def test_tensors_of_torchvision_fit(name: str) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, weights=None).state_dict()
        ours = create_model(name).state_dict()
    trunk = {f"trunk.{key}": value.shape for key, value in theirs.items() if not key.startswith("head.")}
    assert {key: value.shape for key, value in ours.items()} == trunk


@pytest.mark.parametrize("name", ["mvit_v1_tiny", "mvit_v2_tiny", "swin3d_tiny"])
def test_maps_are_those_of_torchvision(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs: nn.Module = small_network(name).eval()
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    ours = create_model(name, weights=str(tmp_path / "theirs.safetensors")).eval()
    x = clip(2, 8, 32).float().sigmoid()
    tokens = kept_tokens(theirs, (x - ours.mean) / ours.std)
    with torch.no_grad():
        cells = ours(x).movedim(1, 4)
    expected = tokens if name == "swin3d_tiny" else tokens[:, 1:].unflatten(1, cells.shape[1:4])
    torch.testing.assert_close(cells, expected, atol=1e-5, rtol=1e-5)


def small_network(name: str) -> MViT | SwinTransformer3d:
    """torchvision's own network in the size of ours."""
    kept: list[MViT | SwinTransformer3d] = []
    family, wrapper = (video_swin, "SwinMap") if name == "swin3d_tiny" else (mvit, "MViTMap")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(family, wrapper, kept.append)
        family.build(name)
    return kept[0]


def test_mvit_takes_clips_that_torchvision_refuses() -> None:
    net = small_network("mvit_v1_tiny").eval()
    for shape, cells in (((1, 3, 5, 17, 40), (3, 2, 3)), ((1, 3, 1, 8, 8), (1, 1, 1))):
        assert MViTMap(net)(torch.rand(shape)).shape[2:] == cells
    with pytest.raises(RuntimeError):
        net(torch.rand(1, 3, 5, 17, 40))


def test_swin_takes_any_clip_and_its_steps_see_their_windows() -> None:
    net = SwinMap(small_network("swin3d_tiny")).eval()  # type: ignore[arg-type]
    assert net(torch.rand(1, 3, 5, 17, 40)).shape[2:] == (3, 2, 3)


def test_positions_are_interpolated_between_centres() -> None:
    table = torch.arange(4.0)[:, None]
    assert resized(table, (4,)) is table
    torch.testing.assert_close(resized(table, (2,)), torch.tensor([[0.5], [2.5]]))
    grid = torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(6.0), torch.arange(2.0), indexing="ij"), -1)
    smaller = resized(grid, (2, 3, 2))
    torch.testing.assert_close(smaller[..., 0], torch.tensor([0.5, 2.5])[:, None, None].expand(2, 3, 2))
    torch.testing.assert_close(smaller[..., 1], torch.tensor([0.5, 2.5, 4.5])[:, None].expand(2, 3, 2))


def test_sinusoids_by_hand() -> None:
    table = sinusoids((2, 1, 3), 4)
    assert table.shape == (2, 1, 3, 4)
    angle = torch.tensor(4.0)  # of the fifth cell
    slow = angle / 100
    torch.testing.assert_close(table[1, 0, 1], torch.stack([angle.sin(), angle.cos(), slow.sin(), slow.cos()]))


def test_attention_by_hand() -> None:
    torch.manual_seed(0)
    attn, x = Block(8, 2).attn.double(), torch.randn(2, 5, 8, dtype=torch.double)
    query, key, value = (part.unflatten(2, (2, 4)) for part in attn.qkv(x).chunk(3, 2))
    weights = (torch.einsum("bihd,bjhd->bhij", query, key) / 2).softmax(3)
    seen = torch.einsum("bhij,bjhd->bihd", weights, value).flatten(2)
    torch.testing.assert_close(attn(x), attn.proj(seen))


def seen_by(net: nn.Module, x: Tensor) -> list[list[int]]:
    """(step, row, column) of the cells that change with the second patch of the third frame."""
    other = x.clone()
    other[:, :, 2, :8, 8:16] += 1
    with torch.no_grad():
        changed = (net(x) != net(other)).any(1)[0]
    return torch.nonzero(changed).tolist()


@pytest.mark.parametrize("silent", ["temporal_fc", "attn.proj", "mlp.fc2"])
def test_divided_attention_looks_over_time_at_one_place_and_then_at_one_frame(silent: str) -> None:
    torch.manual_seed(0)
    net = TimeSformer(dim=16, depth=1, heads=2, patch=8, grid=(4, 2, 2)).eval().double()
    layer = net.blocks[0].get_submodule(silent)
    nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
    frame = [[2, row, column] for row in range(2) for column in range(2)]
    place = [[step, 0, 1] for step in range(4)]
    everywhere = [[step, row, column] for step in range(4) for row in range(2) for column in range(2)]
    seen = {"temporal_fc": frame, "attn.proj": place, "mlp.fc2": everywhere}
    assert seen_by(net, clip(1, 4, 16)) == seen[silent]


@pytest.mark.parametrize("silent", [True, False])
def test_steps_of_vivit_meet_after_each_was_encoded_alone(silent: bool) -> None:
    torch.manual_seed(0)
    net = FactorisedViT(dim=16, depth=1, over_time=1, heads=2, patch=8, grid=(4, 2, 2)).eval().double()
    if silent:
        nn.init.zeros_(net.temporal_blocks[0].attn.proj.weight)
    assert seen_by(net, clip(1, 8, 16)) == [[step, 0, 0] for step in ([1] if silent else range(4))]


def test_a_step_of_vivit_is_an_image_transformer_of_its_tubelet() -> None:
    torch.manual_seed(0)
    net = FactorisedViT(dim=16, depth=2, over_time=1, heads=2, patch=8, grid=(4, 2, 2)).eval()
    x, steps = torch.rand(1, 3, 8, 16, 16), []
    net.temporal_blocks.register_forward_pre_hook(lambda module, given: steps.append(given[0]))
    with torch.no_grad():
        net(x)
        for step in range(4):
            tubelets = net.patch_embed["proj"](x[:, :, 2 * step : 2 * step + 2]).flatten(2).transpose(1, 2)
            tokens = torch.cat([net.cls_token, tubelets], 1) + net.pos_embed
            expected = net.norm(net.blocks(tokens))[:, 0] + net.temporal_pos_embed[:, 1 + step]
            torch.testing.assert_close(steps[0][:, 1 + step], expected)
        torch.testing.assert_close(steps[0][:, 0], net.temporal_cls_token[:, 0] + net.temporal_pos_embed[:, 0])


def test_the_class_token_of_timesformer_is_the_mean_of_its_copies() -> None:
    torch.manual_seed(0)
    block = DividedBlock(8, 2).eval()
    token, patches = torch.randn(2, 1, 8), torch.randn(2, 3, 4, 8)
    nn.init.zeros_(block.temporal_fc.weight)
    nn.init.zeros_(block.temporal_fc.bias)
    with torch.no_grad():
        out, _ = block(token, patches)
        copies = [block.attn(block.norm1(torch.cat([token, patches[:, step]], 1)))[:, :1] for step in range(3)]
        after = token + torch.stack(copies).mean(0)
        torch.testing.assert_close(out, after + block.mlp(block.norm2(after)))


# --- files of VideoMAE and TimeSformer, and of transformers ----------------------------------------------------------------


def test_queries_keys_and_values_kept_apart_are_put_together() -> None:
    parts = {f"blocks.0.attn.{letter}.weight": torch.full((2, 2), float(place)) for place, letter in enumerate("qkv")}
    parts |= {
        "blocks.0.attn.q_bias": torch.ones(2),
        "blocks.0.attn.v_bias": torch.full((2,), 3.0),
        "norm.bias": torch.zeros(2),
    }
    joint = with_joint_qkv(parts)
    assert set(joint) == {"blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.bias", "norm.bias"}
    assert joint["blocks.0.attn.qkv.weight"][:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert joint["blocks.0.attn.qkv.bias"].tolist() == [1, 1, 0, 0, 3, 3]


def test_a_file_of_pretraining_with_videomae_fits(tmp_path: Path) -> None:
    source = create_model("videomae_tiny").eval()
    for name, parameter in source.named_parameters():
        if name.endswith("qkv.bias"):  # VideoMAE's keys have none
            nn.init.uniform_(parameter)
            parameter.data[48:96] = 0
    theirs: dict[str, Tensor] = {"decoder.norm.bias": torch.zeros(3)}
    for name, tensor in source.trunk.state_dict().items():
        if name.endswith("qkv.bias"):
            theirs |= {
                f"encoder.{name.removesuffix('qkv.bias')}{part}_bias": tensor[at : at + 48]
                for part, at in (("q", 0), ("v", 96))
            }
        else:
            theirs[f"encoder.{name}"] = tensor
    torch.save({"model": theirs}, tmp_path / "checkpoint.pth")
    ours = create_model("videomae_tiny", weights=str(tmp_path / "checkpoint.pth")).eval()
    x = torch.rand(1, 3, 8, 32, 32)
    assert torch.equal(ours(x), source(x))


def randomised(net: nn.Module) -> nn.Module:
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1)
    return net.eval()


def test_maps_of_videomae_are_those_of_transformers(tmp_path: Path) -> None:
    transformers: Any = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {
        "image_size": 32,
        "patch_size": 8,
        "num_frames": 8,
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = transformers.VideoMAEConfig(**sizes, intermediate_size=192, use_mean_pooling=False)
    theirs = randomised(transformers.VideoMAEModel(config))
    save_file(
        {name: tensor.contiguous() for name, tensor in theirs.state_dict().items()}, tmp_path / "theirs.safetensors"
    )
    ours = create_model("videomae_tiny", weights=str(tmp_path / "theirs.safetensors")).eval()
    assert isinstance(ours.trunk, TubeletViT)
    x = torch.rand(2, 3, 8, 32, 32)
    with torch.no_grad():
        tokens = theirs(pixel_values=ours.make_input(x).transpose(1, 2)).last_hidden_state
        torch.testing.assert_close(ours(x).flatten(2).transpose(1, 2), tokens, atol=1e-5, rtol=1e-5)


def test_maps_of_timesformer_are_those_of_transformers(tmp_path: Path) -> None:
    transformers: Any = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {
        "image_size": 32,
        "patch_size": 8,
        "num_frames": 8,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    theirs = randomised(transformers.TimesformerModel(transformers.TimesformerConfig(**sizes, intermediate_size=128)))
    save_file(
        {name: tensor.contiguous() for name, tensor in theirs.state_dict().items()}, tmp_path / "theirs.safetensors"
    )
    ours = create_model("timesformer_tiny", weights=str(tmp_path / "theirs.safetensors")).eval()
    x = torch.rand(2, 3, 8, 32, 32)
    with torch.no_grad():
        tokens = theirs(pixel_values=ours.make_input(x).transpose(1, 2)).last_hidden_state[:, 1:]
        cells = ours(x).permute(0, 3, 4, 2, 1).flatten(1, 3)  # transformers puts the frames of a place side by side
        torch.testing.assert_close(cells, tokens, atol=1e-5, rtol=1e-5)
