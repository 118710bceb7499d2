"""One contract for every registered backbone; full-size networks run on the meta device, small ones for real."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo import (
    Backbone,
    clip_vector,
    count_macs,
    count_parameters,
    create_model,
    frame_vectors,
    isolated_maps,
    list_models,
    model_info,
)
from ssvid.zoo.backbone import to_device
from tests import zoo_contract as contract
from tests.zoo_contract import build, changed_steps, clip

ALL = list_models()
TINY = list_models("*_tiny")
HEADED = list_models("*_tiny+lstm")  # every head on two encoders: test_zoo_heads


def variants(names: list[str]) -> list[tuple[str, dict[str, object]]]:
    """Every name with its default options, and with every other value its options may take."""
    found: list[tuple[str, dict[str, object]]] = []
    for name in names:
        found.append((name, {}))
        options = model_info(name).options
        found += [(name, {"temporal_stride": False})] if "temporal_stride" in options else []
        finer = "output_stride" in options and "_tiny" in name  # those of large networks have a quicker test
        found += [(name, {"output_stride": stride}) for stride in (16, 8)] if finer else []
    return found


def ids(variant: object) -> str:
    return variant if isinstance(variant, str) else ",".join(f"{k}={v}" for k, v in variant.items())  # type: ignore[attr-defined]


every = pytest.mark.parametrize(("name", "options"), variants(ALL), ids=ids)
every_tiny = pytest.mark.parametrize(("name", "options"), variants(TINY), ids=ids)
TINY_3D = [(name, options) for name, options in variants(TINY) if model_info(name).order == "aware"]
SLOWED = [(name, options) for name, options in TINY_3D if "temporal_stride" in model_info(name).options]
FOLDED = [(name, options) for name, options in TINY_3D if model_info(name).isolation == "fold"]
every_tiny_3d = pytest.mark.parametrize(("name", "options"), TINY_3D, ids=ids)


# --- the contract of every backbone ---------------------------------------------------------------------------------


@every_tiny
def test_map_has_the_shape_info_promises(name: str, options: dict[str, object]) -> None:
    contract.check_shapes(name, options)


@pytest.mark.parametrize("name", [name for name in ALL if "_tiny" not in name])
def test_map_of_an_odd_clip_has_the_shape_info_promises(name: str) -> None:
    """What else is known of the shapes of large networks is measured again in test_zoo_measure."""
    contract.check_shapes(name, {}, odd_only=True)


@pytest.mark.parametrize(
    "name", [name for name in ALL if "output_stride" in model_info(name).options and "_tiny" not in name]
)
def test_large_networks_give_finer_maps(name: str) -> None:
    for stride in {8, 16} & {8, model_info(name).spatial_stride // 2}:
        info = model_info(name, output_stride=stride)
        with torch.device("meta"):
            maps = create_model(name, output_stride=stride)(torch.empty(1, 3, info.min_frames, 64, 64))
        assert maps.shape[3] == info.cells(64)
        assert info.spatial_stride == stride


@every
def test_minimum_is_the_least_the_trunk_takes(name: str, options: dict[str, object]) -> None:
    contract.check_minimum(name, options)


@pytest.mark.parametrize("name", HEADED)
def test_a_head_on_any_encoder_keeps_the_contract(name: str) -> None:
    contract.check_all(name)
    assert count_parameters(build(name)) < 1_000_000


@pytest.mark.parametrize("name", ["r3d_18_tiny", "resnet18_tiny", "resnet18_tiny+lstm"])
@pytest.mark.parametrize("modality", ["residual", "flow"])
def test_a_network_of_changes_keeps_the_contract(name: str, modality: str) -> None:
    info = model_info(name, input=modality)
    assert info.order == "aware"
    contract.check_order(name, {"input": modality})
    for mode in ("replicate", "static"):
        contract.check_isolation(name, {"input": modality}, mode)
    with pytest.raises(ConfigError, match="2 of them, not 1"):
        isolated_maps(build(name, input=modality), clip(1, 1, 32))


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
@pytest.mark.parametrize("name", TINY)
def test_gradient_of_the_shortest_clip_is_right(name: str) -> None:
    backbone = build(name)
    x, gradients = clip(2, model_info(name).min_frames, 32), []
    for library in (True, False):
        with torch.backends.mkldnn.flags(enabled=library):
            backbone.zero_grad()
            backbone(x).square().sum().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in backbone.parameters()]))
    assert (gradients[0] - gradients[1]).abs().max() < 1e-4 * gradients[1].abs().max()


@pytest.mark.parametrize("name", ALL)
def test_info_is_complete(name: str) -> None:
    contract.check_info(name)
    contract.check_names(name)


def test_every_family_has_a_tiny_member() -> None:
    for name in TINY:
        assert count_parameters(build(name)) < 1_000_000
    for family in {model_info(name).family for name in ALL if model_info(name).learns}:
        assert any(model_info(name).family == family for name in TINY), family


@every_tiny
def test_every_parameter_learns(name: str, options: dict[str, object]) -> None:
    contract.check_learning(name, options)


@pytest.mark.parametrize(("name", "options"), [*variants(TINY), ("mc3_18", {})], ids=ids)
def test_a_step_sees_as_many_frames_as_info_says(name: str, options: dict[str, object]) -> None:
    info = model_info(name, **options)
    T = 24 if info.temporal_rf is None else info.temporal_rf + 2 * info.temporal_stride + 4
    x = clip(2, T, 32).requires_grad_()
    maps = build(name, **options)(x)
    maps[:, :, maps.shape[2] // 2].square().sum().backward()
    assert x.grad is not None
    seen = torch.nonzero(x.grad.abs().sum((0, 1, 3, 4))).flatten()
    assert len(seen) == (T if info.temporal_rf is None else info.temporal_rf)
    assert seen[-1] - seen[0] + 1 == len(seen)


@pytest.mark.parametrize(("name", "options"), [*variants(TINY), *variants(list_models("baseline_*"))], ids=ids)
def test_order_of_frames_matters_only_where_info_says_so(name: str, options: dict[str, object]) -> None:
    contract.check_order(name, options)


@pytest.mark.parametrize("name", TINY)
def test_evaluation_is_deterministic_and_needs_no_other_item(name: str) -> None:
    contract.check_evaluation(name, {})


@pytest.mark.parametrize(("name", "options"), SLOWED, ids=ids)
@pytest.mark.parametrize("T", [5, 9, 16])
def test_without_temporal_stride_every_frame_is_kept(name: str, options: dict[str, object], T: int) -> None:
    backbone = build(name, temporal_stride=False)
    assert backbone.info.temporal_stride == 1
    assert backbone.info.options["temporal_stride"] is False
    assert backbone(clip(1, T, 32)).shape[2] == T


@pytest.mark.parametrize("name", sorted({name for name, _ in SLOWED}))
def test_options_leave_the_weights_alone(name: str) -> None:
    a, b = build(name), build(name, temporal_stride=False)
    assert {k: v.shape for k, v in a.state_dict().items()} == {k: v.shape for k, v in b.state_dict().items()}


# --- numbers of the literature ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "frames", "size", "classes", "parameters", "macs"),
    [  # millions of parameters and billions of multiply-adds, the linear classifier included where classes are given
        ("resnet18", 1, 224, 1000, 11.690, 1.814),
        ("resnet50", 1, 224, 1000, 25.557, 4.089),
        ("r3d_18", 16, 112, 400, 33.371, 40.697),
        ("mc3_18", 16, 112, 400, 11.695, 43.343),
        ("r2plus1d_18", 16, 112, 400, 31.505, 40.519),
        ("s3d", 64, 224, 0, 7.910, 71.91),
        ("s3dg", 64, 224, 0, 9.098, 71.91),
    ],
)
def test_size_and_cost_are_the_published_ones(
    name: str, frames: int, size: int, classes: int, parameters: float, macs: float
) -> None:
    with torch.device("meta"):
        backbone = create_model(name)
    dim = backbone.info.dim
    assert (count_parameters(backbone) + (dim + 1) * classes) / 1e6 == pytest.approx(parameters, rel=1e-3)
    assert (count_macs(name, frames, size) + dim * classes) / 1e9 == pytest.approx(macs, rel=1e-3)
    assert count_macs(backbone, frames, size) == count_macs(name, frames, size)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "r3d_18", "mc3_18", "r2plus1d_18", "s3d"])
def test_weights_of_torchvision_fit(name: str) -> None:
    import torchvision

    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, weights=None).state_dict()
        ours = create_model(name).state_dict()
    prefix = "trunk.net." if name.startswith("resnet") else "trunk."
    expected = {
        prefix + key.removeprefix("features."): value.shape
        for key, value in theirs.items()
        if not key.startswith(("fc.", "classifier."))
    }
    assert {key: value.shape for key, value in ours.items()} == expected


# --- views ------------------------------------------------------------------------------------------------------------


def test_clip_vector_pools() -> None:
    features = torch.zeros(1, 2, 2, 1, 2)
    features[0, 0, :, 0] = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    assert clip_vector(features).tolist() == [[4.0, 0.0]]
    assert clip_vector(features, "max_space_mean_time").tolist() == [[5.0, 0.0]]
    assert clip_vector(features, "mean_std").tolist() == [[4.0, 0.0, 2.0, 0.0]]  # 2 and 6 in the two steps
    parts = torch.arange(2 * 2 * 6 * 6, dtype=torch.float32).view(1, 2, 2, 6, 6)
    grid = clip_vector(parts, "grid").view(2, 2, 3, 3)  # channels, then parts in time, down and across
    assert grid[0, 0, 0].tolist() == [3.5, 5.5, 7.5]  # the mean of 0, 1, 6, 7, and the parts to its right
    assert grid[1, 1, 2, 2] == parts[0, 1, 1, 4:, 4:].mean()
    assert clip_vector(torch.ones(1, 2, 1, 1, 1), "grid").shape == (1, 36)  # a map of one cell has it everywhere
    with pytest.raises(ConfigError, match="max_space_mean_time"):
        clip_vector(features, "median")  # type: ignore[arg-type]


class Ramp(nn.Module):
    """A trunk whose step i is the centre of the frames 4 i to 4 i + 3."""

    def forward(self, x: Tensor) -> Tensor:
        steps = 4 * torch.arange(-(-x.shape[2] // 4)) + 1.5
        return steps[None, None, :, None, None].expand(x.shape[0], 2, -1, 3, 3)


@pytest.mark.parametrize("T", [1, 4, 13, 16])
def test_frame_vectors_lie_at_the_frames(T: int) -> None:
    info = model_info("r3d_18_tiny")
    vectors = frame_vectors(Backbone(Ramp(), info), torch.zeros(2, 3, T, 8, 8))
    assert vectors.shape == (2, T, 2)
    last = 4 * (-(-T // 4) - 1) + 1.5
    torch.testing.assert_close(vectors[0, :, 0], torch.arange(T).float().clamp(1.5, last))


@every_tiny
def test_frame_vectors_are_one_a_frame(name: str, options: dict[str, object]) -> None:
    backbone = build(name, **options)
    for T in (13, 16):
        vectors = frame_vectors(backbone, clip(2, T, 32))
        assert vectors.shape == (2, T, backbone.info.dim)
        assert not torch.equal(vectors[:, 0], vectors[:, -1])


@every_tiny
@pytest.mark.parametrize("mode", ["replicate", "static"])
def test_an_isolated_step_sees_its_frame_only(name: str, options: dict[str, object], mode: str) -> None:
    contract.check_isolation(name, options, mode)


@every_tiny
def test_a_microclip_step_sees_its_frames_only(name: str, options: dict[str, object]) -> None:
    backbone = build(name, **options)
    x = clip(2, 24, 32)
    with torch.no_grad():
        maps = isolated_maps(backbone, x, "microclip", k=8)
        assert maps.shape[2] == 3
        for frame in (8, 11, 15):
            other = x.clone()
            other[:, :, frame] += 1
            assert changed_steps(maps, isolated_maps(backbone, other, "microclip", k=8)) == [1]


@every_tiny_3d
def test_the_native_map_leaks(name: str, options: dict[str, object]) -> None:
    """The reason for isolation, and the proof that the tests above could fail."""
    backbone = build(name, **options)
    x = clip(1, 32, 32)
    other = x.clone()
    other[:, :, 16] += 1
    with torch.no_grad():
        assert len(changed_steps(backbone(x), backbone(other))) > 1


def temporal_taps(backbone: Backbone) -> dict[str, Tensor]:
    """Size of the gradient at each tap of every temporal kernel."""
    return {
        name: module.weight.grad.abs().sum((0, 1, 3, 4))
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Conv3d) and module.kernel_size[0] > 1 and module.weight.grad is not None
    }


@pytest.mark.parametrize(("name", "options"), FOLDED, ids=ids)
def test_replicate_teaches_every_tap(name: str, options: dict[str, object]) -> None:
    backbone = build(name, **options).train()
    isolated_maps(backbone, clip(2, 4, 32), "replicate").square().mean().backward()
    taps = temporal_taps(backbone)
    assert taps
    for layer, gradient in taps.items():
        assert (gradient > 0).all(), layer
        torch.testing.assert_close(gradient, gradient[:1].expand_as(gradient))


def test_static_leaves_side_taps_untrained_at_one_frame() -> None:
    backbone = build("r3d_18_tiny")
    isolated_maps(backbone, clip(2, 4, 32), "static").square().mean().backward()
    for gradient in temporal_taps(backbone).values():
        assert (gradient > 0).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("name", "options"), [(n, o) for n, o in FOLDED if model_info(n).temporal_rf is not None], ids=ids
)
def test_replicate_is_the_middle_of_an_endless_still_clip(name: str, options: dict[str, object]) -> None:
    backbone = build(name, **options)
    frame = clip(1, 1, 32)
    rf = backbone.info.temporal_rf
    assert rf is not None
    with torch.no_grad():
        endless = backbone(frame.expand(-1, -1, 2 * rf, -1, -1))
        isolated = isolated_maps(backbone, frame)
    torch.testing.assert_close(isolated[:, :, 0], endless[:, :, endless.shape[2] // 2])


def test_replicate_leaves_the_backbone_as_it_was() -> None:
    backbone = build("s3dg_tiny")
    before = copy.deepcopy(backbone.state_dict())
    isolated_maps(backbone, clip(1, 2, 32))
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def test_isolation_names_what_is_wrong() -> None:
    backbone = build("s3d_tiny")
    with pytest.raises(ConfigError, match="k=8 frames from 20"):
        isolated_maps(backbone, clip(1, 20, 32), "microclip")
    with pytest.raises(ConfigError, match="at least 8"):
        isolated_maps(backbone, clip(1, 20, 32), "microclip", k=4)
    with pytest.raises(ConfigError, match="replicate, static or microclip"):
        isolated_maps(backbone, clip(1, 4, 32), "frozen")  # type: ignore[arg-type]


def test_replicated_padding_leaves_no_trace_of_the_border():
    flat = torch.full((1, 3, 1, 48, 48), 0.7)
    for padding, traced in (("zeros", True), ("replicate", False)):
        torch.manual_seed(0)
        maps = create_model("resnet18_tiny", padding=padding).eval()(flat)
        assert (maps.std((3, 4)).max() > 1e-3) == traced


@pytest.mark.parametrize(
    ("name", "laid_out"),
    [("s3dg_tiny", True), ("r2plus1d_18_tiny", True), ("r3d_18_tiny", False), ("resnet18_tiny", False)],
)
def test_placing_changes_the_layout_where_it_pays_and_no_value(name, laid_out):
    x = clip(2, 8, 32)
    backbone = build(name)
    before = backbone(x)
    after = to_device(backbone, torch.device("cpu"))(x)
    torch.testing.assert_close(after, before)
    assert all(weight.is_contiguous() for weight in backbone.parameters()) != laid_out
