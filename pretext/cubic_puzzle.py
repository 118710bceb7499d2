"""Cubic puzzle: which piece of space and time belongs where?

Kim, Cho, Kweon, AAAI 2019 (arXiv 1811.09795). A clip is cut into 4 x 2 x 2 cells (time, rows, columns). A puzzle is made of four of them,
either the 2 x 2 cells of one time or the 4 times of one place, and asks for their order, one of 4! = 24. A piece is a smaller cuboid
somewhere inside its cell, in time as in space, so that edges and motions do not go on across a border.
The paper draws one puzzle a video; here each video gives one of either kind, in all 24 permutations. Beside the paper's channel
replication,
the four times have colours of their own, so that drifting brightness tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ssvid.ops import patches, permutations, shortcut_removal
from ssvid.training.task import (
    Augment,
    Backbone,
    CaptionedFrames,
    Clips,
    ClipView,
    PretextTask,
    VideoRecord,
    Window,
    binary_accuracy,
    binary_loss,
    clip_vector,
)

ORDERS = permutations.every(4)


class CubicPuzzle(PretextTask):
    """Four towers with shared weights, side by side through two layers to 24 logits.

    frames: T of a cuboid. gap: ticks by which its cell is longer.
    size: side of a cuboid in px. slack: share by which its cell is wider; 0.4 makes the paper's 112 px of 80.
    replicate: share of the cuboids in which one channel stands for all three, while training.
    rotate: cuboids are turned by 180 degrees at random, and a second head tells which. fps: clock, None counts the video's own frames.
    min_motion: least mean motion of a window, 0..255; times that look alike have no order.
    """

    needs = ("time",)
    exempt_controls = dict.fromkeys(("pan", "codec"), "the cells of a still picture have their places")
    chance = 1 / 24

    def __init__(
        self,
        backbone: Backbone,
        *,
        frames: int = 16,
        gap: int = 16,
        size: int = 80,
        slack: float = 0.4,
        replicate: float = 0.5,
        rotate: bool = False,
        fps: float | None = None,
        min_motion: float = 0.1,
    ) -> None:
        cell, steps = round(size * (1 + slack)), frames + gap
        augment = Augment(size=2 * cell, area=(0.5, 1.0), jitter=0.4, color_scope="clip")
        super().__init__(backbone, augment, Window(4 * steps, fps=fps, min_motion=min_motion))
        self.cuboid, self.cell, self.replicate = (frames, size, size), (steps, cell, cell), replicate
        self.tower = nn.Sequential(nn.Linear(backbone.info.dim, 512), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(-2), nn.Linear(4 * 512, 512), nn.ReLU(), nn.Linear(512, 24))
        self.turned = nn.Linear(backbone.info.dim, 1) if rotate else None

    @property
    def view(self) -> ClipView:
        """A whole clip of one time, of which the backbone saw cuboids: as long as a cell, as large as the frames."""
        return self.clip_view(self.cell[0])

    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Indices (4,T), a row a time. Target (2,4,5), spatial and temporal cuboids: time, first frame, top, left, turned or not."""
        steps = self.window(video, rng, training).reshape(4, -1)
        when, where = rng.integers(4, size=2)
        cells = np.array([[(when, *divmod(i, 2)) for i in range(4)], [(i, *divmod(where, 2)) for i in range(4)]])
        room = np.subtract(self.cell, self.cuboid)
        inside = rng.integers(room + 1, size=cells.shape) if training else np.broadcast_to(room // 2, cells.shape)
        turned = rng.integers(2, size=(2, 4, 1)) * (self.turned is not None)
        return Clips(steps, np.concatenate([cells[..., :1], inside + cells * (0, *self.cell[1:]), turned], 2))

    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips (B,4,C,T,H,W), target (B,2,4,5) -> loss, accuracy of both puzzles, of each, and of the second head."""
        vectors, logits = self.read(self.cuboids(clips, target))
        asked = torch.arange(24, device=clips.device).expand(logits.shape[:3])
        loss = nn.functional.cross_entropy(logits.flatten(0, 2).float(), asked.flatten())
        space, time = (logits.argmax(3) == asked).float().mean(2).unbind(1)
        values = {"accuracy": (space + time) / 2, "space_accuracy": space, "time_accuracy": time}
        if self.turned is not None:
            turned, truth = self.turned(vectors).flatten(1), target[..., 4].flatten(1)
            loss, values["turned_accuracy"] = loss + binary_loss(turned, truth), binary_accuracy(turned, truth)
        return {"loss": loss, **values}

    def cuboids(self, clips: Tensor, target: Tensor) -> Tensor:
        """The pieces of both puzzles in true order, some of one channel while training: (B,4,C,T,H,W) -> (B*8,C,t,h,w)."""
        pieces = patches.cut_cuboids(clips, target[..., :4].flatten(1, 2), self.cuboid).flatten(0, 1)
        pieces = torch.where(target[..., 4].view(-1, 1, 1, 1, 1) > 0, pieces.flip(3, 4), pieces)
        return shortcut_removal.replicate_channel(pieces, self.replicate) if self.training else pieces

    def read(self, pieces: Tensor) -> tuple[Tensor, Tensor]:
        """(B*8,C,t,h,w) -> vectors (B,2,4,D), and what the network says of the four in each of all orders (B,2,24,24)."""
        vectors = clip_vector(self.backbone(pieces)).unflatten(0, (-1, 2, 4))
        return vectors, self.head(self.tower(vectors)[..., ORDERS, :])

    def visualize(self, clips: Tensor, target: Tensor) -> Iterator[CaptionedFrames]:
        """Both puzzles of some videos in one order each, first frames of their cuboids side by side, and the order that is read."""
        pieces = self.cuboids(clips, target)
        says = self.read(pieces)[1].argmax(3).flatten(0, 1)
        for number, puzzle in enumerate(pieces.unflatten(0, (-1, 4))[:8]):
            order, answer = ORDERS[5 * number % 24].tolist(), ORDERS[says[number, 5 * number % 24]].tolist()
            caption = f"{('space', 'time')[number % 2]}: cuboids {order}; says {answer}"
            yield caption, puzzle[order, :, 0].transpose(0, 1)
