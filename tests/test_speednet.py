"""SpeedNet's sampling, its logit and its map, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pretext.speednet import NORMAL, SPED_UP, SpeedNet, skip_frames
from ssvid.errors import ConfigError
from ssvid.zoo import create_model, model_info


@pytest.fixture(scope="module")
def videos(world_index):
    return world_index.videos("train")


class First(torch.nn.Module):
    """(B,3,T,H,W) -> (B,D,T,H,W), every channel the first of x."""

    info = model_info("s3dg_tiny", temporal_stride=False)

    def forward(self, x):
        return x[:, :1].repeat(1, self.info.dim, 1, 1, 1)


def test_labels_are_balanced_and_the_sped_up_clip_reaches_further(videos):
    task = SpeedNet(First(), frames=8, size=(32, 32))
    window_lengths = []
    for seed in range(40):
        clips = task.sample(videos[0], np.random.default_rng(seed))
        assert clips.target.tolist() == [0, 1]
        assert clips.indices.shape == (2, 8)
        window_lengths.append(np.ptp(clips.indices, axis=1))
    normal, sped_up = np.mean(window_lengths, 0) / 7
    assert 1.0 <= normal < 1.25
    assert 1.7 < sped_up < 2.2
    still = task.sample(videos[0], np.random.default_rng(0), training=False).indices
    assert np.diff(still).tolist() == [[1] * 7, [2] * 7]


@pytest.mark.parametrize("rate", [*NORMAL, *SPED_UP])
def test_one_frame_in_f_is_kept_by_coins_of_its_own(rate):
    frames, draws = 64, 400
    rng = np.random.default_rng(0)
    picks = np.stack([skip_frames(3 * frames, frames, rate, rng) for _ in range(draws)])
    gaps = np.diff(picks)
    number, kept = gaps.size, 1 / rate
    # the gap to the next survivor is geometric: mean f, variance f (f - 1)
    assert abs(gaps.mean() - rate) <= 4 * np.sqrt(rate * (rate - 1) / number)
    for gap in (1, 2, 3):
        share = kept * (1 - kept) ** (gap - 1)
        assert abs((gaps == gap).mean() - share) <= 4 * np.sqrt(share * (1 - share) / number)
    # irregular: a gap does not tell the next, so there is no period
    if rate > 1:
        assert abs(np.corrcoef(gaps[:, :-1].ravel(), gaps[:, 1:].ravel())[0, 1]) < 4 / np.sqrt(number)
    # every place of the window is as likely as any other where clips cannot have ended yet
    assert abs((picks == 0).any(1).mean() - kept) <= 4 * np.sqrt(kept * (1 - kept) / draws)


def test_rates_are_drawn_from_the_papers_ranges(videos, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "pretext.speednet.skip_frames", lambda window_length, frames, rate, rng: seen.append(rate) or np.arange(frames)
    )
    task = SpeedNet(First(), frames=8)
    for seed in range(300):
        task.sample(videos[0], np.random.default_rng(seed))
    for rates, (least, most) in ((np.array(seen[::2]), (1.0, 1.2)), (np.array(seen[1::2]), (1.7, 2.2))):
        assert least <= rates.min() < least + 0.02 * (most - least)
        assert most - 0.02 * (most - least) < rates.max() <= most


def test_a_window_with_too_few_survivors_undoes_skips():
    picks = skip_frames(10, 8, 3.0, np.random.default_rng(0))
    assert len(picks) == 8
    assert (np.diff(picks) > 0).all()
    assert picks[-1] < 10


def test_training_and_testing_need_their_own_length(videos):
    task = SpeedNet(First(), frames=16)  # trains on 48 of the 40 frames, tests on 31
    assert task.why_unusable(videos[0]) == "shorter than 48 frames"
    task.eval()
    assert task.why_unusable(videos[0]) is None
    indices = task.sample(videos[0], np.random.default_rng(0), training=False).indices
    assert np.diff(indices).tolist() == [[1] * 15, [2] * 15]
    task.train()
    assert task.why_unusable(videos[0]) == "shorter than 48 frames"


@pytest.mark.parametrize(("frames", "test_frames", "tested"), [(64, None, 16), (8, None, 8), (8, 12, 12)])
def test_test_frames(videos, frames, test_frames, tested):
    task = SpeedNet(First(), frames=frames, test_frames=test_frames)
    assert task.sample(videos[0], np.random.default_rng(0), training=False).indices.shape == (2, tested)
    assert task.window_length >= 2 * tested - 1


def test_loss_and_accuracy_by_hand():
    task = SpeedNet(First(), frames=2)
    torch.nn.init.constant_(task.head.weight, 1 / task.head.in_features)
    torch.nn.init.zeros_(task.head.bias)
    clips = torch.zeros(1, 2, 3, 2, 2, 2)
    clips[0, 0, 0, :, 0, 0] = -2.0
    clips[0, 0, 0, :, 0, 1] = -1.0  # the largest of frame 0 and 1 is 0: two cells stay there
    clips[0, 1, 0, 0, 1, 1] = 4.0  # max over space 4 and 0, mean over time 2
    values = task(clips, torch.tensor([[0.0, 1.0]]))
    expected = (np.log(1 + np.exp(0.0)) + np.log(1 + np.exp(-2.0))) / 2
    assert values["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert values["accuracy"].tolist() == [1.0]  # 0 is not above 0: "normal"; 2 is: "sped up"
    assert values["pair_accuracy"].tolist() == [1.0]


def test_map_by_hand():
    task = SpeedNet(First(), frames=2)
    with torch.no_grad():
        task.head.weight.copy_(torch.linspace(-1, 2, task.head.in_features)[None])
        task.head.bias.fill_(0.25)
    clips = torch.randn(2, 2, 3, 4, 5, 5)
    expected = clips[:, :, 0] * task.head.weight.sum() + 0.25
    torch.testing.assert_close(task.cam(clips), expected)
    assert task.cam(clips).shape == (2, 2, 4, 5, 5)


def test_any_length_and_size_can_be_judged():
    task = SpeedNet(create_model("s3dg_tiny", temporal_stride=False), frames=8).eval()
    with torch.no_grad():
        for T, N in ((4, 32), (16, 48)):
            clips = torch.randn(1, 2, 3, T, N, N)
            assert task.logits(clips).shape == (1, 2)
            assert task.cam(clips).shape[:3] == (1, 2, T)


def test_each_clip_has_a_crop_and_colours_of_its_own_that_drift_evenly():
    """Were they one for both, the longer way of the sped-up clip's crop would tell its speed; were they a frame's own, motion would."""
    augment = SpeedNet(create_model("s3dg_tiny", temporal_stride=False), frames=8).augment
    apart = 0
    for seed in range(20):
        params = augment.draw(np.random.default_rng(seed), 2, 8)
        for drawn in (params["box"][..., :3], params["color"][..., :3]):
            normal, sped_up = drawn
            apart += not np.allclose(normal, sped_up)
            np.testing.assert_allclose(
                np.diff(drawn, 2, axis=1), 0, atol=1e-6
            )  # a straight way from first to last frame
    assert apart == 40


def test_even_pairs_take_every_tick_and_every_other_from_anywhere_in_the_window(videos):
    """Coins make the sped-up clip alone jerk; with even=1 nothing but the pace differs."""
    task = SpeedNet(First(), frames=8, segment=3.0, even=1.0)
    starts = []
    for seed in range(60):
        indices = task.sample(videos[0], np.random.default_rng(seed)).indices
        assert np.diff(indices).tolist() == [[1] * 7, [2] * 7]
        starts.append(indices[:, 0])
    assert all(len({int(start) for start in row}) > 10 for row in np.transpose(starts))
    assert all((row < videos[0].info.frames - 14).all() for row in np.transpose(starts)[1:])
    mixed = SpeedNet(First(), frames=8, even=0.5)
    jerks = [np.ptp(np.diff(mixed.sample(videos[0], np.random.default_rng(s)).indices[1])) > 0 for s in range(200)]
    assert 0.35 < np.mean(jerks) < 0.65
    assert SpeedNet(First(), frames=16, segment=1.0, even=0.5).window_length == 31  # two to a tick fit


def test_a_share_of_even_pairs_is_a_share():
    with pytest.raises(ConfigError, match=r"even=1\.5"):
        SpeedNet(First(), even=1.5)
