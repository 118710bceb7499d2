"""A backbone for hand-computed cases: it shows its trunk colours as they are."""

from __future__ import annotations

from torch import Tensor, nn


class BareBackbone(nn.Module):
    """Subclasses say `info` and `encode`; nothing is normalised, no input is made of colours."""

    pairs, least_made = False, 1

    def make_input(self, pixels: Tensor) -> Tensor:
        return pixels

    def forward(self, x: Tensor, made: bool = False) -> Tensor:
        return self.encode(x)
