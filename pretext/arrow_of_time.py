"""Arrow of time: does the clip play forward or backward?

Wei et al., Learning and Using the Arrow of Time, CVPR 2018. A clip and its reverse stand in the same batch, made of the very same
decoded frames with the same crop and colours, so that neither content nor any processing can tell them apart, only their order.

Camera motion has habits (zooms go in) that tell the direction, so the paper stabilises every clip with homographies and reads optical
flow. Here RGB is the default, and `drift` buries such habits under pans, zooms and fades that go either way; flow loses its median.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ssvid.training.task import (
    Augment,
    Backbone,
    CaptionedFrames,
    Clips,
    ConfigError,
    PretextTask,
    VideoRecord,
    Window,
    binary_accuracy,
    binary_loss,
)


class ArrowOfTime(PretextTask):
    """One logit, the mean over space and time of a class activation map.

    frames: T. stride: ticks of the clock between frames. size: side in px.
    input: "rgb", or "flow" as in the paper: T flow fields of T+1 frames, for each direction from the frames in the order played.
    head: "mean" pools the features; "tcam" is the paper's: the backbone sees `groups` parts of the clip (there 2) one by one, their
        maps are concatenated along channels, and two convolutions compare them.
    drift: how far box and colours wander during a clip, 0..1, see Augment. fps: clock in frames a second; None: the video's own frames.
    min_motion: least mean motion of a window, 0..255; a still window has no direction.
    """

    needs = ("time",)
    controls = ("reversed",)
    chance = 0.5

    def __init__(
        self,
        backbone: Backbone,
        *,
        frames: int = 16,
        stride: int = 2,
        size: int = 112,
        input: str = "rgb",
        head: str = "mean",
        groups: int = 2,
        drift: float = 0.5,
        fps: float | None = None,
        min_motion: float = 0.1,
    ) -> None:
        if input not in ("rgb", "flow") or head not in ("mean", "tcam") or (head == "tcam" and frames % groups):
            raise ConfigError("arrow_of_time: input is rgb or flow, head mean or tcam, and groups then divides frames")
        augment = Augment(size, area=(0.5, 1.0), jitter=0.2, crop_scope="video", color_scope="video", drift=drift)
        paired = int(input == "flow")  # frames more than the backbone's steps: a flow field lies between two
        super().__init__(backbone, augment, Window(frames + paired, stride, fps, min_motion))
        self.paired, self.stride, self.groups = paired, stride, groups if head == "tcam" else 1
        width = backbone.info.dim * self.groups
        self.compare = nn.Sequential()
        for _ in range(2 if head == "tcam" else 0):
            self.compare.extend((nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(), nn.BatchNorm2d(width), nn.Dropout(0.5)))
        self.head = nn.Linear(width, 1)

    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Indices (1,T) of the forward clip, with target (0, 1) for forward and backward."""
        return Clips(self.window(video, rng, training)[None], np.array([0, 1]))

    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips (B,1,C,T,H,W), target (B,2) -> loss and accuracy; the backward clip is the forward one reversed."""
        logits = self.logits(clips)
        return {"loss": binary_loss(logits, target), "accuracy": binary_accuracy(logits, target)}

    def logits(self, clips: Tensor) -> Tensor:
        """How much a clip and its reverse look backward: (B,1,C,T,H,W) -> (B,2)."""
        return self.cam(torch.cat([clips, clips.flip(3)], 1)).mean((2, 3, 4))

    def cam(self, clips: Tensor) -> Tensor:
        """Where each clip looks backward, exactly, as the mean of the map is the logit: (B,V,C,T,H,W) -> (B,V,t,h,w); t=1 for tcam."""
        x = clips.flatten(0, 1)
        maps = self.compare(self.towers(x)).unsqueeze(2) if self.compare else self.backbone(x)  # (B*V,D,t,h,w)
        result: Tensor = self.head(maps.movedim(1, -1)).squeeze(-1).unflatten(0, clips.shape[:2])
        return result

    def towers(self, x: Tensor) -> Tensor:
        """Each group of frames through the backbone, side by side as channels: (N,C,T,H,W) -> (N,G*D,h,w).

        Of flow, T+1 frames come in, and the last frame of a group is the first of the next.
        """
        length = (x.shape[2] - self.paired) // self.groups
        parts = x.unfold(2, length + self.paired, length).movedim(5, 3).transpose(1, 2)  # (N,G,C,T/G,H,W)
        result: Tensor = self.backbone(parts.flatten(0, 1)).mean(2).unflatten(0, parts.shape[:2]).flatten(1, 2)
        return result

    def visualize(self, clips: Tensor, target: Tensor) -> Iterator[CaptionedFrames]:
        """Both directions of some videos with the probability of being backward."""
        for clip, says in zip(clips[:4, 0], self.logits(clips[:4]).sigmoid(), strict=True):
            yield f"forward; says backward: {says[0]:.0%}", clip
            yield f"backward; says backward: {says[1]:.0%}", clip.flip(1)
