"""Frame order: are these frames in the order of time?

Shuffle and Learn, Misra et al., ECCV 2016 (arXiv 1603.08561). Of five frames a < b < c < d < e, (b,c,d) is in order, (b,a,d) and
(b,e,d) are not, and the reverse of a tuple has its answer: b and d are the same, so only the frame between them decides. Mode "opn" is Lee
et al., ICCV 2017: which of the 4!/2 = 12 orders do four frames have, an order and its reverse being one?

Every frame is encoded on its own (the kernels of a 3-D backbone would read the order), once for all the tuples it is in. Both modes take
the pairwise head of Lee et al.: a last layer linear in three features, as published, knows only what middles look like.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ssvid.ops import permutations, shortcut_removal
from ssvid.training.task import (
    Augment,
    Backbone,
    CaptionedFrames,
    Clips,
    ClipView,
    ConfigError,
    PretextTask,
    Scope,
    VideoRecord,
    Window,
    isolated_maps,
)

GRID = 3  # cells a side that keep where things are, as the fully connected layers of both papers do
TUPLES = torch.tensor([(1, 2, 3), (3, 2, 1), (1, 0, 3), (3, 0, 1), (1, 4, 3), (3, 4, 1)])  # of a, b, c, d, e
IN_ORDER = torch.tensor([1, 1, 0, 0, 0, 0])


class FrameOrder(PretextTask):
    """Logits from pairs of frames. Accuracy is the mean over the answers, so that always giving one scores 1/2 (opn 1/12).

    mode: "shuffle" or "opn" (half of its training frames show one channel). frames: most ticks from b to d, tau_max; opn: in all.
    gap: least ticks between neighbours, the paper's tau_min. negatives: share of the loss that tuples not in order have.
    size: side in px. dropout: before the last layer. distances: compare frames by how far their features are apart; from both
    side by side, as in the papers, little is learnt in small runs. crop: "frame": each on its own, or "video": all alike, for slow motion.
    jitter: brightness, contrast, saturation of each frame. guard: frames brought to one level, in training under noise and black bars of
    no meaning, so that no fade, bars or codec tell the order; neither paper does. fps: clock in frames a second; None counts the video's
    own frames. min_motion: least mean motion of a window, 0..255; windows are drawn in proportion to their motion.
    """

    needs = ("frames",)
    exempt_controls = {"pan": "the frames of a steady pan have an order"}  # noqa: RUF012
    chance = 0.5

    def __init__(
        self,
        backbone: Backbone,
        *,
        mode: str = "shuffle",
        frames: int = 60,
        gap: int = 15,
        negatives: float = 0.75,
        size: int = 224,
        dropout: float = 0.5,
        distances: bool = False,
        crop: Scope = "frame",
        jitter: float = 0.4,
        guard: bool = False,
        fps: float | None = None,
        min_motion: float = 0.1,
    ) -> None:
        if mode not in ("shuffle", "opn") or crop not in ("frame", "video") or not 1 <= gap <= frames / 3:
            raise ConfigError("frame_order: mode is shuffle or opn, crop frame or video, gap from 1 to frames/3")
        augment = Augment(size, (0.7, 1.0), (0.9, 1.1), jitter=jitter, crop_scope=crop, color_scope="frame")
        window_length = frames + 1 + (2 * gap if mode == "shuffle" else 0)
        window = Window(window_length, fps=fps, min_motion=min_motion, by_motion=True)
        super().__init__(backbone, augment, window)
        self.mode, self.frames, self.gap, self.guard = mode, frames, gap, guard
        self.tuples, answers = (TUPLES, IN_ORDER) if mode == "shuffle" else permutations.up_to_reversal(4)
        self.share = (negatives, 1 - negatives) if mode == "shuffle" else (1 / 12,) * 12  # of each answer in the loss
        self.answers, self.chance = answers.numpy(), 1 / len(self.share)
        shape = backbone.info.dim * GRID**2, self.tuples.shape[1], len(self.share)
        self.head = permutations.PairwiseHead(*shape, dropout=dropout, distances=distances)

    @property
    def view(self) -> ClipView:
        """As many frames as are put in order, at the least distance from each other; the backbone sees each on its own."""
        return self.clip_view(int(self.tuples.max()) + 1, self.gap)

    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Indices (1,5) of a to e, opn (1,4), in the order of time; the target (K,) are the answers to all K tuples of them."""
        window, chance = self.window(video, rng, training), rng if training else None
        if self.mode == "opn":
            return Clips(window[None, permutations.spread_apart(4, self.window_length, self.gap, chance)], self.answers)
        b, c, d = self.gap + permutations.spread_apart(3, self.frames + 1, self.gap, chance)
        a = rng.integers(b - self.gap + 1) if training else 0
        e = rng.integers(d + self.gap, self.window_length) if training else self.window_length - 1
        return Clips(window[None, [a, b, c, d, e]], self.answers)

    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips (B,1,C,N,H,W), target (B,K) -> loss, accuracy, chance. Logits are for equally frequent answers: the loss adds the odds."""
        logits = self.logits(clips)
        share = logits.new_tensor(self.share)
        often = (target[:, :, None] == target[:, None]).sum(2)  # (B,K) tuples with one answer
        loss = F.cross_entropy((logits + share.log()).flatten(0, 1), target.flatten(), reduction="none").view_as(target)
        accuracy = ((logits.argmax(2) == target) / often).sum(1) * self.chance
        loss = (loss * share[target] / often).sum(1).mean()
        return {"loss": loss, "accuracy": accuracy, "chance": torch.full_like(accuracy, self.chance)}

    def logits(self, clips: Tensor) -> Tensor:
        """What the network says of all tuples, in fp32: (B,1,C,N,H,W) -> (B,K,answers)."""
        if self.guard:
            clips = shortcut_removal.remove_order_cues(clips, self.backbone.mean, self.backbone.std, self.training)
        frames = clips[:, 0].transpose(1, 2).flatten(0, 1).unsqueeze(2)  # (B*N,C,1,H,W)
        if self.training and self.mode == "opn":
            frames = shortcut_removal.replicate_channel(frames, 0.5)
        maps = isolated_maps(self.backbone, frames).squeeze(2)  # (B*N,D,h,w)
        vectors = F.adaptive_avg_pool2d(maps, GRID).flatten(1).unflatten(0, (len(clips), -1))
        result: Tensor = self.head(vectors[:, self.tuples]).float()
        return result

    def visualize(self, clips: Tensor, target: Tensor) -> Iterator[CaptionedFrames]:
        """A tuple of some videos, with the right answer and the given one."""
        says = self.logits(clips).argmax(2)
        for video, frames in enumerate(clips[:8, 0]):
            k = 5 * video % len(self.tuples)
            yield f"right answer {target[video, k]}, says {says[video, k]}", frames[:, self.tuples[k]]
