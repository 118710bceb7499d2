"""Future frame: which of several frames of the same video comes next after this clip?

Ghodrati, Gavves, Snoek, Video Time, BMVC 2018 (arXiv 1807.06980) choose the right future frame among frames of the same video. The
paper's number of candidates, their distances, its loss and its figures could not be found; the design below is ours. The truth lies a
fixed time ahead. Of its rivals a random number N of 0..K-1 lie in the past, a little nearer to the last frame of the clip than the
truth does, the others in the farther future. Whoever ranks the candidates by nearness or by time finds the truth at every rank equally
often: neither "the nearest to the last frame" nor "the farthest" nor "the latest" beats chance, only knowing which way and how
far things move. `nearest_pixels` is logged beside the accuracy: it is what comparing pixels with the last frame would score.
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
    CaptionedFrames,
    Clips,
    ClipView,
    PretextTask,
    VideoRecord,
    Window,
    class_accuracy,
    isolated_maps,
)

EMBEDDING = 128  # channels of the compared maps


class FutureFrame(PretextTask):
    """Dot product of the expected map and each candidate's, cell by cell, softmax over the K candidates, all from the same video.

    Candidates are encoded one by one, as frames that stand still, so that nothing but the context shows motion. Every frame has colours
    of its own, so that brightness tells nothing. All share a crop: where things are is what the future changes, and with crops of
    their own nothing was learnt in small runs.

    frames: T of the context, and K, the number of candidates. stride: ticks of the clock between frames of the context.
    gap: ticks between neighbouring places where a candidate may lie; the truth lies (T-1) * stride + K * gap ticks ahead.
    size: side in px. fps: clock in frames a second; None counts the video's own frames.
    min_motion: least mean motion of a window, 0..255; a still window has no future.
    """

    needs = ("time",)
    exempt_controls = {"pan": "a picture that moves on has a future"}  # noqa: RUF012
    chance = 0.125

    def __init__(
        self,
        backbone: Backbone,
        *,
        frames: int = 8,
        stride: int = 2,
        gap: int = 2,
        size: int = 112,
        fps: float | None = None,
        min_motion: float = 0.1,
    ) -> None:
        reach = (frames - 1) * stride
        augment = Augment(size=size, area=(0.5, 1.0), jitter=0.2, color_scope="frame")
        window_length = 2 * reach + (3 * frames - 2) * gap + 1
        super().__init__(backbone, augment, Window(window_length, fps=fps, min_motion=min_motion))
        self.frames, self.stride, self.gap, self.reach = frames, stride, gap, reach
        self.chance = 1 / frames
        self.expect = nn.Linear(backbone.info.dim, EMBEDDING)
        self.embed = nn.Linear(backbone.info.dim, EMBEDDING)

    @property
    def view(self) -> ClipView:
        """The context."""
        return self.clip_view(self.frames, self.stride)

    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Indices (2,T): the context, and the candidates in random order; the target is the truth's place among them."""
        K, window = self.frames, self.window(video, rng, training)
        last = self.reach + (K - 1) * self.gap  # of the context, in the window
        nearer = rng.integers(K)
        past = -(1 + rng.choice(K - 1, nearer, replace=False)) * self.gap - self.reach
        later = (K + 1 + rng.choice(K - 1, K - 1 - nearer, replace=False)) * self.gap + self.reach
        ahead = np.concatenate([[K * self.gap + self.reach], past, later])
        order = rng.permutation(K)
        context = last - np.arange(K)[::-1] * self.stride
        return Clips(window[np.stack([context, last + ahead[order]])], np.array(order.argmin()))

    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips (B,2,C,T,H,W), target (B,) -> loss, accuracy, chance, and what comparing pixels would score."""
        scores = self.scores(clips)
        unlike = (clips[:, 1] - clips[:, 0, :, -1:]).square().mean((1, 3, 4))  # (B,K)
        return {
            "loss": F.cross_entropy(scores.float(), target),
            "accuracy": class_accuracy(scores, target),
            "chance": torch.full_like(unlike[:, 0], 1 / self.frames),
            "nearest_pixels": class_accuracy(-unlike, target),
        }

    def scores(self, clips: Tensor) -> Tensor:
        """How well each candidate continues the context: (B,2,C,T,H,W) -> (B,K)."""
        expected = self.expect(self.backbone(clips[:, 0]).mean(2).flatten(2).transpose(1, 2))  # (B,h*w,D)
        candidates = isolated_maps(self.backbone, clips[:, 1]).flatten(3)  # (B,D,K,h*w)
        embedded = self.embed(candidates.movedim(1, 3))  # (B,K,h*w,D)
        result: Tensor = torch.einsum("bsd,bksd->bk", expected, embedded) / (EMBEDDING * expected.shape[1]) ** 0.5
        return result

    def visualize(self, clips: Tensor, target: Tensor) -> Iterator[CaptionedFrames]:
        """Some contexts and their candidates, with the right one and the chosen one."""
        pixels, chances = clips[:4], self.scores(clips[:4]).softmax(1)
        for (context, candidates), right, says in zip(pixels, target.tolist(), chances, strict=False):
            yield "context", context
            yield f"next is candidate {right}; says {int(says.argmax())} ({says.max():.0%})", candidates
