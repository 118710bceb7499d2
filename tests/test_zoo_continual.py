"""Networks made continual: what comes frame by frame is the clip's map, to its borders, and nothing is shared between streams."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from ssvid.zoo import create_model, list_models, model_info
from ssvid.zoo.continual import ContinualTrunk, WholeClipError, continual
from ssvid.zoo.stream import ContinualStream, HeadStream, open_stream

CPU = torch.device("cpu")
STREAMING = [
    (name, {}) for name in list_models("*_tiny") if model_info(name).streams and model_info(name).temporal_rf != 1
]
OPTIONS = [("x3d_tiny", {"se": "frame"}), ("i3d_tiny", {"temporal_padding": "replicate"})]
OPTIONS += [(name, {"temporal_stride": False}) for name in ("r3d_18_tiny", "c3d_tiny", "slowfast_tiny")]
PATIENT = {
    "slow_tiny": 1,
    "mc3_18_tiny": 3,
    "csn_tiny": 3,
    "r3d_18_tiny": 12,
    "c3d_tiny": 23,
}  # delays worked out by hand


def video(T: int, side: int = 16, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, T, side, side, generator=torch.Generator().manual_seed(seed))


def network(name: str, **options: object) -> nn.Module:
    """A small network whose norms do something, as those of a trained one do."""
    torch.manual_seed(0)
    net = create_model(name, **options).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2)
            module.bias.data.normal_(std=0.3)
    return net


def stepped(stream, clip: Tensor) -> Tensor:
    """All steps of a clip."""
    state, given = stream.init_state(len(clip), CPU), []
    for frame in clip.unbind(2):
        out, state = stream.step(frame, state)
        given.append(out)
    return torch.stack([out for out in given if out is not None] + stream.flush(state), 2)


def tensors(value: object) -> list[Tensor]:
    return [part for part in torch.utils._pytree.tree_leaves(value) if isinstance(part, Tensor)]


def test_all_families_that_should_stream_do():
    streaming = {name for name, _ in STREAMING}
    assert streaming >= {
        "c3d_tiny",
        "r3d_18_tiny",
        "r2plus1d_18_tiny",
        "mc3_18_tiny",
        "slow_tiny",
        "csn_tiny",
        "s3d_tiny",
        "i3d_tiny",
    }
    assert not streaming & {
        "x3d_tiny",
        "s3dg_tiny",
        "mvit_v2_tiny",
        "swin3d_tiny",
        "two_stream_tiny",
        "timesformer_tiny",
    }
    assert all(
        model_info(name).streams
        for name in ("slow_r50", "r3d_10", "r3d_18", "r2plus1d_18", "mc3_18", "csn_r50", "s3d", "i3d")
    )
    assert not model_info("x3d_s").streams
    assert model_info("x3d_s", se="frame").streams
    assert not model_info("c3d_tiny", layer="fc6").streams
    assert not model_info("r3d_18_tiny", input="residual").streams


@torch.no_grad()
@pytest.mark.parametrize(("name", "options"), STREAMING + OPTIONS, ids=str)
def test_steps_are_those_of_the_clip(name, options):
    net = network(name, **options)
    info, stream = net.info, open_stream(net)
    assert isinstance(stream, ContinualStream)
    assert stream.exact
    assert stream.stride == info.temporal_stride
    side = max(16, info.min_size)
    for T in (info.min_frames, info.min_frames + 1, info.temporal_rf, 3 * info.temporal_rf + 1):
        clip = video(max(T, info.min_frames), side)
        made, maps = stepped(stream, clip), net(clip)
        assert made.shape == maps.shape
        torch.testing.assert_close(made, maps, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        stepped(stream, clip), made, rtol=0, atol=0
    )  # with fresh state, nothing is left of the first time


@torch.no_grad()
@pytest.mark.parametrize(("name", "options"), STREAMING + OPTIONS[:1], ids=str)
def test_a_step_comes_after_its_delay_and_then_at_every_stride(name, options):
    stream = open_stream(network(name, **options))
    assert stream.delay == PATIENT.get(name, stream.delay)
    T, side = stream.delay + 2 * stream.stride + 1, max(16, stream.backbone.info.min_size)
    state, given = stream.init_state(1, CPU), []
    for number, frame in enumerate(video(T, side).unbind(2)):
        out, state = stream.step(frame, state)
        given += [] if out is None else [number]
    assert given == [stream.delay, stream.delay + stream.stride, stream.delay + 2 * stream.stride]


@torch.no_grad()
@pytest.mark.parametrize(("name", "options"), [*STREAMING, OPTIONS[0]], ids=str)
def test_states_are_values(name, options):
    """Two streams taken in turns do not disturb each other, and no step changes a state that it was given."""
    net = network(name, **options)
    stream, side = open_stream(net), max(16, net.info.min_size)
    clips = [video(max(net.info.min_frames, 11), side, seed) for seed in (1, 2)]
    states, given = [stream.init_state(1, CPU)] * 2, ([], [])
    for frames in zip(*(clip.unbind(2) for clip in clips), strict=True):
        for i, frame in enumerate(frames):
            before, kept = states[i], copy.deepcopy(states[i])
            out, states[i] = stream.step(frame, before)
            given[i].extend([] if out is None else [out.clone()])
            if out is not None:
                out.zero_()  # it is the caller's
            assert all(torch.equal(one, other) for one, other in zip(tensors(before), tensors(kept), strict=True))
    for i, clip in enumerate(clips):
        kept = copy.deepcopy(states[i])
        rest = stream.flush(states[i])
        assert all(torch.equal(one, other) for one, other in zip(tensors(states[i]), tensors(kept), strict=True))
        maps = net(clip)
        made = torch.stack(given[i] + rest, 2)
        torch.testing.assert_close(made, maps, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_memory_does_not_grow():
    stream = open_stream(network("r3d_18_tiny"))
    state, sizes = stream.init_state(1, CPU), []
    for frame in video(64).unbind(2):
        _, state = stream.step(frame, state)
        sizes.append(sum(len(set(part.stride()) - {0}) and part.numel() for part in tensors(state)))
    assert max(sizes) == max(sizes[16:32])


class Whole(nn.Module):
    """Sees the whole clip."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean((2, 3, 4), keepdim=True)


class Decides(nn.Module):
    """Asks what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    "net",
    [
        Whole(),
        Decides(),
        nn.Conv3d(3, 4, 3, padding=1, padding_mode="circular"),
        nn.AvgPool3d(3, 1, 1, count_include_pad=False),
        nn.Upsample(scale_factor=2),
        nn.Sequential(nn.Conv3d(3, 4, 3), nn.Flatten()),
    ],
    ids=lambda net: type(net).__name__,
)
def test_what_may_see_the_whole_clip_is_not_taken(net):
    assert continual(net) is None
    with pytest.raises(WholeClipError):
        ContinualTrunk(net)


@pytest.mark.parametrize(
    "net",
    [
        nn.Conv3d(3, 4, (3, 3, 3), (2, 1, 1), (1, 1, 1)),
        nn.Conv3d(3, 4, (1, 1, 1), (3, 1, 1)),
        nn.Conv3d(3, 4, (3, 1, 1), dilation=(4, 1, 1), padding=(4, 0, 0)),
        nn.Conv3d(3, 4, (4, 1, 1), (3, 1, 1), (2, 0, 0)),
        nn.MaxPool3d(3, 2, 1),
        nn.MaxPool3d(3, 2, ceil_mode=True),
        nn.MaxPool3d((2, 1, 1), (3, 1, 1), ceil_mode=True),
        nn.MaxPool3d((3, 1, 1), (1, 1, 1), (2 // 2, 0, 0), dilation=(2, 1, 1)),
        nn.AvgPool3d(2, 2, ceil_mode=True),
        nn.AvgPool3d((4, 1, 1), (3, 1, 1), (2, 0, 0), ceil_mode=True),
    ],
    ids=str,
)
def test_layers_at_the_borders(net):
    for T in range(1, 24):
        clip = video(T, 4) - 0.5  # zeros around it are not the smallest values
        try:
            maps = net(clip)
        except RuntimeError:  # too short for the layer
            continue
        steps, state, given = ContinualTrunk(nn.Sequential(net)), None, []
        for frame in (*clip.split(1, 2), None):
            out, state = steps.advance(frame, state, last=frame is None)
            given += [] if out is None else [out]
        torch.testing.assert_close(torch.cat(given, 2), maps)


@torch.no_grad()
@pytest.mark.parametrize(
    "name", ["mc3_18_tiny+timeception", "resnet18_tiny+timeception", "r3d_18_tiny+gru", "slow_tiny+local_pooling"]
)
def test_a_head_takes_the_steps_of_a_continual_encoder(name):
    net = network(name)
    stream = open_stream(net)
    assert isinstance(stream, HeadStream)
    for T in (net.info.min_frames, 9, 33):
        clip = video(T)
        made, maps = stepped(stream, clip), net(clip)
        torch.testing.assert_close(made[:, :, -maps.shape[2] :], maps, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_timeception_answers_for_the_clip_so_far():
    net = network("resnet18_tiny+timeception")
    stream, clip, state = open_stream(net), video(9), None
    state = stream.init_state(1, CPU)
    for t, frame in enumerate(clip.unbind(2), 1):
        out, state = stream.step(frame, state)
        torch.testing.assert_close(out, net(clip[:, :, :t]).squeeze(2), rtol=1e-4, atol=1e-4)


def test_heads_that_take_levels_stream_behind_image_networks_only():
    assert model_info("resnet18_tiny+gru_rcn").streams
    assert not model_info("r3d_18_tiny+gru_rcn").streams
    assert not model_info("s3dg_tiny+lstm").streams
