"""SpeedNet's sampling and its logit, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pretext.speednet import SpeedNet
from ssvid.zoo import create_model, model_info


@pytest.fixture(scope="module")
def videos(world_index):
    return world_index.videos("train")


def test_speednet_labels_are_balanced_and_the_sped_up_clip_reaches_further(videos):
    task = SpeedNet(create_model("s3dg_tiny", temporal_stride=False), frames=8, size=(32, 32))
    spans = []
    for seed in range(40):
        clips = task.sample(videos[0], np.random.default_rng(seed))
        assert clips.target.tolist() == [0, 1]
        assert clips.indices.shape == (2, 8)
        spans.append(np.ptp(clips.indices, axis=1))
    normal, sped_up = np.mean(spans, 0) / 7
    assert 1.0 <= normal < 1.25
    assert 1.7 < sped_up < 2.2
    still = task.sample(videos[0], np.random.default_rng(0), training=False).indices
    assert np.diff(still).tolist() == [[1] * 7, [2] * 7]


def test_speednet_by_hand():
    class Peak(torch.nn.Module):
        info = model_info("s3dg_tiny", temporal_stride=False)

        def forward(self, x):  # (B,3,T,H,W) -> (B,D,T,H,W), every channel the first of x
            return x[:, :1].repeat(1, self.info.dim, 1, 1, 1)

    task = SpeedNet(Peak(), frames=2)
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
