"""Temporal cycle-consistency: the cycle and its losses by hand, and that no frame knows its place."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pretext.tcc import TCC
from ssvid.errors import ConfigError
from ssvid.ops.cycle_consistency import EPSILON, cycle, cycle_loss, in_order
from ssvid.zoo import create_model

SMALL = {"frames": 6, "stride": 3, "size": 32, "width": 16}


@pytest.fixture(scope="module")
def videos(world_index):
    return world_index.videos("train")


def make(backbone="resnet18_tiny", **options) -> TCC:
    torch.manual_seed(0)
    return TCC(create_model(backbone), **(SMALL | options)).eval()


def clips_of(batch: int = 2, frames: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, frames, 3, 2, 32, 32, generator=torch.Generator().manual_seed(seed))


# Two videos of two frames, the same two vectors, so far apart that one is three times as likely as the other.
APART = math.sqrt(2 * 0.1 * math.log(3))  # one of D = 2 channels differs, the temperature is 0.1
PAIR = torch.tensor([[[0.0, 5.0], [APART, 5.0]]])


def test_the_cycle_by_hand():
    there, back = cycle(PAIR, PAIR, 0.1)
    assert torch.allclose(there.softmax(2), torch.tensor([[[0.75, 0.25], [0.25, 0.75]]]))
    # what comes back from frame 0 lies at a quarter of the way, 1/16 and 9/16 of the squared distance from the two: ln 3 / 2 apart
    home = math.sqrt(3) / (1 + math.sqrt(3))
    assert torch.allclose(back.softmax(2), torch.tensor([[[home, 1 - home], [1 - home, home]]]))


def test_the_losses_by_hand():
    _, back = cycle(PAIR, PAIR, 0.1)
    astray = 1 / (1 + math.sqrt(3))
    times = torch.tensor([[0.25, 0.75]])  # the cycle of frame 0 ends at 0.25 + astray / 2 in the mean
    missed, variance = (astray / 2) ** 2, astray * (1 - astray) / 4 + EPSILON
    assert cycle_loss("mse", back, times).item() == pytest.approx(missed, rel=1e-5)
    expected = missed / variance + 0.001 * math.log(variance)
    assert cycle_loss("regression", back, times).item() == pytest.approx(expected, rel=1e-5)
    smoothed = -0.95 * math.log(1 - astray) - 0.05 * math.log(astray)  # 0.1 of the label is spread over both
    assert cycle_loss("classification", back, times).item() == pytest.approx(smoothed, rel=1e-5)


def test_a_sure_but_wrong_cycle_has_a_finite_loss():
    back = torch.tensor([[[0.0, 1e4], [1e4, 0.0]]], requires_grad=True)
    loss = cycle_loss("regression", back, torch.tensor([[0.0, 0.5]]))
    assert loss.item() == pytest.approx(0.25 / EPSILON + 0.001 * math.log(EPSILON))
    loss.backward()
    assert back.grad is not None
    assert torch.isfinite(back.grad).all()


def test_order_of_neighbours_by_hand():
    match = torch.tensor([[0, 1, 2], [2, 1, 0], [1, 1, 1], [0, 2, 1]])
    assert in_order(match).tolist() == pytest.approx([1, 0, 0.5, 2 / 3])


@pytest.mark.parametrize("loss", ["regression", "mse", "classification"])
def test_a_video_that_never_changes_is_at_chance(loss):
    """One frame of noise for ever: if a frame knew its place, cycles would come home here too."""
    task = make("r3d_18_tiny", loss=loss)
    still = torch.randn(4, 1, 3, 1, 32, 32, generator=torch.Generator().manual_seed(1)).expand(-1, 6, -1, 2, -1, -1)
    times = torch.linspace(0.1, 0.9, 6).expand(4, 6)
    with torch.no_grad():
        values = task(still, times)
    assert torch.allclose(values["accuracy"], values["chance"])
    assert values["order_accuracy"].tolist() == [0.5] * 4
    anywhere = cycle_loss(loss, torch.zeros(4, 6, 6), times)  # what it costs to end anywhere alike
    assert values["loss"].item() == pytest.approx(anywhere.item(), rel=1e-4)


def test_exchangeable_frames_have_no_order():
    """Frames of independent noise come home more often than chance, by likeness, but their order tells nothing."""
    task = make(
        frames=12, centred=True
    ).train()  # statistics of the batch: an untrained network's running ones say nothing
    with torch.no_grad():
        values = [task(clips_of(8, 12, seed), torch.zeros(8, 12)) for seed in range(6)]
    order = torch.cat([value["order_accuracy"] for value in values])
    assert abs(order.mean() - 0.5) < 4 * order.std() / len(order) ** 0.5
    assert torch.cat([value["accuracy"] for value in values]).mean() > 1.5 / 12


@pytest.mark.parametrize("backbone", ["resnet18_tiny", "r3d_18_tiny"])
def test_a_frame_is_encoded_with_no_regard_to_its_place(backbone):
    task, clips, order = make(backbone), clips_of(), torch.tensor([3, 0, 5, 1, 4, 2])
    with torch.no_grad():
        there, _ = task.walk(clips)
        shuffled, _ = task.walk(clips[:, order])
    assert torch.allclose(there[:, order][:, :, order], shuffled, rtol=1e-3, atol=1e-3)


def test_nothing_is_drawn_for_a_frame_alone():
    """A dropout mask or a crop of a frame's own would be a name that the cycle finds it by."""
    task = make().train()
    assert not any(isinstance(module, torch.nn.Dropout) for module in task.modules())
    params = task.augment.draw(np.random.default_rng(0), 6, 2)
    assert all((value == value[:1, :1]).all() for value in params.values())


def test_both_videos_of_a_pair_are_asked_and_pairs_keep_apart():
    task, clips = make(), clips_of(4)
    with torch.no_grad():
        there, back = task.walk(clips)
        first, first_back = task.walk(clips[:2])
        swapped, _ = task.walk(clips[[1, 0]])
    assert torch.allclose(there[:2], first, atol=1e-4)
    assert torch.allclose(back[:2], first_back, atol=1e-4)
    assert torch.allclose(swapped, first.flip(0), atol=1e-4)
    assert torch.allclose(there[1], there[0].T, atol=1e-4)  # distances there are those back


def test_steps_end_at_random_frames_and_look_back_only(videos):
    task = make(context=3)
    seen = []
    for seed in range(40):
        clips = task.sample(videos[0], np.random.default_rng(seed))
        assert clips.indices.shape == (6, 3)
        assert (np.diff(clips.indices, axis=1) == 3).all()  # earlier frames of the file, none made up
        assert (np.diff(clips.indices[:, -1]) > 0).all()
        assert np.allclose(clips.target * videos[0].info.frames, clips.indices[:, -1])
        seen.append(clips.indices[:, -1])
    assert len({tuple(row) for row in seen}) > 35
    first, last = np.array(seen)[:, 0], np.array(seen)[:, -1]
    assert np.ptp(first) > 8  # neither beginning nor end is always the same
    assert np.ptp(last) > 8
    tested = task.sample(videos[0], np.random.default_rng(0), training=False).indices
    assert (tested[0, 0], tested[-1, -1]) == (0, videos[0].info.frames - 1)


def test_frames_come_from_one_whole_shot(videos):
    video = replace(videos[0], shots=replace(videos[0].shots, cuts=(24,)))
    task = make()
    for seed in range(20):
        for training in (True, False):
            clips = task.sample(video, np.random.default_rng(seed), training)
            shot = (0, 24) if clips.indices.max() < 24 else (24, 40)
            assert shot[0] <= clips.indices.min() <= clips.indices.max() < shot[1]
            assert np.allclose(clips.target, (clips.indices[:, -1] - shot[0]) / (shot[1] - shot[0]))


def test_short_videos_and_unknown_losses_are_refused(videos):
    assert make(frames=38).why_unusable(videos[0]) == "shorter than 41 frames"
    with pytest.raises(ConfigError, match="classification"):
        make(loss="triplet")


def test_embeddings_are_spread_so_that_a_temperature_of_a_tenth_is_soft(monkeypatch):
    """The standard deviation of a channel over a batch is 0.3: distances over the temperature are then of the order of 1."""
    task = TCC(create_model("resnet18_tiny"), **SMALL, centred=False).train()
    seen = []
    monkeypatch.setattr("ssvid.ops.cycle_consistency.cycle", lambda own, other, heat: seen.append(own) or (own, own))
    task.walk(clips_of(batch=4))
    spread = seen[0].flatten(0, 1).std(0, unbiased=False)
    assert spread.median().item() == pytest.approx(0.3, rel=0.02)
