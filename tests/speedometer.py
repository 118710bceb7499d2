"""A network that knows the truth: it measures how far a bright bar moves from tick to tick, on video made for it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ssvid.data.augment import Augment

HEIGHT, WIDTH, BAR = 48, 160, 24  # px
LIMIT = 4.0  # px a tick from which it finds a video sped up


def bar(place: float) -> np.ndarray:
    """A frame (H,W,3) with a bright bar that runs to and fro, `place` px on its way."""
    turn = 2 * (WIDTH - BAR)
    left = (WIDTH - BAR) - abs(place % turn - (WIDTH - BAR))
    x = np.arange(WIDTH)
    cover = np.clip(np.minimum(x + 1 - left, left + BAR - x), 0, 1)
    return np.broadcast_to((20 + 200 * cover)[None, :, None], (HEIGHT, WIDTH, 3)).astype(np.uint8)


def sweep(pace: np.ndarray) -> Iterator[np.ndarray]:
    """Frames of a bar that moves by `pace` px from each frame to the next."""
    return (bar(place) for place in np.cumsum(pace))


class Speedometer(nn.Module):
    """Stands for a trained SpeedNet: sure on both sides of LIMIT px a tick."""

    def __init__(self, fps: float | None = None) -> None:
        super().__init__()
        self.frames, self.fps, self.augment = 8, fps, Augment(size=HEIGHT)

    def logits(self, clips: Tensor) -> Tensor:
        """(B,V,C,T,h,w) -> (B,V): two edges of the bar change by `pace` px each, in every row."""
        change = clips.diff(dim=3).abs().mean((2, 4)).sum(-1) * 255 / 200 / 2  # (B,V,T-1) px
        return 25 * (change.median(-1).values.clamp_min(0.1).log() - torch.tensor(LIMIT).log())
