"""Future frame: where the candidates lie, what is compared with what, and that no ranking rule finds the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pretext.future_frame import FutureFrame
from ssvid.zoo import create_model
from tests.bare import BareBackbone

K, REACH, GAP = (
    6,
    5,
    1,
)  # candidates; ticks from the first to the last frame of the context; between places of candidates
TRUTH = REACH + K * GAP


@pytest.fixture(scope="module")
def videos(world_index):
    return world_index.videos("train")


def make(backbone="r3d_18_tiny", **options) -> FutureFrame:
    torch.manual_seed(0)
    return FutureFrame(create_model(backbone), **({"frames": K, "stride": 1, "gap": GAP, "size": 32} | options)).eval()


def drawn(task, video, number=600):
    """Distances (number,K) of the candidates from the last frame of the context, and where the truth stands (number,)."""
    samples = [task.sample(video, np.random.default_rng(seed)) for seed in range(number)]
    ahead = np.array([clips.indices[1] - clips.indices[0, -1] for clips in samples])
    return ahead, np.array([clips.target for clips in samples])


def test_candidates_lie_on_both_sides_and_never_in_the_context(videos):
    ahead, target = drawn(make(), videos[0])
    assert (ahead[np.arange(len(ahead)), target] == TRUTH).all()
    assert ((ahead == TRUTH).sum(1) == 1).all()
    past, later = ahead[ahead < 0], ahead[ahead > TRUTH]
    assert set(past) == {
        -(REACH + j * GAP) for j in range(1, K)
    }  # before the context, yet nearer to its end than the truth
    assert set(later) == {TRUTH + j * GAP for j in range(1, K)}
    assert ((ahead < 0) | (ahead >= TRUTH)).all()
    assert all(len(set(row)) == K for row in ahead)


def test_no_ranking_finds_the_truth(videos):
    """By nearness, by lateness and by place in the row, the truth holds every rank equally often."""
    ahead, target = drawn(make(), videos[0])
    rows = np.arange(len(ahead))
    for key in (np.abs(ahead), ahead, np.broadcast_to(np.arange(K), ahead.shape)):
        rank = key.argsort(1).argsort(1)[rows, target]
        counts = np.bincount(rank, minlength=K)
        expected = len(ahead) / K
        assert ((counts - expected) ** 2 / expected).sum() < 20.5  # chi square of 5 degrees, 1 in 1000


def test_scores_by_hand():
    class Mean(BareBackbone):
        """One channel: the mean of a frame, at every place."""

        info = create_model("r3d_18_tiny").info

        def encode(self, x):  # (B,3,T,H,W) -> (B,D,T,1,1)
            return x.mean((1, 3, 4))[:, None, :, None, None].expand(-1, self.info.dim, -1, -1, -1)

    task = FutureFrame(Mean(), frames=2)
    for layer in (task.expect, task.embed):
        torch.nn.init.constant_(layer.weight, 0.1 / layer.in_features)
        torch.nn.init.zeros_(layer.bias)
    clips = torch.zeros(1, 2, 3, 2, 4, 4)
    clips[0, 0, :, 0], clips[0, 0, :, 1] = 1.0, 3.0  # the context's mean is 2
    clips[0, 1, :, 0], clips[0, 1, :, 1] = 2.5, 4.0
    values = task(clips, torch.tensor([1]))
    scale = 0.1**2 * 128**0.5  # 128 channels of a tenth, over the root of 128 channels and one cell
    assert task.scores(clips).tolist()[0] == pytest.approx([5 * scale, 8 * scale])
    assert values["loss"].item() == pytest.approx(math.log(1 + math.exp(-3 * scale)), rel=1e-4)
    assert values["accuracy"].tolist() == [1.0]
    assert values["nearest_pixels"].tolist() == [0.0]  # 2.5 is nearer to 3, the last frame, than 4 is
    assert values["chance"].tolist() == [0.5]


@pytest.mark.parametrize("backbone", ["r3d_18_tiny", "mc3_18_tiny"])
def test_a_candidate_is_seen_alone(backbone):
    task, order = make(backbone), torch.tensor([4, 2, 0, 5, 1, 3])
    clips = torch.randn(2, 2, 3, K, 32, 32, generator=torch.Generator().manual_seed(0))
    other = clips.clone()
    other[:, 1] = clips[:, 1][:, :, order]
    with torch.no_grad():
        scores, shuffled = task.scores(clips), task.scores(other)
        other[:, 0] = clips[:, 0].flip(2)
        backwards = task.scores(other)
    assert torch.allclose(scores[:, order], shuffled, atol=1e-4)
    assert not torch.allclose(shuffled, backwards, atol=1e-4)  # while the context is seen in its order


def test_still_video_is_at_chance():
    task = make()
    still = torch.randn(3, 1, 3, 1, 32, 32).expand(-1, 2, -1, K, -1, -1)
    with torch.no_grad():
        values = task(still, torch.tensor([0, 1, 2]))
    assert values["loss"].item() == pytest.approx(math.log(K), abs=1e-4)


def test_crop_and_colours_tell_nothing():
    """Every frame has colours of its own; all share a crop, lest the place of things say nothing either."""
    params = make().augment.draw(np.random.default_rng(0), 2, K)
    assert (params["box"] == params["box"][:1, :1]).all()
    assert len(np.unique(params["color"][..., 0])) == 2 * K


def test_default_chance_is_that_of_the_default_candidates():
    assert FutureFrame(create_model("r3d_18_tiny")).chance == FutureFrame.chance
    assert make().chance == 1 / K
