"""Timeception: convolutions over time alone, of several lengths, for actions of minutes (Hussein et al., CVPR 2019, arXiv:1812.01289).

A layer cuts the channels into groups. In each, five branches reduce the channels and look over time: not at all, with a depthwise kernel in
three lengths, and with a maximum of two steps. What they give is put side by side, channels of the groups are shuffled, and time is halved.
Space is left alone until the end, when the largest value of all cells and steps is taken of every channel, and a layer makes the vector.

A layer makes a quarter more channels than it takes, as far as whole numbers allow: 1024 grow to 1280, 1600, 2000, 2480.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo.continual import ContinualTrunk, State
from ssvid.zoo.pooled_head import larger
from ssvid.zoo.recurrence import StepByStep, as_map
from ssvid.zoo.time_window import Layer, TimeWindow

HEADS = {
    "timeception": {
        "description": "grouped convolutions over time in several lengths, maximum, a layer",
        "source": "arXiv:1812.01289",
        "licence": "Apache-2.0",
    }
}

Scales = tuple[tuple[int, int], ...]  # kernel and dilation of each branch that convolves over time
SCALES: dict[str, Scales] = {"dilations": ((3, 1), (3, 2), (3, 3)), "kernels": ((3, 1), (5, 1), (7, 1))}


def build(
    name: str,
    dim: int,
    *,
    hidden: int = 0,
    layers: Literal[1, 2, 3, 4] = 2,
    scales: Literal["dilations", "kernels"] = "dilations",
    groups: int = 0,
) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,1,1,1).

    hidden: size of the vector, 0 for that of the encoder's; the paper's 512. layers: each halves time; the paper has 3 for 32 and 64
    steps, and 4 for 128. scales: lengths of the kernels, as dilations 1, 2, 3 of three steps or as 3, 5, 7 steps. groups: of channels, 0
    for the paper's one for every 128 channels.

    Raises ConfigError where the groups do not divide the channels.
    """
    number = groups or max(1, dim // 128)
    if number < 1 or dim % number or dim // number < 4:
        raise ConfigError(f"{name}: {dim} channels are not {number} groups of 4 or more; give {name}_groups.")
    return Timeception(dim, hidden or dim, layers, SCALES[scales], number)


class Timeception(StepByStep):
    """Layers, maximum, one more layer: (B,D,t,h,w) -> (B,H,1,1,1)."""

    def __init__(self, dim: int, hidden: int, layers: int, scales: Scales, groups: int) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for _ in range(layers):
            layer = TimeceptionLayer(dim, scales, groups)
            self.layers.append(layer)
            dim = layer.out
        self.out = nn.Sequential(nn.Dropout(0.5), nn.Linear(dim, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(0.2))

    def forward(self, maps: Tensor) -> Tensor:
        """Compute."""
        return as_map(self.out(self.layers(maps).amax((2, 3, 4))))

    def stepwise(self) -> TimeceptionSteps:
        """The layers made continual."""
        return TimeceptionSteps(self)


class TimeceptionState(NamedTuple):
    """What the layers keep, and the largest values (B,C) of the steps that they have given."""

    layers: State | None
    largest: Tensor | None


class TimeceptionSteps:
    """Timeception on a stream. After each step it gives the vector (B,H,1,1) of the clip up to there: of what the layers have given, and of
    what they would give were this the end."""

    delay = 0

    def __init__(self, head: Timeception) -> None:
        self.layers, self.out = ContinualTrunk(head.layers), head.out

    def step(self, maps: Tensor, state: TimeceptionState | None) -> tuple[Tensor, TimeceptionState]:
        """The next step of a stream."""
        kept, largest = state or (None, None)
        given, kept = self.layers.advance(maps.unsqueeze(2), kept)
        if given is not None:
            largest = larger(largest, given.amax((2, 3, 4)))
        rest, _ = self.layers.advance(None, kept, last=True)
        so_far = largest if rest is None else larger(largest, rest.amax((2, 3, 4)))
        vector: Tensor = self.out(so_far)
        return vector[..., None, None], TimeceptionState(kept, largest)

    def flush(self, state: TimeceptionState | None) -> list[Tensor]:
        """Nothing is left."""
        return []


class TimeceptionLayer(nn.Module):
    """Five branches for each group of channels, and time halved: (B,C,t,h,w) -> (B,5 G floor(C/4G),t//2,h,w); one step stays one."""

    def __init__(self, channels: int, scales: Scales, groups: int) -> None:
        super().__init__()
        width = groups * (channels // (4 * groups))  # 1.25 channels out for one in, from five branches
        self.out = 5 * width

        def reduce() -> nn.Conv3d:
            return nn.Conv3d(channels, width, 1, groups=groups)

        self.branches = nn.ModuleList([nn.Sequential(reduce(), nn.BatchNorm3d(width))])
        for kernel, dilation in scales:
            over_time = nn.Conv3d(
                width,
                width,
                (kernel, 1, 1),
                padding=(dilation * (kernel // 2), 0, 0),
                dilation=(dilation, 1, 1),
                groups=width,
            )
            self.branches.append(nn.Sequential(reduce(), over_time, nn.BatchNorm3d(width)))
        self.branches.append(nn.Sequential(reduce(), LargerOfTwo(), nn.BatchNorm3d(width)))
        self.shuffle, self.halve = Shuffle(groups), HalfTheSteps()

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        halved: Tensor = self.halve(self.shuffle(*[branch(x) for branch in self.branches]))
        return halved


class Shuffle(nn.Module):
    """Branches, each (B,G c,t,h,w) of G groups, side by side: (B,5 G c,t,h,w), a ReLU after it."""

    per_frame = True

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, *branches: Tensor) -> Tensor:
        """Compute."""
        grouped = [torch.unflatten(branch, 1, (self.groups, -1)) for branch in branches]
        # the channels of a group one after another, then those of all groups in turn: the next layer's groups hold some of each
        return torch.cat(grouped, 2).relu().transpose(1, 2).flatten(1, 2)


class HalfTheSteps(nn.Module):
    """The larger of every two steps, an odd one at the end left out; one step stays: (B,C,t,h,w) -> (B,C,max(1,t//2),h,w)."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        return F.max_pool3d(x, (min(2, x.shape[2]), 1, 1))

    def over_time(self) -> tuple[TimeWindow, Layer]:
        """How it is run on a stream."""
        return TimeWindow(2, stride=2, ceil="first"), self.forward


class LargerOfTwo(nn.Module):
    """The larger of each step and the one after it, the last one alone: (B,C,t,h,w) -> (B,C,t,h,w)."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        return torch.maximum(x, torch.cat([x[:, :, 1:], x[:, :, -1:]], 2))

    def over_time(self) -> tuple[TimeWindow, Layer]:
        """How it is run on a stream."""
        return TimeWindow(2, after=1, fill="replicate"), lambda x: torch.maximum(x[:, :, :-1], x[:, :, 1:])
