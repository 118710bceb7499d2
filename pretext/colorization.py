"""Colorization: which colours does a grey frame have, copied from the frames before it?

Vondrick et al., ECCV 2018 (arXiv 1806.09594). Every cell of a grey target frame points at the cells of three coloured frames, by the
likeness of grey features alone, and takes their colours; to point right it has to track. Colours are classes, k-means of Lab's a and b
on the data, sub-sampled to the feature map, as the mean of two colours is a third. The loss is the log of the copied probability; a
public re-implementation takes a second softmax of it, and never gets near 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.ops.affinity import affinity
from ssvid.ops.color_quantizer import ColorQuantizer
from ssvid.training.task import (
    Augment,
    Backbone,
    CaptionedFrames,
    Clips,
    PretextTask,
    VideoRecord,
    Window,
    isolated_maps,
)

EPS = 1e-6  # least probability in the log: some colours are nowhere to be copied from


class Colorization(PretextTask):
    """A pointer: softmax, over all cells of the references, of the dot product of linear embeddings.

    Every frame is cropped on its own, so that a colour's place does not tell where to copy it from. For the same reason the paper's 3-D
    convolutions and coordinate channels are left out: a cell's embedding sees its own frame only, whatever the backbone.

    references: coloured frames before the target. gap: ticks of the clock between frames. size: side in px (a map of 32 x 32 cells).
    fps: clock in frames a second; None counts the video's own frames.
    colors: classes of colour. dim: of the embedding. temperature: of the softmax, in training and in test.
    area: share of the frame in a crop; where 0.5..1 still lets places tell colours (the audit's blocks), cut more boldly.
    input: "grey", or "lab_dropout": one of a and b, drawn a step, is hidden and asked for (MAST, arXiv 2002.07793, regresses it).
    """

    backbone_options = {"output_stride": 8}  # noqa: RUF012
    needs = ("frames", "cells")
    controls = ("blocks",)
    exempt_controls = dict.fromkeys(("pan", "codec"), "a still picture can be followed")
    chance = 0.0625  # of 16 colours alike; that of copying without looking is among the metrics

    def __init__(
        self,
        backbone: Backbone,
        *,
        references: int = 3,
        gap: int = 1,
        size: int = 256,
        fps: float | None = 6.0,
        colors: int = 16,
        dim: int = 64,
        temperature: tuple[float, float] = (1.0, 0.5),
        input: str = "grey",
        area: tuple[float, float] = (0.5, 1.0),
    ) -> None:
        augment = Augment(size=size, area=area, crop_scope="frame")
        super().__init__(backbone, augment, Window(references + 1, gap, fps))
        self.temperature = temperature
        self.head = nn.Linear(backbone.info.dim, dim)
        self.quantizer = ColorQuantizer(colors, input)

    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Indices (1,T): the references, then the target frame."""
        return Clips(self.window(video, rng, training)[None])

    def prepare(self, clips: Tensor) -> None:
        """Fit the colour classes to clips (B,1,3,T,N,N)."""
        self.quantizer.fit(clips)

    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips (B,1,3,T,N,N) -> loss, accuracy of the target's cells, and chance: that of the references' commonest colour."""
        way = int(torch.randint(len(self.quantizer.hidden), ())) if self.training else 0
        copied, colors = self.copy(clips, way)
        truth = colors[:, -1].flatten(1)  # (B,n)
        guess = F.one_hot(colors[:, :-1].flatten(1), copied.shape[2]).sum(1).argmax(1, keepdim=True)
        loss = F.nll_loss((copied + EPS).log().flatten(0, 1), truth.flatten())
        accuracy, chance = ((answer == truth).float().mean(1) for answer in (copied.argmax(2), guess))
        return {"loss": loss, "accuracy": accuracy, "chance": chance}

    def copy(self, clips: Tensor, way: int = 0) -> tuple[Tensor, Tensor]:
        """Probabilities (B,n,K) of the colours copied to the n = h*w cells of the target, and the true classes (B,T,h,w) of all."""
        frames = clips[:, 0]
        maps = isolated_maps(self.backbone, self.quantizer.hide(frames, way))  # (B,D,T,h,w)
        cells = self.head(maps.flatten(3).movedim(1, -1)).float()  # (B,T,n,d)
        colors = self.quantizer.classes(frames, (maps.shape[3], maps.shape[4]), way)
        with torch.autocast(clips.device.type, enabled=False):
            temperature = self.temperature[0 if self.training else 1]
            pointer = affinity(cells[:, -1], cells[:, :-1].flatten(1, 2), temperature=temperature)  # (B,n,(T-1)*n)
            return pointer @ F.one_hot(colors[:, :-1].flatten(1), self.quantizer.centres.shape[1]).float(), colors

    def visualize(self, clips: Tensor, target: Tensor) -> Iterator[CaptionedFrames]:
        """The references of some videos, then the target as the network sees it, as it colours it, and as it is."""
        copied, colors = self.copy(clips[:4])
        frames, answer = clips[:4, 0], copied.argmax(2).view_as(colors[:, -1:])
        hits = (answer == colors[:, -1:]).float().mean((1, 2, 3))
        last = frames[:, :, -1:]
        rows = torch.cat([frames[:, :, :-1], self.quantizer.hide(last), self.quantizer.paint(last, answer), last], 2)
        for row, hit in zip(rows, hits, strict=True):
            yield f"references; target as seen, as coloured ({hit:.0%} right), as it is", row
