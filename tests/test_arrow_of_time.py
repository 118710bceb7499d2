"""The arrow of time sees a clip and its very reverse."""

from __future__ import annotations

import torch

from pretext.arrow_of_time import ArrowOfTime
from ssvid.zoo import model_info


def test_arrow_of_time_sees_a_clip_and_its_very_reverse():
    seen = []

    class Spy(torch.nn.Module):
        info = model_info("r3d_18_tiny")

        def forward(self, x):
            seen.append(x)
            return x.mean((2, 3, 4), keepdim=True).expand(-1, -1, 1, 1, 1)[:, :1].repeat(1, self.info.dim, 1, 1, 1)

    task = ArrowOfTime(Spy())
    clips = torch.randn(2, 1, 3, 5, 8, 8)
    values = task(clips, torch.tensor([[0.0, 1.0]] * 2))
    both = seen[0].view(2, 2, 3, 5, 8, 8)
    assert torch.equal(both[:, 0], clips[:, 0])
    assert torch.equal(both[:, 1], clips[:, 0].flip(2))
    # a network that sees no order gives both the same logit, so exactly one of the two is right
    assert values["accuracy"].tolist() == [0.5, 0.5]
