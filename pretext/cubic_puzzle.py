"""Cubic puzzle: which piece of space and time belongs where?

Kim, Cho, Kweon, AAAI 2019 (arXiv 1811.09795). A clip is cut into 4 x 2 x 2 cells (time, rows, columns). A puzzle is made of four of them,
either the 2 x 2 cells of one time or the 4 times of one place, and asks for their order, one of 4! = 24. A piece is a smaller cuboid
somewhere inside its cell, in time as in space, so that edges and motions do not go on across a border.

The paper draws one puzzle for a video; here every video gives one of each kind, each in all 24 orders, and the kinds are logged apart.
Beside the paper's channel replication, the four times have colours of their own, so that drifting brightness tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
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
    orders,
)

PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))  # row and column of the cells of one time


class CubicPuzzle(PretextTask):
    """Four towers with shared weights, side by side through two layers to 24 logits.

    frames: T of a cuboid. gap: steps by which its cell is longer. stride: ticks of the clock between steps.
    size: side of a cuboid in px. slack: share by which its cell is wider; 0.4 makes the paper's 112 px of 80.
    replicate: share of cuboids in which one channel stands for all three, while training.
    rotate: every other cuboid is turned by 180 degrees, and a second head tells which. hidden: width of a tower.
    fps: clock in frames a second; None counts the video's own frames.
    min_motion: least mean motion of a window, 0..255; times that look alike have no order.
    """

    needs = ("time",)
    controls = ("recode", "padding")
    chance = 1 / 24
    orders: Tensor

    def __init__(
        self,
        backbone: Backbone,
        *,
        frames: int = 16,
        gap: int = 16,
        stride: int = 1,
        size: int = 80,
        slack: float = 0.4,
        replicate: float = 0.5,
        rotate: bool = False,
        hidden: int = 512,
        fps: float | None = None,
        min_motion: float = 0.1,
    ) -> None:
        cell = round(size * (1 + slack))
        augment = Augment(size=2 * cell, area=(0.5, 1.0), jitter=0.4, color_scope="clip")
        super().__init__(backbone, augment, span=(4 * (frames + gap) - 1) * stride + 1, fps=fps, min_motion=min_motion)
        self.cuboid, self.cell, self.stride = (frames, size, size), (frames + gap, cell, cell), stride
        self.replicate, self.rotate = replicate, rotate
        self.register_buffer("orders", orders.every(4), persistent=False)
        self.tower = nn.Sequential(nn.Linear(backbone.info.dim, hidden), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(4 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, len(self.orders)))
        self.turned = nn.Linear(backbone.info.dim, 1) if rotate else None

    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Indices (4,T), a row a time. Target int (2,4,5), for each cuboid of the spatial and of the temporal puzzle in their true
        order: which time, its first frame there, its top and left in px, and whether it is turned."""
        steps = self.window(video, rng, training)[:: self.stride].reshape(4, -1)
        when, where = rng.integers(4, size=2)
        cells = np.array([[(when, *place) for place in PLACES], [(time, *PLACES[where]) for time in range(4)]])
        room = np.subtract(self.cell, self.cuboid)
        inside = rng.integers(room + 1, size=cells.shape) if training else np.broadcast_to(room // 2, cells.shape)
        (time, row, column), (first, top, left) = np.moveaxis(cells, 2, 0), np.moveaxis(inside, 2, 0)
        turned = rng.integers(2, size=time.shape) * self.rotate
        side = self.cell[1]
        return Clips(steps, np.stack([time, first, row * side + top, column * side + left, turned], 2))

    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips (B,4,C,T,H,W), target (B,2,4,5) -> loss, accuracy of both puzzles, of each, and of the second head."""
        vectors = self.vectors(self.cuboids(clips, target))
        logits = self.logits(vectors)
        asked = torch.arange(24, device=clips.device).expand(logits.shape[:3])
        loss = F.cross_entropy(logits.flatten(0, 2).float(), asked.flatten())
        space, time = (logits.argmax(3) == asked).float().mean(2).unbind(1)
        values = {"accuracy": (space + time) / 2, "space_accuracy": space, "time_accuracy": time}
        if self.turned is not None:
            turned, truth = self.turned(vectors).flatten(1), target[..., 4].flatten(1)
            loss, values["turned_accuracy"] = loss + binary_loss(turned, truth), binary_accuracy(turned, truth)
        return {"loss": loss, **values}

    def cuboids(self, clips: Tensor, target: Tensor) -> Tensor:
        """The pieces of both puzzles in true order, some of one channel while training: (B,4,C,T,H,W) -> (B*8,C,t,h,w)."""
        frames, rows, columns = (torch.arange(length, device=clips.device) for length in self.cuboid)
        video = torch.arange(len(clips), device=clips.device).view(-1, 1, 1, 1, 1)
        time, first, top, left, turned = target.flatten(1, 2)[..., None, None, None].unbind(2)  # (B,8,1,1,1) each
        pieces = clips[video, time, :, first + frames.view(-1, 1, 1), top + rows.view(-1, 1), left + columns]
        pieces = torch.where(turned[..., None] > 0, pieces.flip(3, 4), pieces)  # (B,8,t,h,w,C)
        pieces = pieces.movedim(5, 2).flatten(0, 1)
        return orders.replicate_channel(pieces, self.replicate) if self.training else pieces

    def vectors(self, pieces: Tensor) -> Tensor:
        """(B*8,C,t,h,w) -> (B,2,4,D)."""
        return clip_vector(self.backbone(pieces)).unflatten(0, (-1, 2, 4))

    def logits(self, vectors: Tensor) -> Tensor:
        """What the network says of four pieces in each of all orders: (...,4,D) -> (...,24,24)."""
        return self.head(self.tower(vectors)[..., self.orders, :].flatten(-2))

    def show(self, clips: Tensor, target: Tensor) -> Iterator[Row]:
        """Both puzzles of some videos in one order: their cuboids one after the other, and the order that is read."""
        pieces = self.cuboids(clips, target)
        says = self.logits(self.vectors(pieces)).argmax(3)[:4].flatten(0, 1)
        for number, puzzle in enumerate(self.pixels(pieces).unflatten(0, (-1, 4))[: len(says)]):
            order, answer = (self.orders[k].tolist() for k in (5 * number % 24, says[number, 5 * number % 24]))
            laid = puzzle[order, :, :: max(1, self.cuboid[0] // 3)].transpose(0, 1).flatten(1, 2)
            yield f"{('space', 'time')[number % 2]}: cuboids {order}; says {answer}", laid
