"""Optical flow against textures whose shift is known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ssvid.data.flow import optical_flow, warp


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
