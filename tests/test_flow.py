"""Optical flow against textures whose shift is known."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F
from torchvision.models.optical_flow import raft_small

from ssvid.data.flow import flow_pictures, optical_flow, warp
from ssvid.data.flow_estimators import dis_flow, raft_flow
from ssvid.errors import ConfigError, DataError


def texture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth noise (3,H,W) on 0..1."""
    noise = torch.rand(1, 3, height + 12, width + 12, generator=torch.Generator().manual_seed(seed))
    for _ in range(3):
        noise = F.avg_pool2d(noise, 5, 1)
    return ((noise - noise.amin()) / (noise.amax() - noise.amin()))[0]


def moving(dx: int, dy: int, height: int = 48, width: int = 56, frames: int = 4, seed: int = 0) -> torch.Tensor:
    """A texture (1,3,T,H,W) whose every point goes (dx, dy) px a frame, cut out of a larger one."""
    room = 8 * frames
    large = texture(height + 2 * room, width + 2 * room, seed)
    cuts = [
        large[:, room - dy * t : room - dy * t + height, room - dx * t : room - dx * t + width] for t in range(frames)
    ]
    return torch.stack(cuts, 1)[None]


def error(flow: torch.Tensor, dx: float, dy: float, border: int = 8) -> float:
    inner = flow[..., border:-border, border:-border]
    return (inner - torch.tensor([dx, dy]).view(1, 2, 1, 1, 1)).abs().mean().item()


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, -1), (2, 3), (-4, 1)])
def test_a_shift_is_found_with_its_sign(dx, dy):
    flow = optical_flow(moving(dx, dy))
    assert flow.shape == (1, 2, 3, 48, 56)
    assert error(flow, dx, dy) < 0.1
    assert error(flow, -dx, -dy) > 0.5


def test_half_a_pixel_is_found():
    fine = moving(1, 0, 96, 112)
    flow = optical_flow(torch.stack([F.avg_pool2d(frame, 2) for frame in fine.unbind(2)], 2))
    assert error(flow, 0.5, 0) < 0.1


def test_the_reverse_is_computed_from_the_frames_as_played():
    clips = moving(2, -1)
    forward, backward = optical_flow(clips), optical_flow(clips.flip(2))
    assert error(backward, -2, 1) < 0.1
    assert not torch.allclose(backward, -forward.flip(2), atol=1e-3)  # it lives on the other frame of each pair


def test_what_stands_still_or_is_blank_has_no_flow():
    still = texture(33, 45)[None, :, None].expand(-1, -1, 3, -1, -1)
    torch.testing.assert_close(optical_flow(still), torch.zeros(1, 2, 2, 33, 45))
    blank = torch.rand(1, 3, 3, 1, 1).expand(-1, -1, -1, 20, 20)  # of changing brightness
    assert optical_flow(blank).abs().max() < 1e-2


def test_clips_of_a_batch_do_not_touch_each_other():
    clips = torch.cat([moving(1, 0), moving(-2, 1, seed=3)])
    torch.testing.assert_close(optical_flow(clips)[1:], optical_flow(clips[1:]))


def test_a_batch_of_many_clips_has_the_flow_of_each():
    shifts = [(seed % 5 - 2, seed % 3 - 1) for seed in range(37)]  # two whole parts of 16 and a rest
    clips = torch.cat([moving(dx, dy, 32, 40, 3, seed) for seed, (dx, dy) in enumerate(shifts)])
    torch.testing.assert_close(
        optical_flow(clips), torch.cat([optical_flow(clip[None]) for clip in clips]), atol=1e-3, rtol=0
    )
    assert optical_flow(clips[:0]).shape == (0, 2, 2, 32, 40)


def test_precision_is_full_and_there_are_no_gradients():
    clips = moving(1, 1).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        flow = optical_flow(clips)
    assert flow.dtype == torch.float32
    assert not flow.requires_grad
    torch.testing.assert_close(flow, optical_flow(clips))


def test_warp_by_hand():
    frame = torch.arange(12.0).view(1, 1, 3, 4)
    flow = torch.zeros(1, 2, 3, 4)
    flow[:, 0] = 1.0
    torch.testing.assert_close(warp(frame, flow)[0, 0, 0], torch.tensor([1.0, 2.0, 3.0, 3.0]))
    flow[:, 0], flow[:, 1] = 0.0, 0.5
    torch.testing.assert_close(warp(frame, flow)[0, 0, :, 0], torch.tensor([2.0, 6.0, 8.0]))


# --- by others ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(48, 56), (10, 11)])
def test_dis_finds_a_shift_in_frames_of_any_size(size):
    pytest.importorskip("cv2")
    flow = dis_flow(moving(1, -1, *size))
    assert flow.shape == (1, 2, 3, *size)
    assert error(flow, 1, -1, border=2) < 0.3
    pictures = flow_pictures(moving(1, -1, *size), dis_flow)
    assert pictures.shape == (1, 3, 3, *size)


def test_without_opencv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ConfigError, match=r"needs OpenCV, which is not installed; pip install 'ssvid\[flow\]'"):
        dis_flow(moving(1, 0))


def test_raft_is_torchvisions_and_without_weights_says_where_they_go(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))

    def no_network(*arguments, **words):
        raise OSError("no route")

    clips = moving(1, 0, 128, 128, frames=2)
    with monkeypatch.context() as offline:
        offline.setattr(torch.hub, "download_url_to_file", no_network)
        with pytest.raises(DataError, match=rf"no route\); put https://.*raft_small.* into {tmp_path}/checkpoints"):
            raft_flow(clips)
    net = raft_small().eval()
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *arguments, **words: net.state_dict())
    state = torch.get_rng_state()
    flow = raft_flow(clips)
    assert torch.equal(torch.get_rng_state(), state)
    first, second = (2 * clips - 1).unbind(2)
    with torch.no_grad():
        expected = net(first, second)[-1]
    torch.testing.assert_close(flow[:, :, 0], expected, rtol=1e-4, atol=1e-4)
    small = raft_flow(clips[..., :60, :50])
    assert small.shape == (1, 2, 1, 60, 50)
