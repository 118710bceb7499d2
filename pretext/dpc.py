"""Dense predictive coding: what will the feature map of the next moments be, cell by cell?

DPC, Han, Xie, Zisserman, ICCVW 2019 (arXiv 1909.04656). A video is cut into short blocks. The first ones are encoded and aggregated in
time, the last ones are predicted one after the other, and every cell of a prediction has to find its own feature among those of all
cells, of all predicted blocks, of all videos of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.training.task import Augment, Backbone, CaptionedFrames, Clips, ClipView, PretextTask, VideoRecord, Window


class DPC(PretextTask):
    """Plain dot products of predicted and true features, softmax over all candidates of the batch, no temperature.

    The authors' last block has no final ReLU: targets are signed, and what enters the aggregation is rectified. Our backbones end in a
    ReLU, so a 1x1 layer after them gives the signed feature. The 1x1 ConvGRU is a GRU cell that all places share.
    Colours change from frame to frame, and frames turn grey at random (the authors keep one colour channel), so that colours cannot
    be followed; crop and flip are those of the whole video, since a cell has to stay where it is.

    Two leaks stay. Zero padding tells a cell where it lies, which makes the other cells of a video easy to rule out: `spatial` false
    asks for the right video and moment only. Batch statistics mix the blocks of a batch while training, so that a prediction may know a
    little of its target: held-out accuracy, with running statistics, is free of that. `block_accuracy`, the right one among the predicted
    blocks at its own place, is what only time can tell; its chance is 1 / predict.

    blocks: N in all; block: frames in each; predict: how many of the last are predicted, 1..N-1. stride: ticks of the clock between frames.
    The authors' Kinetics loader takes a stride of 5. size: side in px. width: channels D of the compared features.
    spatial: whether other cells are candidates too. fps: clock in frames a second; None counts the video's own frames.
    min_motion: least mean motion of a window, 0..255; a still window is recognised by its looks alone.
    """

    whole_batch = True
    exempt_controls = dict.fromkeys(("pan", "codec"), "what stands still can be foreseen")

    def __init__(
        self,
        backbone: Backbone,
        *,
        blocks: int = 8,
        block: int = 5,
        predict: int = 3,
        stride: int = 3,
        size: int = 128,
        width: int = 256,
        spatial: bool = True,
        fps: float | None = None,
        min_motion: float = 0.1,
    ) -> None:
        augment = Augment(size=size, area=(0.5, 1.0), jitter=0.5, grey=0.5, crop_scope="video", color_scope="frame")
        super().__init__(backbone, augment, Window(blocks * block, stride, fps, min_motion))
        self.blocks, self.predict, self.spatial = blocks, predict, spatial
        self.project = nn.Linear(backbone.info.dim, width)
        self.aggregate = nn.GRUCell(width, width)
        self.predictor = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    @property
    def view(self) -> ClipView:
        """One block, as its backbone saw each."""
        return self.clip_view(self.train_window.frames // self.blocks, self.train_window.stride)

    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Indices (N,T): the blocks in order; the target, none, is in the clips."""
        return Clips(self.window(video, rng, training).reshape(self.blocks, -1))

    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips (B,N,C,T,H,W) -> loss, accuracy among all candidates with its chance, and among the blocks of one place."""
        scores = self.scores(clips).float()
        B, P, S = scores.shape[:3]
        logits, right = scores.flatten(0, 2).flatten(1), torch.arange(B * P * S, device=clips.device)
        here = torch.einsum("bpsbqs->bspq", scores)  # the same video and cell: which of the P blocks?
        return {
            "loss": F.cross_entropy(logits, right),
            "accuracy": (logits.argmax(1) == right).float().view(B, -1).mean(1),
            "chance": torch.full((B,), 1 / (B * P * (S if self.spatial else 1)), device=clips.device),
            "block_accuracy": (here.argmax(3) == torch.arange(P, device=clips.device)).float().mean((1, 2)),
        }

    def scores(self, clips: Tensor) -> Tensor:
        """Likeness of every predicted cell to every true one: (B,N,C,T,H,W) -> (B,P,S,B,P,S), S = h*w cells."""
        B, N = clips.shape[:2]
        maps = self.backbone(clips.flatten(0, 1)).mean(2).flatten(2)  # (B*N,D,S)
        features = self.project(maps.transpose(1, 2)).unflatten(0, (B, N))  # (B,N,S,D)
        seen, truth = features[:, : -self.predict], features[:, -self.predict :]
        state = torch.zeros_like(truth[:, 0]).flatten(0, 1)  # (B*S,D)
        for moment in seen.unbind(1):
            state = self.aggregate(moment.flatten(0, 1).relu(), state)
        predicted = []
        for _ in range(self.predict):
            predicted.append(self.predictor(state))
            state = self.aggregate(predicted[-1].relu(), state)
        guess = torch.stack(predicted, 1).unflatten(0, (B, -1)).transpose(1, 2)  # (B,P,S,D)
        scores = torch.einsum("bpsd,cqrd->bpscqr", guess, truth)
        if self.spatial:
            return scores
        elsewhere = ~torch.eye(scores.shape[2], dtype=torch.bool, device=clips.device)
        return scores.masked_fill(elsewhere[:, None, None, :], -torch.inf)

    def visualize(self, clips: Tensor, target: Tensor) -> Iterator[CaptionedFrames]:
        """The seen and the predicted blocks of some videos, with the share of cells that found their own feature."""
        shares, pixels = self(clips, target)["accuracy"], clips[:4].transpose(1, 2).flatten(2, 3)
        for video, share in zip(pixels, shares, strict=False):
            first = video.shape[1] // self.blocks * (self.blocks - self.predict)
            yield f"seen; {share:.0%} of the cells below were found", video[:, :first]
            yield "to be predicted", video[:, first:]
