"""Clip order: in which order did these three clips happen?

VCOP, Xu et al., CVPR 2019. Three clips of one video with gaps between them, so that the end of one does not join the start of the next,
are shuffled; the network compares them in pairs and names one of 3! = 6 permutations.

The published code crops every clip on its own but leaves colours alone, so that brightness drifting through the video (exposure, dusk, a
fade) gives the order away. Here every clip gets colours of its own as well (`jitter`, 0 as published), and the whole video may be flipped.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ssvid.ops import permutations, shortcut_removal
from ssvid.training.task import (
    Augment,
    Backbone,
    CaptionedFrames,
    Clips,
    ClipView,
    ConfigError,
    PretextTask,
    VideoRecord,
    Window,
    clip_vector,
)

CLIPS = 3
ORDERS = permutations.every(CLIPS)


class ClipOrder(PretextTask):
    """Each clip to one vector, each pair of vectors through one layer, all pairs through another to six logits.

    frames: T of a clip. gap: frames left out between clips; the paper takes 8. stride: ticks of the clock between frames.
    input: "rgb", or "residual", the T-1 changes from frame to frame, which show less of what could be learnt by heart.
    size: side in px. jitter: brightness, contrast and saturation drawn for every clip, 0.4 means factors in 0.6..1.4.
    noise: most noise added to a clip in training, in standard deviations of colours; how much is drawn for every clip. Compression leaves
        ever less noise after the first picture of a file, which the changes from frame to frame show, and which gives the order away.
    dropout: before the last layer. fps: clock in frames a second; None counts the video's own frames.
    min_motion: least mean motion of a window, 0..255; a still video has no order.
    """

    needs = ("time",)
    exempt_controls = {"pan": "the clips of a steady pan have an order"}  # noqa: RUF012
    chance = 1 / 6

    def __init__(
        self,
        backbone: Backbone,
        *,
        frames: int = 16,
        gap: int = 8,
        stride: int = 1,
        size: int = 112,
        input: str = "rgb",
        jitter: float = 0.4,
        noise: float = 0.0,
        dropout: float = 0.5,
        fps: float | None = None,
        min_motion: float = 0.1,
    ) -> None:
        if input not in ("rgb", "residual"):
            raise ConfigError(f"clip_order: input={input!r} must be rgb or residual")
        augment = Augment(
            size=size, area=(0.7, 0.8), ratio=(1, 1), jitter=jitter, crop_scope="clip", color_scope="clip"
        )
        steps = CLIPS * frames + (CLIPS - 1) * gap
        super().__init__(backbone, augment, Window(steps, stride, fps, min_motion))
        self.frames, self.gap, self.noise = frames, gap, noise
        self.head = permutations.PairwiseHead(backbone.info.dim, CLIPS, len(ORDERS), dropout=dropout)

    @property
    def view(self) -> ClipView:
        """One clip of the three, as its backbone saw each."""
        return self.clip_view(self.frames, self.train_window.stride)

    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Indices (3,T) of the clips as they happened; the target (6,) are the orders they are asked in, which is all."""
        steps = self.window(video, rng, training)
        starts = np.arange(CLIPS) * (self.frames + self.gap)
        return Clips(steps[starts[:, None] + np.arange(self.frames)], np.arange(len(ORDERS)))

    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips (B,3,C,T,H,W), target (B,6) -> loss and accuracy over all permutations."""
        logits = self.logits(clips)
        right = (logits.argmax(2) == target).float()
        return {"loss": F.cross_entropy(logits.flatten(0, 1).float(), target.flatten()), "accuracy": right.mean(1)}

    def logits(self, clips: Tensor) -> Tensor:
        """What the network says of the clips shuffled into each order: (B,3,C,T,H,W) -> (B,6,6)."""
        if self.training and self.noise:
            clips = shortcut_removal.noise(clips, self.noise * self.backbone.std)
        vectors = clip_vector(self.backbone(clips.flatten(0, 1))).unflatten(0, clips.shape[:2])  # (B,3,D)
        result: Tensor = self.head(vectors[:, ORDERS])
        return result

    def visualize(self, clips: Tensor, target: Tensor) -> Iterator[CaptionedFrames]:
        """Some videos, each in one order: its clips one after the other, and the order that is read."""
        says = self.logits(clips).argmax(2)
        for video, clip in enumerate(clips[:4]):
            k = 5 * video % len(ORDERS)
            order, answer = ORDERS[k].tolist(), ORDERS[says[video, k]].tolist()
            laid = clip[order, :, :: max(1, self.frames // 4)].transpose(0, 1).flatten(1, 2)
            yield f"clips {order}; says {answer}", laid
