"""Random walk: does a walk from patch to look-alike patch, ahead in time and back again, end where it began?

Contrastive random walk, Jabri, Owens, Efros, NeurIPS 2020 (arXiv 2006.14613). A video is a graph: its nodes are patches, and a step to
the next frame is as probable as the patches are alike. A walk to frame k and home again has a known end, which teaches all that lies
between. The authors' code takes the mean over k=2..T-1, the paper the sum from 1 (here: the mean, from `shortest`); its way back
inherits the edges dropped on the way there (here: draws of its own, as in the paper).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.ops import palindrome_walks, patches
from ssvid.training.task import (
    Augment,
    Backbone,
    CaptionedFrames,
    Clips,
    ConfigError,
    PretextTask,
    VideoRecord,
    Window,
    isolated_maps,
)


class RandomWalk(PretextTask):
    """Patches of a grid, each encoded alone by the backbone and a linear layer, and normalised.

    A node must be known by its content. So each frame and each patch is cropped on its own, and a patch does not know its place. Cells of
    a whole frame's map do, from the padding, and walk home blindly (arXiv 2105.05838); with graph="map" every frame is therefore cut
    twice, boldly, for the way there and for the way back, home is where the content went, and chance is the cell of the same number.
    On patches, noise beats chance too, as a walk goes back by the likeness it came by: read accuracy beside an untrained network's.

    frames: T. fps: clock in frames a second; None counts the video's own frames. size: side in px of a frame. graph: "patches", or "map"
    (cheaper; not the paper's). patch: side in px. grid: patches along a side. area: share of the frame in a crop of graph="map".
    dim: of the embedding. temperature: of a step. dropout: share of the edges cut, drawn anew for each step. shortest: least k, 1..T-1.
    """

    backbone_options = {"output_stride": 8}  # noqa: RUF012
    needs = ("frames",)
    exempt_controls = dict.fromkeys(("pan", "codec"), "a still picture can be followed") | dict.fromkeys(
        ("noise", "fade", "bars"), "a walk comes home by the very likeness it left by, be it chance"
    )
    chance = 0.0204  # of 7 x 7 nodes; among the metrics is that of the nodes at hand

    def __init__(
        self,
        backbone: Backbone,
        *,
        frames: int = 4,
        fps: float | None = 8.0,
        size: int = 256,
        graph: str = "patches",
        patch: int = 64,
        grid: int = 7,
        area: tuple[float, float] = (0.2, 0.6),
        dim: int = 128,
        temperature: float = 0.07,
        dropout: float = 0.1,
        shortest: int = 1,
    ) -> None:
        on_map, least = graph == "map", backbone.info.min_size
        if graph not in ("patches", "map") or not (on_map or least <= patch <= size) or not 0 < shortest < frames:
            raise ConfigError(
                f"use graph=patches or map (not {graph!r}), patch={least}..{size} (not {patch}), shortest=1..{frames - 1} (not {shortest})"
            )
        augment = Augment(size, area=(1.0, 1.0) if on_map else (0.8, 0.95), ratio=(0.7, 1.3), crop_scope="frame")
        super().__init__(backbone, augment, Window(frames, fps=fps))
        self.cut = Augment(area=area if on_map else (0.7, 0.9), flip=0, crop_scope="frame")
        self.on_map, self.patch, self.grid, self.shortest = on_map, patch, grid, shortest
        self.temperature, self.dropout = temperature, dropout
        self.head = nn.Linear(backbone.info.dim, dim)

    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Indices (1,T), and boxes: of the patches in theirs (T,N,4), or of the frames on both ways (2,T,4)."""
        count = (2, self.window_length) if self.on_map else (self.window_length, self.grid**2)
        draw = self.cut.draw(rng, *count) if training or self.on_map else self.cut.centre(*count)
        return Clips(self.window(video, rng, training)[None], draw["box"])

    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips (B,1,3,T,H,H), boxes -> loss, accuracy: share of the nodes whose longest walk most likely ends at home, and chance."""
        nodes = self.nodes(clips, target)
        start, home, share = palindrome_walks.homes(target if self.on_map else None, nodes)
        _, ends = palindrome_walks.palindromes(
            nodes[:, 0], nodes[:, -1], self.temperature, self.training * self.dropout
        )
        missed = -torch.stack([end.gather(2, home[..., None])[..., 0] for end in ends[self.shortest - 1 :]]).mean(0)
        loss, accuracy, same = ((value * share).sum(1) for value in (missed, ends[-1].argmax(2) == home, start == home))
        floor = torch.full_like(same, 1 / start.shape[1])
        return {"loss": loss.mean(), "accuracy": accuracy, "chance": same.maximum(floor) if self.on_map else floor}

    def nodes(self, clips: Tensor, boxes: Tensor) -> Tensor:
        """Unit vectors (B,W,T,N,D): of patches, seen one way (W=1), or of cells on the ways there and back (W=2)."""
        frames = clips[:, 0].transpose(1, 2)  # (B,T,3,H,H)
        if self.on_map:
            views = patches.cut_twice(frames, boxes).transpose(2, 3)  # (B,2,3,T,H,H)
            nodes = isolated_maps(self.backbone, views.flatten(0, 1)).flatten(3).movedim(1, 3).unflatten(0, (-1, 2))
        else:
            cut = patches.cut_patches(frames, boxes, self.patch, self.grid)  # (B,T,N,3,patch,patch)
            maps = isolated_maps(self.backbone, cut.flatten(0, 2).unsqueeze(2))  # (B*T*N,D,1,h,w)
            nodes = maps.mean((2, 3, 4)).view(len(clips), 1, *cut.shape[1:3], -1)
        return F.normalize(self.head(nodes).float(), dim=-1)

    def visualize(self, clips: Tensor, target: Tensor) -> Iterator[CaptionedFrames]:
        """The frames of some videos, lit where a walk from the middle node is likely to be; the last is the first, where it ends."""
        nodes = self.nodes(clips[:4], target[:4])
        away, ends = palindrome_walks.palindromes(nodes[:, 0], nodes[:, -1], self.temperature)
        side = round(nodes.shape[3] ** 0.5)
        frames = clips[:4]  # (B,1,3,T,H,H)
        if self.on_map:
            frames = patches.cut_twice(frames[:, 0].transpose(1, 2), target[:4]).transpose(2, 3)
        frames = torch.cat([frames[:, 0, :, 1:], frames[:, -1, :, :1]], 2)
        light = torch.stack([walk[:, side // 2 * (side + 1)] for walk in (*away, ends[-1])], 1).exp()  # (B,T,N)
        light = F.interpolate((light / light.amax(2, keepdim=True)).unflatten(2, (side, side)), frames.shape[3:])
        for row in frames * (0.2 + 0.8 * light[:, None]):
            yield "where a walk from the middle node goes; last, the first frame, and where it ends there", row
