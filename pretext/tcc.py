"""Temporal cycle-consistency: from a moment to its like in another video of the same action and back, does the way lead home?

TCC, Dwibedi et al., CVPR 2019. Frame i of one video looks softly for its nearest neighbour among the frames of the other video, and that
for its own among the frames of the first: the cycle should end at i. A frame that knew its place in the video would get there by
counting, so every frame is encoded on its own, with `context` - 1 earlier ones at a fixed distance; which ones are drawn is random.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ssvid.ops import cycle_consistency
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
    clock,
    isolated_maps,
)

EMBEDDING = 128
SPREAD = 0.3  # of a channel over a batch: at a temperature of 0.1 frames are then distinguished, but softly


class TCC(PretextTask):
    """Embeddings of single frames, compared between the two videos of a pair, from either one.

    As in the authors' code and not in the paper: squared distances are divided by the channels and by a temperature, time is a share of
    the video, the logarithm is that of the variance. Unlike both: no dropout, as a mask of its own is a name that a frame is found again by
    (with dropout 0.1, 57 % of the cycles of a small run came home in training and only chance held out), hence one crop and one colour
    for a video too; no frame without earlier ones, where the code repeats the first; one spread for the embeddings, and (`centred`)
    the video's mean taken off, as a network that, unlike the paper's, starts from nothing would compare backgrounds.

    Cycles come home by likeness, often by chance: `accuracy` has a floor above 1/T. `order_accuracy` has none: the share of twos of
    frames whose neighbours in the other video stand in the same order, 1/2 by guessing. No loss asks for it.
    loss: "regression" (squared distance of the end from home over the variance, plus 0.001 log variance), "mse" (that distance
    alone) or "classification" (cross-entropy with label smoothing 0.1). frames: T of a video. context: frames that make one step, the
    last of them its own. stride: ticks of the clock between these. share: least share of a shot that frames are drawn from. size: side
    in px. width: channels of the embedder. centred: take the mean over a video's frames off. temperature: of both softmaxes.
    fps: clock in frames a second; None counts the video's own frames. min_motion: least mean motion of a window, 0..255.
    """

    pairs = True
    needs = ("frames",)
    exempt_controls = dict.fromkeys(
        ("pan", "codec", "noise", "fade", "bars"), "a cycle comes home by the very likeness it left by, be it chance"
    )
    chance = 0.05

    def __init__(
        self,
        backbone: Backbone,
        *,
        loss: str = "regression",
        frames: int = 20,
        context: int = 2,
        stride: int = 15,
        share: float = 0.8,
        size: int = 224,
        width: int = 512,
        centred: bool = True,
        temperature: float = 0.1,
        fps: float | None = None,
        min_motion: float = 0.1,
    ) -> None:
        if loss not in cycle_consistency.LOSSES:
            raise ConfigError(f"tcc.loss={loss!r} is not one of {', '.join(cycle_consistency.LOSSES)}")
        augment = Augment(size=size, area=(0.6, 1.0), jitter=0.2)
        window = Window((context - 1) * stride + frames, fps=fps, min_motion=min_motion)
        super().__init__(backbone, augment, window)
        self.loss, self.frames, self.share, self.centred, self.temperature = loss, frames, share, centred, temperature
        self.chance, self.stride, self.earlier = 1 / frames, stride, np.arange(context)[::-1] * stride
        self.embedder = cycle_consistency.embedder(backbone.info.dim, width, EMBEDDING)
        self.scale = nn.BatchNorm1d(EMBEDDING, affine=False)

    @property
    def view(self) -> ClipView:
        """A moment: a frame with the earlier ones that are encoded with it."""
        return self.clip_view(len(self.earlier), self.stride)

    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Indices (T,k): each frame behind its earlier ones, all of one shot; target (T,): where in the shot, 0..1."""
        window, ticks = self.window(video, rng, training), clock(video, self.fps)
        edges = np.array([0, *video.shots.cuts, video.info.frames])
        shot = ticks[(ticks >= edges[edges <= window[0]].max()) & (ticks < edges[edges > window[0]].min())]
        first, end = int(self.earlier[0]), len(shot)
        chosen = np.linspace(first, end - 1, self.frames).round().astype(int)
        if training:
            length = rng.integers(max(self.window_length, int(np.ceil(self.share * end))), end + 1)
            start = rng.integers(end - length + 1)
            chosen = start + first + np.sort(rng.choice(length - first, self.frames, replace=False))
        return Clips(shot[chosen[:, None] - self.earlier], (chosen / end).astype(np.float32))

    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips (B,T,C,k,H,W), B even, target (B,T) -> loss, accuracy (share of cycles that end at home), chance, order."""
        there, back = self.walk(clips)
        return {
            "loss": cycle_consistency.cycle_loss(self.loss, back, target.float()),
            "accuracy": (back.argmax(2) == torch.arange(self.frames, device=clips.device)).float().mean(1),
            "chance": torch.full_like(back[:, 0, 0], 1 / self.frames),
            "order_accuracy": cycle_consistency.in_order(there.argmax(2)),
        }

    def walk(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """From every video to the other of its pair and back: (B,T,C,k,H,W) -> logits (B,T,T) there and back."""
        maps = isolated_maps(self.backbone, clips.flatten(0, 1))  # (B*T,D,k,h,w)
        own = self.embedder(maps).unflatten(0, clips.shape[:2])  # (B,T,D)
        own = own - own.mean(1, keepdim=True) if self.centred else own
        own = SPREAD * self.scale(own.flatten(0, 1)).view_as(own)
        return cycle_consistency.cycle(own, own.unflatten(0, (-1, 2)).flip(1).flatten(0, 1), self.temperature)

    def visualize(self, clips: Tensor, target: Tensor) -> Iterator[CaptionedFrames]:
        """The first pairs: the frames of one video, and under each its nearest neighbour in the other."""
        (there, back), pixels = self.walk(clips), clips[:, :, :, -1].transpose(1, 2)  # (B,C,T,H,W)
        for one in range(0, min(4, len(clips)), 2):
            home = int((back[one].argmax(1).cpu() == torch.arange(self.frames)).sum())
            yield f"frames; {home} of {self.frames} cycles come home", pixels[one]
            yield "their neighbours in the other video", pixels[one + 1][:, there[one].argmax(1)]
