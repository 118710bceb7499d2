"""Streams: frame by frame exactly where a network can, over a sliding window elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ssvid.errors import ConfigError
from ssvid.zoo import clip_vector, create_model, list_models, model_info
from ssvid.zoo.stream import PooledStream, WindowState, WindowStream, open_stream

CPU = torch.device("cpu")


def video(T: int) -> Tensor:
    return torch.rand(2, 3, T, 32, 32, generator=torch.Generator().manual_seed(0))


def run(stream, clip: Tensor) -> tuple[list[Tensor | None], list[Tensor]]:
    """What each frame gives, and what comes after the last."""
    state, given = stream.init_state(len(clip), CPU), []
    for frame in clip.unbind(2):
        out, state = stream.step(frame, state)
        given.append(out)
    return given, stream.flush(state)


@torch.no_grad()
@pytest.mark.parametrize(
    "name", [name for name in list_models("*_tiny") if model_info(name).streams and model_info(name).temporal_rf == 1]
)
def test_a_stream_of_an_image_network_gives_the_map_of_the_clip(name):
    backbone = create_model(name).eval()
    stream = open_stream(backbone)
    assert stream.exact
    assert stream.delay == 0
    given, rest = run(stream, video(7))
    torch.testing.assert_close(torch.stack(given + rest, 2), backbone(video(7)))


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "options"), [("mvit_v2_tiny", {}), ("resnet18_tiny+transformer", {}), ("resnet18_tiny", {"input": "flow"})]
)
def test_a_window_slides_over_what_has_no_exact_stream(name, options):
    backbone = create_model(name, **options).eval()
    stream = open_stream(backbone, window=6, every=2)
    assert not stream.exact
    assert stream.delay == 3
    clip = video(11)
    given, rest = run(stream, clip)
    assert [out is not None for out in given] == [False] * 5 + [True, False, True, False, True, False]
    for last in (5, 7, 9):
        torch.testing.assert_close(given[last], backbone(clip[:, :, last - 5 : last + 1]).mean(2))
    assert rest == []


@torch.no_grad()
def test_a_short_video_gives_one_step_at_its_end():
    backbone = create_model("r3d_18_tiny").eval()
    clip = video(3)
    given, (rest,) = run(WindowStream(backbone, 5), clip)
    assert given == [None] * 3
    torch.testing.assert_close(rest, backbone(clip[:, :, [0, 1, 2, 2, 2]]).mean(2))
    assert WindowStream(backbone, 5).flush(WindowState(None, 0)) == []


@torch.no_grad()
def test_a_stream_can_be_forked():
    stream = WindowStream(create_model("r3d_18_tiny").eval(), 4)
    state = stream.init_state(2, CPU)
    for frame in video(3).unbind(2):
        _, state = stream.step(frame, state)
    before = state.frames.clone()
    one, two = (stream.step(torch.full((2, 3, 32, 32), grey), state)[0] for grey in (0.0, 1.0))
    assert torch.equal(state.frames, before)
    assert not torch.equal(one, two)
    assert torch.equal(one, stream.step(torch.zeros(2, 3, 32, 32), state)[0])


def test_memory_is_that_of_the_window():
    backbone = create_model("r3d_18_tiny").eval()
    stream = WindowStream(backbone, 4, every=1000)
    state = stream.init_state(2, CPU)
    with torch.no_grad():
        for frame in video(12).unbind(2):
            _, state = stream.step(frame, state)
    assert state.frames.shape[2] == 4
    other = create_model("s3dg_tiny")
    assert open_stream(other).window == other.info.frames


def test_a_window_that_is_too_short_is_refused():
    with pytest.raises(ConfigError, match="windows of at least 8 frames, not 4"):
        open_stream(create_model("s3dg_tiny"), window=4)


@torch.no_grad()
@pytest.mark.parametrize("pool", ["mean", "max_space_mean_time"])
def test_vectors_of_a_stream_are_means_of_its_last_steps(pool):
    backbone = create_model("mc3_18_tiny").eval()
    clip = video(11)
    maps = backbone(clip)
    for steps in (0, 1, 4, 50):
        given, rest = run(PooledStream(open_stream(backbone), steps, pool), clip)
        vectors = [out for out in given if out is not None] + rest
        assert len(vectors) == maps.shape[2]
        for t, vector in enumerate(vectors, 1):
            seen = maps[:, :, max(0, t - steps) if steps else 0 : t]
            torch.testing.assert_close(vector, clip_vector(seen, pool), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(vectors[-1], clip_vector(maps, pool), rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match="whole clips"):
        PooledStream(open_stream(backbone), pool="mean_std")
