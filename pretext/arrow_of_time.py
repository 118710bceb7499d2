"""Arrow of time: does the clip play forward or backward?

Wei et al., Learning and Using the Arrow of Time, CVPR 2018. A clip and its reverse stand in the same batch, made of the very same
decoded frames with the same crop and colours, so that neither content nor any processing can tell them apart, only their order.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ssvid.training.task import (
    Augment,
    Backbone,
    Clips,
    PretextTask,
    Row,
    VideoRecord,
    binary_accuracy,
    binary_loss,
    clip_vector,
)


class ArrowOfTime(PretextTask):
    """One logit on the mean over space and time.

    The paper reads optical flow of stabilised clips; this reads RGB, without bars (cut off by the reader) and inside one shot.

    frames: T. stride: ticks of the clock between frames. size: side in px.
    fps: clock in frames a second; None counts the video's own frames.
    min_motion: least mean motion of a window, 0..255; a still window has no direction.
    """

    needs = ("time",)
    controls = ("pan", "fade", "bars", "recode", "padding")
    chance = 0.5

    def __init__(
        self,
        backbone: Backbone,
        *,
        frames: int = 16,
        stride: int = 2,
        size: int = 112,
        fps: float | None = None,
        min_motion: float = 0.1,
    ) -> None:
        augment = Augment(size=size, area=(0.5, 1.0), jitter=0.2, crop_scope="video", color_scope="video")
        super().__init__(backbone, augment, span=(frames - 1) * stride + 1, fps=fps, min_motion=min_motion)
        self.stride = stride
        self.head = nn.Linear(backbone.info.dim, 1)

    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Indices (1,T) of the forward clip, with target (0, 1) for forward and backward."""
        return Clips(self.window(video, rng, training)[None, :: self.stride], np.array([0, 1]))

    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips (B,1,C,T,H,W), target (B,2) -> loss and accuracy; the backward clip is the forward one reversed."""
        logits = self.logits(self.both_ways(clips))
        return {"loss": binary_loss(logits, target), "accuracy": binary_accuracy(logits, target)}

    def both_ways(self, clips: Tensor) -> Tensor:
        """A clip and its reverse: (B,1,C,T,H,W) -> (B,2,C,T,H,W)."""
        return torch.cat([clips, clips.flip(3)], 1)

    def logits(self, clips: Tensor) -> Tensor:
        """How much each clip looks backward: (B,V,C,T,H,W) -> (B,V)."""
        return self.head(clip_vector(self.backbone(clips.flatten(0, 1)))).view(clips.shape[:2])

    def show(self, clips: Tensor, target: Tensor) -> Iterator[Row]:
        """Both directions of some videos with the probability of being backward."""
        both = self.both_ways(clips[:4])
        for pair, says in zip(self.pixels(both), self.logits(both).sigmoid(), strict=True):
            for name, clip, share in zip(("forward", "backward"), pair, says, strict=True):
                yield f"{name}; says backward: {share:.0%}", clip
