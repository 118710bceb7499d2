"""The contract of a pretext task, on one page, with everything a task file needs to import.

A task is one file in `pretext/` (or a third party's, or a path) with one class. It reads in this order: the question it asks and
the paper; which frames it looks at (`sample`); its augmentation with its scope; its head; `forward`, from clips to the loss.

    class IsItUpsideDown(PretextTask):
        '''Is the clip upside down?'''
        chance = 0.5

        def __init__(self, backbone: Backbone, *, frames: int = 16, size: int = 112) -> None:
            super().__init__(backbone, Augment(size=size), span=frames)
            self.head = nn.Linear(backbone.info.dim, 1)

        def sample(self, video, rng, training=True):
            ticks = self.window(video, rng, training)
            return Clips(ticks[None], np.array([0, 1]))

        def forward(self, clips, target):                              # (B,V,C,T,H,W), (B,2)
            both = torch.stack([clips[:, 0], clips[:, 0].flip(-2)], 1)  # (B,2,C,T,H,W)
            logits = self.head(clip_vector(self.backbone(both.flatten(0, 1)))).view(-1, 2)
            return {"loss": binary_loss(logits, target), "accuracy": binary_accuracy(logits, target)}

The constructor's keyword arguments are the options: they make the help, the check of a YAML file and the card of a checkpoint.
The loop calls `sample` and `augment` in the main process and `forward` on the device; every returned value but the loss is logged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.data.augment import Augment, Scope
from ssvid.data.index import VideoRecord
from ssvid.data.sampling import Clips, clock, why_unusable, window_starts
from ssvid.errors import ConfigError
from ssvid.zoo.backbone import Backbone
from ssvid.zoo.info import BackboneInfo
from ssvid.zoo.views import clip_vector, frame_vectors, isolated_maps

__all__ = [
    "Augment",
    "Backbone",
    "Clips",
    "PretextTask",
    "Scope",
    "VideoRecord",
    "binary_accuracy",
    "binary_loss",
    "clip_vector",
    "clock",
    "frame_vectors",
    "isolated_maps",
    "window_starts",
]


class PretextTask(nn.Module, ABC):
    """A backbone and the question it is trained on.

    needs: what the backbone must offer, of "time" (its features depend on several frames) and "any_length" (the temporal stride can be
    removed); training refuses a backbone that cannot, with the reason.
    backbone_options: options the backbone is built with for this task.
    chance: accuracy of guessing. controls: names of the shortcut controls that must come out at chance.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    backbone_options: ClassVar[dict[str, Any]] = {}
    controls: ClassVar[tuple[str, ...]] = ()
    chance: float = 0.0

    def __init__(
        self,
        backbone: Backbone,
        augment: Augment,
        *,
        span: int,
        fps: float | None = None,
        min_motion: float = 0.0,
    ) -> None:
        """span: ticks of the clock a window has; fps: rate of that clock (None: the video's own frames);
        min_motion: least mean motion of a window (index units, 0..255)."""
        super().__init__()
        self.backbone = backbone
        self.augment = augment
        self.span = span
        self.fps = fps
        self.min_motion = min_motion

    def why_unusable(self, video: VideoRecord) -> str | None:
        """Reason why this task can ask nothing of this video, or None."""
        return why_unusable(video, span=self.span, fps=self.fps, min_motion=self.min_motion)

    def window(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> np.ndarray:
        """Frame indices (span,) of a random window of one shot; the middle one of all possible when not training."""
        ticks = clock(video, self.fps)
        starts = window_starts(video, ticks, self.span, self.min_motion)
        start = rng.choice(starts) if training else starts[len(starts) // 2]
        return ticks[start : start + self.span]

    @abstractmethod
    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Which frames (V,T) of this video to read and what the answer is. Called for usable videos only."""

    @abstractmethod
    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips float (B,V,C,T,H,W) -> {"loss": scalar, "accuracy": (B,), ...}; values (B,) are averaged for the log."""

    @classmethod
    def check(cls, info: BackboneInfo) -> None:
        """Raise ConfigError, with the reason, for a backbone this task cannot use."""
        if "time" in cls.needs and not info.sees_time:
            raise ConfigError(
                f"{cls.__name__} asks about time, but {info.name} sees every frame on its own and could only guess; "
                "use a backbone that sees time (ssvid list models)"
            )
        if "any_length" in cls.needs and info.temporal_stride != 1:
            raise ConfigError(
                f"{cls.__name__} needs a temporal stride of 1, which {info.name} cannot give; use s3dg or r3d_18"
            )


def binary_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of logits against 0/1 targets of the same shape, in fp32."""
    return F.binary_cross_entropy_with_logits(logits.float(), target.float())


def binary_accuracy(logits: Tensor, target: Tensor) -> Tensor:
    """Share of right answers per video: (B,V) logits and 0/1 targets -> (B,)."""
    return ((logits > 0) == (target > 0.5)).float().mean(1)


def usable(task: PretextTask, videos: Sequence[VideoRecord]) -> tuple[list[VideoRecord], dict[str, int]]:
    """The videos a task can use, and for the others how often which reason was given."""
    kept: list[VideoRecord] = []
    reasons: dict[str, int] = {}
    for video in videos:
        reason = task.why_unusable(video)
        if reason is None:
            kept.append(video)
        else:
            reasons[reason] = reasons.get(reason, 0) + 1
    return kept, reasons
