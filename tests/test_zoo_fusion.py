"""Frames fused early, late and slowly, streams of colours and motion, object scores, and descriptors: by hand."""

from __future__ import annotations

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from ssvid.data.flow import flow_pictures
from ssvid.errors import ConfigError
from ssvid.zoo import clip_vector, count_macs, count_parameters, create_model, load_weights, model_info
from ssvid.zoo.encoders.descriptors import BINS, GRID
from ssvid.zoo.encoders.two_stream import ConvFusion
from ssvid.zoo.info import POOLED
from tests import zoo_contract as contract


@pytest.fixture(scope="module", autouse=True)
def _one_cache(tmp_path_factory):
    """Every network is measured once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSVID_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def clip(T: int, size: int = 32) -> torch.Tensor:
    return torch.rand(2, 3, T, size, size, generator=torch.Generator().manual_seed(0))


# --- Karpathy's networks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "frames", "size", "maps", "parameters", "macs"),
    [  # with fc6, fc7 and 487 classes over `maps` maps of 7 x 7 x 256
        ("karpathy_single", 1, 170, 1, 73.91, 1.272),
        ("karpathy_early", 10, 170, 1, 74.22, 2.291),
        ("karpathy_late", 2, 170, 2, 125.29, 2.525),
        ("karpathy_slow", 10, 170, 1, 75.51, 4.589),
        ("karpathy_multires", 1, 178, 2, 129.04, 0.764),
    ],
)
def test_size_and_cost_of_the_networks_of_karpathy(name, frames, size, maps, parameters, macs):
    with torch.device("meta"):
        net = create_model(name)
        assert net(torch.empty(1, 3, frames, size, size)).shape == (1, 256 * maps, 1, 7, 7)
    linear = [(7 * 7 * 256 * maps, 4096), (4096, 4096), (4096, 487)]
    weights = sum(before * after for before, after in linear)
    biases = sum(after for _, after in linear)
    assert (count_parameters(net) + weights + biases) / 1e6 == pytest.approx(parameters, rel=1e-3)
    assert (count_macs(net, frames, size) + weights) / 1e9 == pytest.approx(macs, rel=1e-3)


def test_frames_of_late_fusion_stand_side_by_side():
    net = create_model("karpathy_late").eval()
    x = clip(5)
    with torch.no_grad():
        maps = net(x)
        single = net.trunk.net(net.make_input(x))
    assert maps.shape[2] == 2  # the fifth frame is over
    torch.testing.assert_close(maps[:, :256, 1], single[:, :, 2])
    torch.testing.assert_close(maps[:, 256:, 1], single[:, :, 3])


def test_the_fovea_sees_the_middle_and_the_context_the_whole():
    net = create_model("karpathy_multires").eval()
    x = clip(1, 64)
    border, middle = x.clone(), x.clone()
    border[..., :16, :] = 0
    middle[..., 24:40, 24:40] = 0
    with torch.no_grad():
        whole, without_border, without_middle = net(x), net(border), net(middle)
    assert torch.equal(whole[:, 256:], without_border[:, 256:])
    assert not torch.equal(whole[:, :256], without_border[:, :256])
    assert not torch.equal(whole[:, 256:], without_middle[:, 256:])


def test_slow_fusion_ends_with_one_step_of_ten_frames():
    info = model_info("karpathy_slow")
    assert (info.min_frames, info.temporal_rf, info.order) == (10, 10, "aware")
    assert model_info("karpathy_single").order == "blind"


# --- fusion on any image network ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("early/resnet18_tiny", {"window": 4}),
        ("late/alexnet_tiny", {}),
        ("late/alexnet_tiny", {"window": 4, "fusion": "max"}),
        ("late/alexnet_tiny", {"window": 4, "fusion": "mean"}),
        ("two_stream/alexnet_tiny", {}),
        ("two_stream/alexnet_tiny", {"fusion": "conv", "motion": "difference"}),
        ("two_stream/alexnet_tiny", {"fusion": "concat", "motion": "difference", "window": 4}),
    ],
)
def test_fusion_keeps_the_contract(name, options):
    contract.check_shapes(name, options)
    contract.check_minimum(name, options)
    contract.check_learning(name, options)
    contract.check_isolation(name, options, "replicate")
    info = model_info(name, **options)
    if options.get("fusion") != "max":  # it sees which frames lie together, but not in which order
        contract.check_order(name, options)
    if info.options.get("motion") != "flow":  # which is worked out in single precision
        contract.check_evaluation(name, options)
    T = info.options.get("window", 1)
    assert info.temporal_stride == (2 if options.get("fusion") == "conv" else T)
    assert info.order == ("blind" if options.get("fusion") == "mean" else "aware")


def test_early_fusion_of_a_still_window_is_the_image_network(tmp_path):
    torch.manual_seed(0)
    image = create_model("resnet18_tiny").eval()
    save_file(image.state_dict(), tmp_path / "image.safetensors")
    net = create_model("early/resnet18_tiny", window=4, weights=str(tmp_path / "image.safetensors")).eval()
    frame = clip(1)
    torch.testing.assert_close(net(frame.expand(-1, -1, 4, -1, -1)), image(frame), atol=1e-5, rtol=1e-5)
    save_file(net.state_dict(), tmp_path / "whole.safetensors")
    again = create_model("early/resnet18_tiny", window=4, weights=str(tmp_path / "whole.safetensors")).eval()
    x = clip(9)
    assert torch.equal(again(x), net(x))
    torch.testing.assert_close(net(x), net(x[:, :, :8]))


@pytest.mark.parametrize("fusion", ["mean", "max"])
def test_late_fusion_pools_the_maps_of_a_window(fusion, tmp_path):
    torch.manual_seed(0)
    image = create_model("alexnet_tiny").eval()
    save_file(image.state_dict(), tmp_path / "image.safetensors")
    net = create_model("late/alexnet_tiny", window=4, fusion=fusion, weights=str(tmp_path / "image.safetensors")).eval()
    x = clip(8)
    maps = image(x).unflatten(2, (2, 4))
    torch.testing.assert_close(net(x), maps.mean(3) if fusion == "mean" else maps.amax(3))


@pytest.mark.parametrize("name", ["early/r3d_18_tiny", "late/baseline_histogram", "two_stream/early/resnet18_tiny"])
def test_what_is_no_image_network_is_not_fused(name):
    with pytest.raises(ConfigError, match="takes an encoder of single frames"):
        create_model(name)


def test_unknown_names_within_are_explained():
    with pytest.raises(ConfigError, match="Did you mean"):
        model_info("early/resnet19")
    with pytest.raises(ConfigError, match="at least 2 frames, not 1"):
        create_model("late/alexnet_tiny", window=1)


# --- two streams --------------------------------------------------------------------------------------------------------


def test_weights_of_images_fill_both_streams_and_motion_counts(tmp_path):
    torch.manual_seed(0)
    image = create_model("alexnet_tiny").eval()
    save_file(image.state_dict(), tmp_path / "image.safetensors")
    net = create_model("two_stream/alexnet_tiny", fusion="concat", motion="difference").eval()
    assert load_weights(net, tmp_path / "image.safetensors").unused == ()
    x = clip(4)
    colours, moving = net(x).chunk(2, 1)
    torch.testing.assert_close(colours, image(x))
    shown = ((x - image.mean) / image.std).diff(dim=2)
    torch.testing.assert_close(moving[:, :, :3], image.trunk(shown))
    torch.testing.assert_close(moving[:, :, 3], moving[:, :, 2])  # the last frame has the motion of the one before
    save_file(net.state_dict(), tmp_path / "both.safetensors")
    load_weights(net, tmp_path / "both.safetensors")
    torch.testing.assert_close(net(x), torch.cat([colours, moving], 1))


def test_mean_fusion_is_the_mean_and_flow_is_seen():
    torch.manual_seed(0)
    mean = create_model("two_stream/alexnet_tiny").eval()
    x = clip(3)
    shown = flow_pictures(x)
    streams = mean.trunk.colours(mean_normalised(x)), mean.trunk.moving(torch.cat([shown, shown[:, :, -1:]], 2))
    torch.testing.assert_close(mean(x), (streams[0] + streams[1]) / 2)
    assert shown.abs().amax() > 0.1


def mean_normalised(x: torch.Tensor) -> torch.Tensor:
    image = create_model("alexnet_tiny")
    return (x - image.mean) / image.std


def test_fusion_by_convolution_begins_as_the_smoothed_mean():
    join = ConvFusion(4, shares=(0.25, 0.75))
    flat = torch.rand(1, 8, 1, 1, 1).expand(1, 8, 6, 6, 6)
    out = join(flat)
    assert out.shape == (1, 4, 3, 3, 3)
    torch.testing.assert_close(out[:, :, 1, 1, 1], (flat[:, :4] + 3 * flat[:, 4:])[..., 2, 2, 2] / 4)
    other = ConvFusion(4, 6, kernel=3)(flat[:, :, :5, :, :])
    assert other.shape == (1, 6, 3, 3, 3)
    assert other.std() > 0.1


@pytest.mark.parametrize("motion", ["flow", "difference"])
def test_a_window_has_the_colours_of_its_middle_and_the_motion_of_all_its_frames(motion):
    torch.manual_seed(0)
    net = create_model("two_stream_tiny", motion=motion).eval()
    colours, moving, joined = [], [], []
    net.trunk.colours.register_forward_pre_hook(lambda module, inputs: colours.append(inputs[0]))
    net.trunk.moving.register_forward_pre_hook(lambda module, inputs: moving.append(inputs[0]))
    net.trunk.join.register_forward_pre_hook(lambda module, inputs: joined.append(inputs[0]))
    x = clip(9)  # two windows, and a frame that is over
    net(x)
    normalised = (x - net.trunk.mean) / net.trunk.std
    torch.testing.assert_close(colours[0], normalised[:, :, [2, 6]])
    assert joined[0].shape[:3] == (2, 96, 2)
    change = flow_pictures(x)[:, :2] if motion == "flow" else normalised.diff(dim=2)
    for step in range(2):  # x and y of the first field, then of the second ...
        fields = [change[:, :, 4 * step + number] for number in range(4)]
        torch.testing.assert_close(moving[0][:, :, step], torch.cat(fields, 1))
    net(x[:, :, :8])
    c = change.shape[1]
    assert torch.equal(moving[1][:, -c:, 1], moving[1][:, -2 * c : -c, 1])  # the last frame has that of the one before


def test_weights_of_images_fill_a_network_of_stacked_flow(tmp_path):
    torch.manual_seed(0)
    image = create_model("vgg_tiny").eval()
    save_file(image.state_dict(), tmp_path / "image.safetensors")
    net = create_model("two_stream_tiny").eval()
    join = net.trunk.join.conv.weight.clone()
    assert load_weights(net, tmp_path / "image.safetensors").unused == ()
    first = net.trunk.moving.net[0].weight
    assert first.shape[1] == 12
    kernel = image.trunk.net[0].weight.mean(1)
    assert all(torch.equal(first[:, channel], kernel) for channel in range(12))
    assert torch.equal(net.trunk.colours.net[0].weight, image.trunk.net[0].weight)
    assert torch.equal(net.trunk.join.conv.weight, join)
    save_file(net.state_dict(), tmp_path / "both.safetensors")
    again = create_model("two_stream_tiny", weights=str(tmp_path / "both.safetensors")).eval()
    x = clip(8)
    assert torch.equal(again(x), net(x))


def test_fresh_kernels_of_stacked_motion_answer_on_the_scale_of_those_for_colours():
    torch.manual_seed(0)
    net = create_model("two_stream_tiny")
    stacked, single = (stream.net[0] for stream in (net.trunk.moving, net.trunk.colours))
    noise = torch.randn(4, 15, 32, 32)
    ratio = (stacked(noise[:, :12]).std() / single(noise[:, 12:]).std()).item()
    assert 0.7 < ratio < 1.4


@pytest.mark.parametrize(
    ("name", "parameters", "maps"),
    [
        # two VGG-16 without their linear layers, 17 channels more into the first, and 1024 x 512 x 27 weights and 512 biases
        ("two_stream_vgg16", 2 * 14_714_688 + 17 * 64 * 9 + 14_155_776 + 512, (512, 3, 7, 7)),
        # two Inceptions, likewise, and 2048 x 512 x 27 weights and 512 biases: the 39 M that the paper prints
        ("two_stream_inception", 2 * 5_599_904 + 17 * 64 * 49 + 28_311_552 + 512, (512, 3, 4, 4)),
    ],
)
def test_size_of_the_fused_networks(name, parameters, maps):
    with torch.device("meta"):
        net = create_model(name)
        assert net(torch.empty(1, 3, 50, 224, 224)).shape[1:] == maps
    assert count_parameters(net) == parameters


def test_what_two_streams_cannot_be_is_explained():
    with pytest.raises(ConfigError, match="windows of at least 1 frame, not 0"):
        create_model("two_stream/alexnet_tiny", window=0)
    with pytest.raises(ConfigError, match="'tvl1' is not one of flow, dis, raft, difference"):
        create_model("two_stream_tiny", motion="tvl1")
    with pytest.raises(ConfigError, match="needs at least 4 frames, not 3"):
        create_model("two_stream_tiny")(clip(3))


# --- scores of objects --------------------------------------------------------------------------------------------------


def test_scores_of_objects_are_those_of_the_classifier(tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.squeezenet1_1(weights=None).eval()
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    net = create_model("objects/squeezenet1_1", weights=str(tmp_path / "theirs.safetensors")).eval()
    assert net.info.dim == 1000
    assert (net.info.order, net.info.spatial_stride, net.info.size) == ("blind", POOLED, 224)
    x = clip(2, 64)
    scores = net(x)
    torch.testing.assert_close(scores.sum(1), torch.ones(2, 2, 1, 1))
    expected = theirs(((x - net.mean) / net.std)[:, :, 1]).softmax(1)
    torch.testing.assert_close(scores[:, :, 1, 0, 0], expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(ConfigError, match="no image classifier 'r3d_18'"):
        model_info("objects/r3d_18")


# --- descriptors --------------------------------------------------------------------------------------------------------


def described(name: str, pixels: torch.Tensor, bins: int) -> torch.Tensor:
    """Histograms (T,bins,cells,cells) of one clip."""
    return create_model(name)(pixels)[0, :, :, 0, 0].T.unflatten(1, (bins, GRID, GRID))


def test_hog_tells_the_orientation_of_an_edge():
    pixels = torch.zeros(1, 3, 1, 48, 48)
    pixels[..., 24:] = 1  # an edge from top to bottom: its gradient points to the right, which is bin 0
    (shares,) = described("baseline_hog", pixels, BINS)
    assert shares.sum((1, 2)).argmax() == 0
    assert shares[1:].abs().max() < 1e-6
    (turned,) = described("baseline_hog", pixels.transpose(3, 4), BINS)
    assert turned.sum((1, 2)).argmax() == BINS // 2
    torch.testing.assert_close(described("baseline_hog", 1 - pixels, BINS)[0], shares)


def moving(dx: int, dy: int, T: int = 3) -> torch.Tensor:
    """A texture that moves by that many px a frame: (1,3,T,48,48)."""
    texture = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    large = nn.functional.interpolate(texture, (48, 48), mode="bicubic").clamp(0, 1)
    return torch.stack([large.roll((dy * t, dx * t), (2, 3)) for t in range(T)], 2).expand(-1, 3, -1, -1, -1)


@pytest.mark.parametrize(("dx", "dy", "expected"), [(1, 0, 0), (0, 1, 2), (-1, 0, 4), (0, -1, 6), (0, 0, BINS)])
def test_hof_tells_where_things_go(dx, dy, expected):
    shares = described("baseline_hof", moving(dx, dy), BINS + 1)
    assert shares[:, :, 1:-1, 1:-1].sum((2, 3)).argmax(1).tolist() == [expected] * 3
    torch.testing.assert_close(shares[2], shares[1])


def test_mbh_does_not_see_even_motion():
    even = create_model("baseline_mbh")(moving(1, 0)).view(3 * 2 * BINS, GRID, GRID)
    torn = moving(1, 0).clone()
    torn[..., 24:, :] = moving(-1, 0)[..., 24:, :]
    boundary = create_model("baseline_mbh")(torn)
    assert boundary.view(-1, GRID, GRID)[:, 2:4].norm() > 0.5
    assert even[:, 1:-1, 1:-1].norm() < 0.75 * boundary.norm()


def test_all_descriptors_side_by_side():
    x = moving(1, 0)
    parts = [clip_vector(create_model(name)(x)) for name in ("baseline_hog", "baseline_hof", "baseline_mbh")]
    torch.testing.assert_close(clip_vector(create_model("baseline_hog_hof")(x)), torch.cat(parts, 1))
    assert create_model("baseline_hof")(x[:, :, :1]).shape[2] == 1


def test_local_descriptors_are_of_their_block_and_span_alone():
    x = torch.rand(1, 3, 7, 48, 48)
    maps = create_model("baseline_local")(x)
    assert maps.shape == (1, 4 * (4 * BINS + 1), 2, 5, 5)
    kinds = maps.split([4 * BINS, 4 * (BINS + 1), 4 * BINS, 4 * BINS], 1)
    for kind in kinds:  # roots of shares
        torch.testing.assert_close(kind.square().sum(1), torch.ones(1, 2, 5, 5))
    other = x.clone()
    other[:, :, 6, 12:20, 12:20] = 0  # where the blocks of rows and columns 0, 1 and 2 lie, in the second step
    edges = create_model("baseline_local")(other)[:, : 4 * BINS]
    changed = torch.nonzero((edges != kinds[0]).any(1)[0])
    assert {tuple(place) for place in changed.tolist()} == {(1, row, column) for row in range(3) for column in range(3)}
    still = create_model("baseline_local")(x[:, :, :1].expand(-1, -1, 6, -1, -1))
    torch.testing.assert_close(still[:, 4 * BINS :][:, BINS :: BINS + 1][:, :1], torch.ones(1, 1, 2, 5, 5) / 2)


def test_local_descriptors_tell_where_things_go():
    for (dx, dy), expected in (((1, 0), 0), ((0, 1), 2), ((-1, 0), 4)):
        flow = create_model("baseline_local")(moving(dx, dy, 6))[0, 4 * BINS : 4 * BINS + 4 * (BINS + 1)]
        assert flow[: BINS + 1, :, 1:-1, 1:-1].sum((1, 2, 3)).argmax() == expected
