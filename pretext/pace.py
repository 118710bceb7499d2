"""Video pace: at which of four paces does the clip play?

Wang, Jiao and Liu, Self-supervised Video Representation Learning by Pace Prediction, ECCV 2020 (arXiv 2008.05861): a clip takes every
s-th frame, s = 1..4, and the network names s. With `contrast` it is the paper's whole method: besides, clips of one video at different
paces are to be alike, and unlike those of other videos.

The official code runs on at the video's first frame where a clip is longer than the video, which shows as a cut and happens the more
often the larger s is. Here a video must have room for the largest stride, whichever is asked. The paper draws one pace a clip; here all
four clips of a video stand in one batch by default, around the same moment, so that neither content nor place tells the pace.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from lightly.loss import NTXentLoss
from torch import Tensor, nn

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

STRIDES = (1, 2, 3, 4)
WIDTH = 128  # of the vectors that are compared


class Pace(PretextTask):
    """Four logits on the mean over space and time.

    frames: T. size: side in px, the paper 112.
    together: train on all four paces of a video at once; False: on one drawn at random, as the paper does. Tested are always all four.
    drift: how far each clip's box wanders on its own, see Augment, so that a pan's speed says nothing; not the paper's.
    fps: clock in frames a second; None counts the video's own frames.
    min_motion: least mean motion of a window, 0..255; a still window has no pace.
    contrast: weight of the contrastive loss beside the other's 1, the paper 0.1; 0 leaves it out. temperature: of its softmax.
    """

    needs = ("time",)
    chance = 0.25

    def __init__(
        self,
        backbone: Backbone,
        *,
        frames: int = 16,
        size: int = 112,
        together: bool = True,
        drift: float = 0.5,
        fps: float | None = None,
        min_motion: float = 0.1,
        contrast: float = 0.0,
        temperature: float = 0.1,
    ) -> None:
        if contrast and not together:
            raise ConfigError(
                "contrast compares clips of one video at several paces; leave together=true, or contrast=0"
            )
        # colours change from frame to frame as in the official code, against traces of the codec
        augment = Augment(size, area=(0.5, 1.0), jitter=0.2, crop_scope="clip", color_scope="frame", drift=drift)
        longest = (frames - 1) * max(STRIDES) + 1
        super().__init__(backbone, augment, Window(longest, fps=fps, min_motion=min_motion))
        self.frames, self.together = frames, together
        self.head = nn.Linear(backbone.info.dim, len(STRIDES))
        self.contrast, self.whole_batch = contrast, contrast > 0
        if contrast:
            dim = backbone.info.dim
            self.project = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, WIDTH))
            self.alike = NTXentLoss(temperature)

    @property
    def view(self) -> ClipView:
        """A clip at the first pace, the video's own."""
        return self.clip_view(self.frames)

    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Indices (V,T) of clips around the middle of one window that fits the largest stride, with target (V,), places in STRIDES."""
        window = self.window(video, rng, training)
        paces = np.arange(len(STRIDES)) if self.together or not training else rng.integers(len(STRIDES), size=1)
        return Clips(np.stack([window[centred(len(window), self.frames, STRIDES[pace])] for pace in paces]), paces)

    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips (B,V,C,T,H,W), target (B,V) -> loss and accuracy; with `contrast`, both losses that make it up."""
        vectors = self.vectors(clips)
        logits = self.head(vectors)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), target.flatten())
        values = {"loss": loss, "accuracy": (logits.argmax(2) == target).float().mean(1)}
        if self.contrast:
            alike = self.contrastive_loss(vectors)
            values |= {"loss": loss + self.contrast * alike, "pace_loss": loss, "contrastive_loss": alike}
        return values

    def vectors(self, clips: Tensor) -> Tensor:
        """Feature of every clip: (B,V,C,T,H,W) -> (B,V,D)."""
        result: Tensor = clip_vector(self.backbone(clips.flatten(0, 1))).unflatten(0, clips.shape[:2])
        return result

    def contrastive_loss(self, vectors: Tensor) -> Tensor:
        """NT-Xent of each clip and the next one of its video, against those of the other videos: (B,V,D) -> one number."""
        compared = self.project(vectors).float()
        pairs = zip(compared.unbind(1), compared.roll(-1, 1).unbind(1), strict=True)
        return torch.stack([self.alike(clip, other) for clip, other in pairs]).mean()

    def logits(self, clips: Tensor) -> Tensor:
        """How much each clip looks like each pace: (B,V,C,T,H,W) -> (B,V,4)."""
        result: Tensor = self.head(self.vectors(clips))
        return result

    def visualize(self, clips: Tensor, target: Tensor) -> Iterator[CaptionedFrames]:
        """The clips of some videos with their stride, the stride named and its probability."""
        for video, strides, says in zip(clips[:4], target[:4], self.logits(clips[:4]).softmax(2), strict=True):
            for clip, stride, shares in zip(video, strides.tolist(), says, strict=True):
                yield f"stride {STRIDES[stride]}; says {STRIDES[int(shares.argmax())]} ({shares.max():.0%})", clip


def centred(window_length: int, frames: int, stride: int) -> np.ndarray:
    """Positions (frames,) of every stride-th tick around the middle of a window of `window_length`."""
    return (window_length - (frames - 1) * stride - 1) // 2 + np.arange(frames) * stride
