"""T-CAM: parts of the clip side by side as channels, compared by convolutions over space (Wei et al., CVPR 2018, Learning and Using the
Arrow of Time).

The steps of each part are averaged, in the place of the paper's network of ten flow frames. What comes out is a map: with the mean over it
and a linear layer, as `arrow_of_time` has it, that layer shows in every cell what speaks for which answer, the class activation map.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.errors import ConfigError

HEADS = {
    "tcam": {
        "description": "parts of the clip side by side as channels, two convolutions over space",
        "source": "Wei et al., Learning and Using the Arrow of Time, CVPR 2018",
        "licence": "Apache-2.0",
    }
}


def build(name: str, dim: int, *, hidden: int = 0, groups: Literal[2, 3, 4, 5] = 2) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,1,h,w); t is `groups` at least.

    hidden: channels of both convolutions, 0 for as many as the encoder's; the paper's 1024. groups: parts of the clip; the paper's 2.
    """
    return TCAM(dim, hidden or dim, groups)


class TCAM(nn.Module):
    """Parts as channels, two convolutions: (B,D,t,h,w) -> (B,H,1,h,w)."""

    def __init__(self, dim: int, hidden: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.compare = nn.Sequential()
        for width in (groups * dim, hidden):
            conv = nn.Conv2d(width, hidden, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            self.compare.extend((conv, nn.ReLU(), nn.BatchNorm2d(hidden, eps=1e-3), nn.Dropout(0.5)))

    def forward(self, maps: Tensor) -> Tensor:
        """Compute."""
        t, h, w = maps.shape[2:]
        if t < self.groups:
            raise ConfigError(f"tcam compares {self.groups} parts of a clip and has {t} steps. Sample longer clips.")
        parts = F.adaptive_avg_pool3d(maps, (self.groups, h, w))
        compared: Tensor = self.compare(parts.transpose(1, 2).flatten(1, 2))
        return compared.unsqueeze(2)
