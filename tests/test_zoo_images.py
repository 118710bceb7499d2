"""Image networks per frame: those of torchvision compute what torchvision computes, at its numbers, and at finer maps where asked."""

from __future__ import annotations

import json
import sys

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo import count_macs, count_parameters, create_model, model_info
from ssvid.zoo.encoders.vit import PatchTokens, interpolate_positions
from ssvid.zoo.output_stride import limit_stride
from tests import zoo_contract as contract


def filled(net: nn.Module) -> nn.Module:
    """A network made on the meta device with small random weights; those of torchvision take long to draw."""
    net = net.to_empty(device="cpu").eval()
    maker = torch.Generator().manual_seed(0)
    for name, tensor in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.zero_()
        else:
            spread = 1.0 if tensor.ndim < 2 else (2 / tensor[0].numel()) ** 0.5
            tensor.copy_(
                torch.rand(tensor.shape, generator=maker)
                if tensor.ndim < 2
                else torch.empty(tensor.shape).uniform_(-spread, spread, generator=maker)
            )
    return net


def frames(size: int) -> Tensor:
    return torch.rand(2, 3, 2, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "theirs", "last"),
    [
        ("alexnet", "alexnet", 12),
        ("vgg11", "vgg11", None),
        ("vgg16_bn", "vgg16_bn", None),
        ("mobilenet_v2", "mobilenet_v2", None),
        ("mobilenet_v3_small", "mobilenet_v3_small", None),
        ("convnext_t", "convnext_tiny", None),
    ],
)
def test_weights_of_torchvision_give_its_maps(name, theirs, last, tmp_path):
    with torch.device("meta"):
        net = torchvision.models.get_model(theirs, weights=None)
        net.classifier = nn.Sequential()
        ours = create_model(name)
    net = filled(net)
    save_file(net.state_dict(), tmp_path / "theirs.safetensors")
    ours = filled(ours)
    from ssvid.zoo import load_weights

    assert load_weights(ours, tmp_path / "theirs.safetensors").unused == ()
    x = frames(64)
    ours.mean.copy_(torch.tensor(ours.info.mean).view(3, 1, 1, 1))
    ours.std.copy_(torch.tensor(ours.info.std).view(3, 1, 1, 1))
    with torch.no_grad():
        expected = net.features[:last](((x - ours.mean) / ours.std).transpose(1, 2).flatten(0, 1))
        maps = ours(x).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(maps, expected, atol=1e-5, rtol=1e-5)
    assert maps.std() > 1e-3


def test_googlenet_takes_colours_as_torchvision_hands_them_on(tmp_path):
    net = torchvision.models.GoogLeNet(aux_logits=True, init_weights=False, transform_input=True).eval()
    save_file(net.state_dict(), tmp_path / "theirs.safetensors")
    ours = create_model("googlenet", weights=str(tmp_path / "theirs.safetensors")).eval()
    kept: list[Tensor] = []
    net.inception5b.register_forward_hook(lambda module, inputs, output: kept.append(output))
    x = frames(64)
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        net(((x - mean) / std).transpose(1, 2).flatten(0, 1))
        maps = ours(x).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(maps, kept[0], atol=1e-5, rtol=1e-5)


def test_a_vision_transformer_gives_the_tokens_of_torchvision_at_its_size_and_others_too():
    net = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=3).eval()
    nn.init.normal_(net.class_token)
    kept: list[Tensor] = []
    net.encoder.register_forward_hook(lambda module, inputs, output: kept.append(output[:, 1:]))
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        net(x)
        maps = PatchTokens(net)(x)
        assert PatchTokens(net)(torch.rand(1, 3, 40, 23)).shape == (1, 16, 5, 2)
    torch.testing.assert_close(maps.flatten(2).transpose(1, 2), kept[0], atol=1e-5, rtol=1e-5)
    with torch.device("meta"):
        theirs = torchvision.models.vit_b_16(weights=None).state_dict()
        ours = create_model("vit_b_16").state_dict()
    assert {name.removeprefix("trunk.net."): value.shape for name, value in ours.items()} == {
        name: value.shape for name, value in theirs.items() if not name.startswith("heads.")
    }


def test_positions_keep_their_places_when_the_grid_grows():
    table = torch.cat(
        [torch.zeros(1, 1, 2), torch.stack(torch.meshgrid(*[torch.arange(4.0)] * 2, indexing="ij"), -1).view(1, 16, 2)],
        1,
    )
    grown = interpolate_positions(table, 8, 6)[:, 1:].view(8, 6, 2)
    assert (grown[1:, :, 0] - grown[:-1, :, 0] > 0.2).all()
    assert (grown[:, 1:, 1] - grown[:, :-1, 1] > 0.2).all()
    assert interpolate_positions(table, 4, 4) is table


@pytest.mark.parametrize(
    ("name", "theirs", "parameters", "macs"),
    [  # millions and billions at 224 px, the classifier included
        ("alexnet", "alexnet", 61.101, 0.7142),
        ("vgg16", "vgg16", 138.358, 15.470),
        ("googlenet", "googlenet", 6.6249, 1.4984),
        ("mobilenet_v2", "mobilenet_v2", 3.5049, 0.3008),
        ("convnext_t", "convnext_tiny", 28.589, 4.4555),
        ("vit_b_16", "vit_b_16", 86.568, 17.564),
    ],
)
def test_size_and_cost_are_the_published_ones(name, theirs, parameters, macs):
    words = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        net = torchvision.models.get_model(theirs, weights=None, **words)
        ours = create_model(name)
    head = next(part for key, part in net.named_children() if key in ("classifier", "fc", "heads"))
    linear = sum(layer.weight.numel() for layer in head.modules() if isinstance(layer, nn.Linear))
    assert (count_parameters(ours) + count_parameters(head)) / 1e6 == pytest.approx(parameters, rel=1e-3)
    assert (count_macs(ours, 1, 224) + linear) / 1e9 == pytest.approx(macs, rel=1e-3)


@pytest.mark.parametrize(
    "name",
    ["vgg_tiny", "googlenet_tiny", "mobilenet_tiny", "efficientnet_tiny", "convnext_tiny", "alexnet_tiny"],
)
def test_a_finer_map_has_the_weights_of_the_coarse_one_and_more_cells(name):
    coarse, fine = create_model(name), create_model(name, output_stride=8)
    assert {k: v.shape for k, v in coarse.state_dict().items()} == {k: v.shape for k, v in fine.state_dict().items()}
    assert fine.info.spatial_stride == 8
    assert fine(torch.rand(1, 3, 1, 64, 64)).shape[3:] == (8, 8)


def test_strides_beyond_the_limit_are_dropped_in_order():
    def net() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.MaxPool2d(2), nn.Conv2d(4, 4, 2, 2), nn.MaxPool2d(3, 2, 1))

    x = torch.rand(1, 3, 32, 32)
    for most, side in ((16, 2), (8, 4), (4, 8), (2, 16)):
        made = net()
        limit_stride(made, most)
        assert made(x).shape[2:] == (side, side)
    torch.manual_seed(0)
    whole = net()
    torch.manual_seed(0)
    limited = net()
    limit_stride(limited, 4)
    torch.testing.assert_close(limited[:2](x), whole[:2](x))  # what comes before the limit is untouched


# --- networks of other libraries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "library"), [("timm/resnet50.a1_in1k", "timm"), ("hf/facebook/dinov2-small", "transformers")]
)
def test_a_library_that_is_missing_is_named_with_the_extra(name, library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        ConfigError,
        match=rf"{name} needs {library}, which is not installed; pip install 'ssvid\[{name.split('/')[0]}\]'",
    ):
        model_info(name)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSVID_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("name", "options"), [("test_convnext", {}), ("test_vit", {}), ("resnet10t", {"output_stride": 16})]
)
@pytest.mark.filterwarnings("ignore")
def test_networks_of_timm_keep_the_contract_and_its_maps(name, options, tmp_path, cache):
    timm = pytest.importorskip("timm")
    net = timm.create_model(name, pretrained=False, **options).eval()
    save_file(net.state_dict(), tmp_path / "theirs.safetensors")
    ours = create_model(f"timm/{name}@{tmp_path / 'theirs.safetensors'}", **options).eval()
    size = model_info(f"timm/{name}").size
    x = frames(size)
    with torch.no_grad():
        images = ((x - ours.mean) / ours.std).transpose(1, 2).flatten(0, 1)
        expected = net.forward_features(images)
        maps = ours(x).transpose(1, 2).flatten(0, 1)
    if expected.ndim == 3:
        expected = expected[:, net.num_prefix_tokens :].transpose(1, 2).unflatten(2, maps.shape[2:])
    torch.testing.assert_close(maps, expected, atol=1e-5, rtol=1e-5)
    assert ours.info.spatial_stride == options.get("output_stride", {"test_vit": 16}.get(name, 32))
    contract.check_isolation(f"timm/{name}", options, "replicate")


def test_a_name_that_timm_does_not_know_is_refused():
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=r"timm has no model 'resnet51'; did you mean .*resnet50"):
        model_info("timm/resnet51")
    assert "resnet50.a1_in1k" in str(create_weights("timm/resnet50")["a1_in1k"])


def create_weights(name: str) -> dict[str, str]:
    from ssvid.zoo.registry import ENCODERS, find

    return find(ENCODERS, name).fields["weights"]


SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
OF_VIDEOS = {
    "VideoMAE": {"image_size": 32, "patch_size": 16, "num_frames": 8, **SMALL},
    "Vivit": {"image_size": 32, "num_frames": 8, "tubelet_size": [2, 16, 16], **SMALL},
    "Timesformer": {"image_size": 32, "patch_size": 16, "num_frames": 8, **SMALL},
    "VJEPA2": {"patch_size": 16, "crop_size": 32, "frames_per_clip": 8, "hidden_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2,
        "pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1},
    "VideoPrismVision": {"image_size": 36, "num_frames": 8, "hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 2,
        "num_spatial_layers": 2, "num_temporal_layers": 1},
}  # fmt: skip
OF_IMAGES = {
    "Dinov2": {"image_size": 28, "patch_size": 14, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2},
    "DINOv3ViT": {"image_size": 32, "patch_size": 16, **SMALL},
    "ViT": {"image_size": 32, "patch_size": 16, **SMALL},
}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "videoprism_of_tomorrow"}, "does not recognize this architecture"),
        ({"model_type": "bert", "hidden_size": 8}, "is a bert, which gives no tokens of patches"),
    ],
)
def test_a_network_that_transformers_does_not_know_or_that_has_no_patches_is_refused(config, reason, tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=reason):
        model_info(f"hf/{tmp_path}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [*OF_VIDEOS, *OF_IMAGES])
def test_networks_of_transformers_give_its_tokens(kind, tmp_path, cache):
    transformers = pytest.importorskip("transformers")
    if not hasattr(transformers, f"{kind}Config"):
        pytest.skip(f"transformers {transformers.__version__} has no {kind}")
    config = getattr(transformers, f"{kind}Config")(**(OF_VIDEOS | OF_IMAGES)[kind])
    net = transformers.AutoModel.from_config(config).eval()
    net.save_pretrained(tmp_path / "net")
    ours = create_model(f"hf/{tmp_path / 'net'}@pretrained").eval()
    x = torch.rand(2, 3, 8, ours.info.size, ours.info.size)
    clips = ((x - ours.mean) / ours.std).transpose(1, 2)
    with torch.no_grad():
        maps = ours(x)
        if kind in OF_IMAGES:
            tokens = net(pixel_values=clips.flatten(0, 1)).last_hidden_state
            maps = maps.transpose(1, 2).flatten(0, 1)
        else:
            word = "pixel_values_videos" if kind in ("VJEPA2", "VideoPrismVision") else "pixel_values"
            tokens = net(**{word: clips}).last_hidden_state
    cells = maps.movedim(2, 4) if kind == "Timesformer" else maps  # it keeps the frames of a patch together
    cells = cells.flatten(2).transpose(1, 2)
    torch.testing.assert_close(cells, tokens[:, -cells.shape[1] :], atol=1e-5, rtol=1e-5)
    save_file(ours.state_dict(), tmp_path / "ours.safetensors")
    again = create_model(f"hf/{tmp_path / 'net'}", weights=str(tmp_path / "ours.safetensors")).eval()
    torch.testing.assert_close(again(x), ours(x))
    if kind == "VideoMAE":
        with pytest.raises(ConfigError, match="takes clips of 8 x 32 px, not 10 x 32 x 32"):
            ours(torch.rand(1, 3, 10, 32, 32))
