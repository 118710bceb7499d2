"""The contract of a pretext task, on one page, with everything a task file needs to import.

A task is one file in `pretext/` (or a third party's, or a path) with one class. It reads in this order: the question it asks and
the paper; which frames it looks at (`sample`); its augmentation with its scope; its head; `forward`, from clips to the loss.

    class IsItUpsideDown(PretextTask):
        '''Is the clip upside down?'''
        chance = 0.5

        def __init__(self, backbone: Backbone, *, frames: int = 16, size: int = 112) -> None:
            super().__init__(backbone, Augment(size=size), Window(frames))
            self.head = nn.Linear(backbone.info.dim, 1)

        def sample(self, video, rng, training=True):
            ticks = self.window(video, rng, training)
            return Clips(ticks[None], np.array([0, 1]))

        def forward(self, clips, target):                              # (B,V,C,T,H,W), (B,2)
            both = torch.stack([clips[:, 0], clips[:, 0].flip(-2)], 1)  # (B,2,C,T,H,W)
            logits = self.head(clip_vector(self.backbone(both.flatten(0, 1)))).view(-1, 2)
            return {"loss": binary_loss(logits, target), "accuracy": binary_accuracy(logits, target)}

The constructor's keyword arguments are the options: they make the help, the check of a YAML file and the card of a checkpoint.
The loop calls `sample` and `augment` in the main process and `forward` on the device; every returned value is logged.
`visualize` draws what
was asked of a batch and what was answered, and a task that has to learn something from the data before it starts, such as a palette,
does so in `prepare`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.config import check_options
from ssvid.data.augment import Augment, Scope
from ssvid.data.sampling import Clips, ClipView, Window, clock, window_starts
from ssvid.data.video_record import VideoRecord
from ssvid.errors import ConfigError
from ssvid.zoo.backbone import Backbone
from ssvid.zoo.info import POOLED, BackboneInfo
from ssvid.zoo.views import clip_vector, frame_vectors, isolated_maps

__all__ = [
    "Augment",
    "Backbone",
    "CaptionedFrames",
    "ClipView",
    "Clips",
    "ConfigError",
    "PretextTask",
    "Scope",
    "VideoRecord",
    "Window",
    "binary_accuracy",
    "binary_loss",
    "class_accuracy",
    "clip_vector",
    "clock",
    "frame_vectors",
    "isolated_maps",
    "task_on",
    "window_starts",
]


CaptionedFrames = tuple[str, Tensor]  # of a picture: a caption, and frames (C,T,H,W) on 0..1


class PretextTask(nn.Module, ABC):
    """A backbone and the question it is trained on.

    needs: what the backbone must offer, of "time" (its features depend on the order of the frames), "any_length" (the temporal
        stride can be removed), "frames" (all of it can learn from frames alone, as `isolated_maps` encodes them) and "cells" (its map
        has more than one cell a frame); training refuses a backbone that cannot, with the reason.
    backbone_options: options the backbone is built with for this task. Where a task has an option `input` that is one of rgb, residual and
        flow, the backbone is built with that, and makes of colours what it names.
    pairs: the videos of a batch come in twos, 0 and 1, 2 and 3 ..., that show one action (have one label).
    whole_batch: the loss compares all videos of a batch with each other. Any other loss is a mean over videos (or pairs), so that a batch
        may be taken in shares (accumulate); such a one cannot, and over several devices each compares the videos of its own.
    first_share: whether a pass in training is the first of its step; the loop says so. What counts steps counts these.
    chance: accuracy of guessing; where it depends on the sample, `forward` also returns "chance" (B,).
    controls: shortcut controls of `ssvid audit` that this task has to pass besides those that every task gets.
    exempt_controls: controls the task may legitimately solve, each with the reason.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    backbone_options: ClassVar[dict[str, Any]] = {}
    pairs: ClassVar[bool] = False
    controls: ClassVar[tuple[str, ...]] = ()
    exempt_controls: ClassVar[dict[str, str]] = {}
    chance: float = 0.0
    whole_batch: bool = False
    first_share: bool = True

    def __init__(
        self,
        backbone: Backbone,
        augment: Augment,
        window: Window,
        test_window: Window | None = None,
    ) -> None:
        """window: what is drawn from a video in training; test_window: what is taken in a test, where that differs."""
        super().__init__()
        self.backbone = backbone
        self.augment = augment
        self.train_window = window
        self.test_window = test_window or window

    @property
    def fps(self) -> float | None:
        """Rate of the clock that the task counts in, frames a second; None where it counts the video's own frames."""
        return self.train_window.fps

    @property
    def window_length(self) -> int:
        """Ticks of the clock that a window has in training."""
        return self.train_window.length

    @property
    def view(self) -> ClipView:
        """How the exported backbone should be shown a video: here as in training. A task overrides it where its clips are not that."""
        return self.clip_view(self.train_window.frames, self.train_window.stride)

    def clip_view(self, frames: int, stride: int = 1) -> ClipView:
        """A view at the clock and the largest size of training, with at least the frames and the size that the backbone can take."""
        size = self.augment.size if isinstance(self.augment.size, int) else max(self.augment.size)
        least = self.backbone.info
        return ClipView(max(frames, least.min_frames), stride, max(size, least.min_size), self.fps)

    def why_unusable(self, video: VideoRecord) -> str | None:
        """Reason why this task can ask nothing of this video, or None; in eval mode a video has to hold the test window only."""
        return (self.train_window if self.training else self.test_window).why_unusable(video)

    def window(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> np.ndarray:
        """Frame indices (frames,) of a random training window of one shot; of the middle test window when not training."""
        return (self.train_window if training else self.test_window).draw(video, rng, training)

    @abstractmethod
    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Which frames (V,T) of this video to read and what the answer is. Called for usable videos only."""

    @abstractmethod
    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips: colours, float (B,V,C,T,H,W) on 0..1 -> {"loss": scalar, "accuracy": (B,), ...}; values (B,) are averaged for the log."""

    def prepare(self, clips: Tensor) -> None:
        """Called once before the first step of a run with clips (B,V,C,T,H,W) of a few batches, the same on every process.

        What is learnt from them belongs into buffers: they are saved with the run.
        """

    def visualize(self, clips: Tensor, target: Tensor) -> Iterator[CaptionedFrames]:
        """What a batch was asked and what it answered, a row a clip: (caption, frames (C,T,H,W) on 0..1). Called in eval mode."""
        for number, clip in enumerate(clips[0]):
            yield f"clip {number}", clip

    @classmethod
    def check(cls, info: BackboneInfo) -> None:
        """Raise ConfigError, with the reason, for a backbone this task cannot use."""
        if "time" in cls.needs and info.order == "blind":
            raise ConfigError(
                f"{cls.__name__} asks about the order of frames, but the features of {info.name} are the same in any order, so it could "
                "only guess; add a head that sees order, as resnet18+lstm, take a backbone whose order is aware (ssvid list models), or "
                "give input=flow where the task has it"
            )
        if "any_length" in cls.needs and info.temporal_stride != 1:
            raise ConfigError(
                f"{cls.__name__} needs a temporal stride of 1, which {info.name} cannot give; use s3dg or r3d_18"
            )
        if "frames" in cls.needs and info.isolation == "motion":
            raise ConfigError(
                f"{cls.__name__} encodes frames alone, in which nothing moves, so it could not teach the motion stream of {info.name}; use "
                "a backbone of one stream, as resnet18"
            )
        if "cells" in cls.needs and info.spatial_stride == POOLED:
            raise ConfigError(
                f"{cls.__name__} compares places within a frame, but {info.name} gives one cell a frame; use one that gives a map, as "
                "resnet18"
            )


def task_on(backbone: Backbone, name: str, **options: Any) -> PretextTask:
    """Another task, by its name or the path of its file, as a part of a task that has the backbone and names its parameters.

    Raises ConfigError for an unknown task or option, and where the backbone cannot give what it needs; whether the backbone sees the order
    of frames is for the whole task to ask.
    """
    from ssvid.plugins import load_task

    maker = load_task(name)
    maker.check(replace(backbone.info, order="aware"))
    task = maker(backbone, **check_options(maker, options, name))
    del task.backbone  # its parameters would stand in the state of a run again, under another name
    object.__setattr__(task, "backbone", backbone)
    return task


def binary_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of logits against 0/1 targets of the same shape, in fp32."""
    return F.binary_cross_entropy_with_logits(logits.float(), target.float())


def binary_accuracy(logits: Tensor, target: Tensor) -> Tensor:
    """Share of right answers per video: (B,V) logits and 0/1 targets -> (B,)."""
    return ((logits > 0) == (target > 0.5)).float().mean(1)


def class_accuracy(logits: Tensor, target: Tensor) -> Tensor:
    """1 where the largest of K logits is the right class, else 0: (B,K) logits and class numbers (B,) -> (B,)."""
    return (logits.argmax(1) == target).float()


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
