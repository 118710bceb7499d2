"""Time cycle: does a patch that is tracked back in time and forward again arrive where it was cut out?

TimeCycle, Wang, Jabri, Efros, CVPR 2019 (arXiv 1903.07593). A patch is cut out of a target frame at a known place and angle, found by
its features in the frame before, cut out there, found in the one before that, and so on back i frames and forward again to the target.
Long cycles take every frame; skip cycles go to the i-th and straight back, past what hides the object. The loss is how far the arrival
lies from the start, and how few of the matches the predicted places explain; weighted as in the code, the paper has 0.1 for long cycles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.training.task import Augment, Backbone, Clips, PretextTask, Row, VideoRecord, isolated_maps, places

MATCHES, SKIP, LONG = 1.0, 0.1, 0.02  # weights


class TimeCycle(PretextTask):
    """A tracker: softmax of the cosines between patch and frame cells, two convolutions, and a place (x, y, angle) at a fixed scale.

    The frames are `context` ones, `gap` ticks apart, `ahead` ticks later the target, and the one after it, which tells where things move:
    there the patch is cut out. It is encoded alone, so it does not know where it was. An arrival hits when its middle is less than a
    quarter of the patch's side away; chance is that of always answering the middle of the frame.

    context: T. gap, ahead: ticks of the clock. fps: clock in frames a second; None counts the video's own frames. size: side in px.
    dim: of the features that are compared. hidden: channels of the tracker. temperature: of the softmax.
    frozen: steps at the start without gradient to the backbone: from scratch, beside a tracker that knows nothing, both stall.
    """

    backbone_options = {"output_stride": 8}  # noqa: RUF012
    unfair = dict.fromkeys(("pan", "codec"), "a still picture can be followed")
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
        hidden: int = 128,
        temperature: float = 512**-0.5,
        frozen: int = 0,
    ) -> None:
        super().__init__(backbone, Augment(size, area=(0.7, 1.0)), span=(context - 1) * gap + ahead + 2, fps=fps)
        self.ticks = [*range(0, context * gap, gap), self.span - 2, self.span - 1]
        self.temperature, self.frozen, self.side = temperature, frozen, places.side_of(size)
        cells, inner = (math.ceil(side / backbone.info.spatial_stride) for side in (size, self.side))
        self.embed = nn.Linear(backbone.info.dim, dim)
        self.tracker = nn.Sequential(
            *(nn.Conv2d(cells**2, hidden, 3, padding=1), nn.LeakyReLU(0.1)),
            *(nn.Conv2d(hidden, hidden // 2, 3, padding=1), nn.LeakyReLU(0.1)),
            *(nn.Flatten(), nn.Linear(hidden // 2 * inner**2, 3)),
        )
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))  # of training, counted on by a resumed run

    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Clips:
        """Indices (1,T+2), and what draws the patch (4,)."""
        return Clips(self.window(video, rng, training)[None, self.ticks], rng.random(4, np.float32))

    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """clips (B,1,3,T+2,H,H), target (B,4) -> loss, hits after the longest cycle (accuracy), the widest skip, and in the middle (chance)."""
        self.steps += self.training
        truth, patch, maps = self.start(clips[:, 0], target)
        T = maps.shape[2] - 1
        with torch.autocast(clips.device.type, enabled=False):
            long = [self.follow(patch, maps, [*range(T - 1, T - i, -1), *range(T - i, T + 1)]) for i in range(1, T + 1)]
            skip = [self.follow(patch, maps, [T - i, T]) for i in range(1, T + 1)]
        matches = torch.stack([share for cycle in long + skip for _, share in cycle]).mean()
        far = [torch.stack([places.distance(cycle[-1][0], truth) for cycle in kind]).mean() for kind in (long, skip)]
        answers = {"accuracy": long[-1][-1][0], "skip_accuracy": skip[-1][-1][0], "chance": torch.zeros_like(truth)}
        hits = {name: places.hit(answer, truth) for name, answer in answers.items()}
        return {"loss": MATCHES * (1 - matches) + LONG * far[0] + SKIP * far[1], "matches": matches, **hits}

    def start(self, video: Tensor, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Place (B,3) and features (B,D,p,p) of the patch, and those of the frames (B,D,T+1,h,w), from frames (B,3,T+2,H,H)."""
        now = video[:, :, -2]
        truth = places.lively(now, video[:, :, -1], draws)
        patch = self.encode(places.cut(now, truth, self.side).unsqueeze(2)).squeeze(2)
        return truth, patch, self.encode(video[:, :, :-1])

    def encode(self, frames: Tensor) -> Tensor:
        """Unit features (B,D,T,h,w) of frames (B,3,T,H,W)."""
        maps = isolated_maps(self.backbone, frames)
        if self.training and self.steps <= self.frozen:
            maps = maps.detach() + 0 * maps  # gradients of zero, not none: distributed training waits for each
        return F.normalize(self.embed(maps.movedim(1, -1)).relu().float(), dim=-1).movedim(-1, 1)

    def follow(self, patch: Tensor, maps: Tensor, route: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """The patch in one frame of the route after the other, cut out anew in each: place (B,3) and share of the matches it explains."""
        steps = []
        for time in route:
            frame = maps[:, :, time]
            cosines = torch.einsum("bdij,bdyx->bijyx", F.normalize(patch, dim=1), frame)
            match = (cosines.flatten(3) / self.temperature).softmax(-1)  # (B,p,p,h*w)
            place = self.tracker(match.movedim(3, 1))
            steps.append((place, places.explained(match.view_as(cosines), place)))
            patch = places.cut(frame, place, patch.shape[-1])
        return steps

    def show(self, clips: Tensor, target: Tensor) -> Iterator[Row]:
        """Patches of some videos as they are cut out along the longest cycle."""
        video = clips[:6, 0]
        truth, patch, maps = self.start(video, target[:6])
        T = maps.shape[2] - 1
        route = [T, *range(T - 1, 0, -1), *range(T + 1)]
        found = [truth, *(place for place, _ in self.follow(patch, maps, route[1:]))]
        cuts = [places.cut(video[:, :, time], place, self.side) for time, place in zip(route, found, strict=True)]
        for row, end in zip(self.pixels(torch.stack(cuts, 2)), places.distance(found[-1], truth).sqrt(), strict=True):
            yield f"the patch, tracked back and forward again; off by {end / 2:.0%} of the frame's side", row
