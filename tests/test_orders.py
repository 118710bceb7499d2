"""What keeps a network from reading the order off something else than motion: noise, bars, level frames."""

from __future__ import annotations

import torch

from ssvid.ops import shortcut_removal


def clips(B=64, T=4, side=20) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(B, 1, 3, T, side, side).clamp(-1.9, None)


def test_noise_has_a_strength_of_its_own_for_each_clip_or_each_frame():
    torch.manual_seed(1)
    still = torch.zeros(400, 1, 3, 4, 16, 16)
    assert torch.equal(shortcut_removal.noise(still, 0.0), still)
    per_clip, per_frame = (
        shortcut_removal.noise(still, 0.5, frame=frame).std((2, 4, 5))[:, 0] for frame in (False, True)
    )  # (B,T)
    assert (per_clip.std(1) < 0.03).all()
    assert per_frame.std(1).mean() > 0.1
    for strengths in (per_clip.mean(1), per_frame.flatten()):  # uniform on 0..0.5
        quarters = torch.histc(strengths, 4, 0.0, 0.52) / len(strengths)
        assert (quarters - 0.25).abs().max() < 0.08


def test_bars_lie_at_the_edges_of_their_share_of_frames_and_nowhere_else():
    plain = clips()
    torch.manual_seed(2)
    barred = shortcut_removal.bars(plain, 0.5)
    covered = (barred != plain).all(2)[:, 0]  # (B,T,H,W): all channels or none
    assert torch.equal(covered, (barred != plain).any(2)[:, 0])
    assert (barred[barred != plain] == -2).all()
    assert not covered[..., 7:-7, 7:-7].any()  # 0.35 of 20 px
    share = covered.any((-2, -1)).float().mean()
    assert 0.35 < share < 0.5  # half the frames, less those whose bars are under half a pixel
    rows, columns = covered.all(-1).any(-1), covered.all(-2).any(-1)
    assert min((rows & columns).sum(), (rows & ~columns).sum(), (columns & ~rows).sum()) > 15
    assert torch.equal(covered, covered.flip(-1))
    assert torch.equal(covered, covered.flip(-2))
    heights = covered.all(-1).sum(-1)
    assert (heights[:, 0] != heights[:, 1]).any()  # each frame has its own
    assert torch.equal(shortcut_removal.bars(plain, 0.0), plain)


def test_level_frames_know_nothing_of_brightness_and_contrast():
    plain = clips(B=2)
    faded = plain * torch.tensor([0.5, 1.0, 2.0, 4.0]).view(1, 1, 1, 4, 1, 1) + torch.arange(4.0).view(1, 1, 1, 4, 1, 1)
    assert (
        shortcut_removal.level(faded)[..., 1:, :, :] - shortcut_removal.level(plain)[..., 1:, :, :]
    ).abs().max() < 0.15
    assert shortcut_removal.level(faded).mean((-2, -1)).abs().max() < 1e-5
    assert torch.equal(
        shortcut_removal.level(torch.full((1, 1, 3, 2, 8, 8), 0.7)).round(decimals=4), torch.zeros(1, 1, 3, 2, 8, 8)
    )


def test_guarded_frames_are_rough_in_training_and_level_always():
    plain, mean, std = clips(B=4), torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1, 1), torch.tensor(0.25)
    torch.testing.assert_close(
        shortcut_removal.remove_order_cues(plain * std + mean, mean, std, training=False),
        shortcut_removal.level(plain) * std + mean,
    )
    torch.manual_seed(3)
    rough = (shortcut_removal.remove_order_cues(plain * std + mean, mean, std, training=True) - mean) / std
    torch.manual_seed(3)
    expected = shortcut_removal.level(shortcut_removal.bars(shortcut_removal.noise(plain, 0.1, frame=True), 0.5))
    torch.testing.assert_close(rough, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(rough, shortcut_removal.level(plain), atol=0.1)
