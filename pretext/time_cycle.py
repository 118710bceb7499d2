"""Time cycle: does a patch that is tracked back in time and forward again arrive where it was cut out?

TimeCycle, Wang, Jabri, Efros, CVPR 2019 (arXiv 1903.07593). A patch is cut out of a target frame at a known place and angle, found by
its features i frames before, cut out there and found in the target again: in long cycles frame by frame, in skip cycles at one leap, past
what hides the object. The loss is how far the arrival lies from the start, and how few of the matches the places explain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.ops import patch_tracking
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
    isolated_maps,
)

MATCHES, SKIP, LONG = 1.0, 0.1, 0.02  # weights of the authors' code; the paper has 0.1 for long cycles too


class TimeCycle(PretextTask):
    """A tracker: softmax of the cosines between patch and frame cells, two convolutions, and a place (x, y, angle) at a fixed scale.

    The patch is taken where the target differs from the frame after it, and encoded alone: it does not know where it was. A hit is an
    arrival whose middle is off by less than a quarter of the patch's side; chance is that of always answering the middle of the frame.
    What a place explains is counted on matches held fixed; in the paper these follow the places, and from scratch one place took them all.

    context: frames T before the target, `gap` ticks of the clock apart, the last of them `ahead` ticks before the target.
    fps: clock in frames a second; None counts the video's own frames. size: side in px. patches: P of a video; the paper has one.
    dim: of the features compared. temperature: of the softmax. frozen: steps at the start without gradient to the backbone.
    """

    backbone_options = {"output_stride": 8}  # noqa: RUF012
    needs = ("frames", "cells")
    exempt_controls = dict.fromkeys(("pan", "codec"), "a still picture can be followed")
    chance = 0.049  # of places drawn evenly; that of the middle is among the metrics

    def __init__(
        self,
        backbone: Backbone,
        *,
        context: int = 4,
        gap: int = 2,
        ahead: int = 9,
        fps: float | None = 12.0,
        size: int = 240,
        dim: int = 512,
        temperature: float = 512**-0.5,
        patches: int = 1,
        frozen: int = 0,
    ) -> None:
        if patch_tracking.side_of(size) < backbone.info.min_size:
            least = f"{backbone.info.min_size} px at least"
            raise ConfigError(f"time_cycle cuts patches of a third of size={size}; {backbone.info.name} needs {least}")
        window = Window((context - 1) * gap + ahead + 2, fps=fps)
        super().__init__(backbone, Augment(size, area=(0.7, 1.0)), window)
        self.ticks = [*range(0, context * gap, gap), self.window_length - 2, self.window_length - 1]
        self.temperature, self.frozen, self.patches = temperature, frozen, patches
        self.context, self.gap, self.side = context, gap, patch_tracking.side_of(size)
        self.embed = nn.Linear(backbone.info.dim, dim)
        self.tracker = patch_tracking.tracker(*(backbone.info.cells(side) for side in (size, self.side)))
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))  # of training, counted on by a resumed run

    @property
    def view(self) -> ClipView:
        """The frames of the context; the backbone sees each on its own."""
        return self.clip_view(self.context, self.gap)

    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Indices (1,T+2), the target last but one, and what draws the patches (patches,4)."""
        return Clips(self.window(video, rng, training)[None, self.ticks], rng.random((self.patches, 4), np.float32))

    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips (B,1,3,T+2,H,H), target (B,P,4) -> loss; hits of the longest cycle (accuracy), the widest skip, the middle (chance)."""
        self.steps += self.training and self.first_share
        truth, patch, maps = self.start(clips[:, 0], target)
        T = maps.shape[2] - 1
        long = [self.follow(patch, maps, [*range(T - 1, T - i, -1), *range(T - i, T + 1)]) for i in range(1, T + 1)]
        skip = [self.follow(patch, maps, [T - i, T]) for i in range(1, T + 1)]
        matches = torch.stack([share for cycle in long + skip for _, share in cycle]).mean()
        far = [
            torch.stack([patch_tracking.distance(cycle[-1][0], truth) for cycle in kind]).mean()
            for kind in (long, skip)
        ]
        answers = {"accuracy": long[-1][-1][0], "skip_accuracy": skip[-1][-1][0], "chance": torch.zeros_like(truth)}
        hits = {
            name: patch_tracking.hit(place, truth).view(-1, self.patches).mean(1) for name, place in answers.items()
        }
        return {"loss": MATCHES * (1 - matches) + LONG * far[0] + SKIP * far[1], "matches": matches, **hits}

    def start(self, video: Tensor, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Places (B*P,3) and features (B*P,D,p,p) of patches, of the frames (B*P,D,T+1,h,w): video (B,3,T+2,H,H), draws (B,P,4)."""
        now, later = video[:, :, -2:].repeat_interleave(self.patches, 0).unbind(2)
        truth = patch_tracking.lively(now, later, draws.flatten(0, 1))
        patch = self.encode(patch_tracking.cut_patch(now, truth, self.side).unsqueeze(2)).squeeze(2)
        return truth, patch, self.encode(video[:, :, :-1]).repeat_interleave(self.patches, 0)

    def encode(self, frames: Tensor) -> Tensor:
        """Unit features (B,D,T,h,w) of frames (B,3,T,H,W)."""
        maps = isolated_maps(self.backbone, frames)
        if self.training and self.steps <= self.frozen:
            maps = maps.detach() + 0 * maps  # gradients of zero, not none: distributed training waits for each
        return F.normalize(self.embed(maps.movedim(1, -1)).relu().float(), dim=-1).movedim(-1, 1)

    def follow(self, patch: Tensor, maps: Tensor, route: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """The patch in one frame of the route after the other, cut out anew in each: place (B,3) and share of the matches it explains."""
        steps = []
        for frame in (maps[:, :, time] for time in route):
            match = patch_tracking.match(patch, frame, self.temperature)  # (B,p,p,h,w)
            place = self.tracker(match.flatten(3).movedim(3, 1)).float()
            steps.append((place, patch_tracking.explained(match.detach(), place)))
            patch = patch_tracking.cut_patch(frame, place, patch.shape[-1])
        return steps

    def visualize(self, clips: Tensor, target: Tensor) -> Iterator[CaptionedFrames]:
        """Patches of some videos as they are cut out along the longest cycle."""
        truth, patch, maps = self.start(video := clips[:6, 0], target[:6])
        route = [*range(maps.shape[2] - 2, 0, -1), *range(maps.shape[2])]
        found, frames = [truth], video.repeat_interleave(self.patches, 0)
        found += [place for place, _ in self.follow(patch, maps, route)]
        cuts = [
            patch_tracking.cut_patch(frames[:, :, t], place, self.side)
            for t, place in zip([-2, *route], found, strict=True)
        ]
        for row, off in zip(torch.stack(cuts, 2), patch_tracking.distance(found[-1], truth).sqrt() / 2, strict=True):
            yield f"the patch, tracked back and forward again; off by {off:.0%} of the frame's side", row
