"""Which sample stands where: the plans of every step, a function of (seed, step, place in the global batch) and nothing else.

A rank takes its part of the global batch in config.accumulate shares, in order: one process with four shares reads what four processes do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from ssvid.config import PretrainConfig
from ssvid.data.loader import SamplePlan
from ssvid.data.sampling import epoch_order
from ssvid.data.video_record import VideoRecord
from ssvid.training.task import PretextTask


class PlanSampler:
    """The plans of every step from `start` to the last, share by share, for one rank: what the loader hands to its workers."""

    def __init__(
        self,
        task: PretextTask,
        videos: Sequence[VideoRecord],
        config: PretrainConfig,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.task, self.videos, self.config = task, videos, config
        self.start, self.rank, self.world = start, rank, world

    def __iter__(self) -> Iterator[list[SamplePlan]]:
        for step in range(self.start, self.config.steps):
            for share in range(self.config.accumulate):
                yield self.plans(step, share)

    def __len__(self) -> int:
        return (self.config.steps - self.start) * self.config.accumulate

    def plans(self, step: int, share: int = 0) -> list[SamplePlan]:
        """One of this rank's shares of the global batch of one step (both counted from 0)."""
        seed, batch = self.config.seed, self.config.batch
        size = self.task.augment.draw_size(np.random.default_rng([seed, step]))
        one, count = self.rank * self.config.accumulate + share, self.world * self.config.accumulate
        positions = step * batch + np.arange(one * batch // count, (one + 1) * batch // count)
        order = epoch_order(len(self.videos), seed, positions)
        if self.task.pairs:
            leaders = epoch_order(len(self.videos), seed, positions - positions % 2)
            order = np.where(positions % 2, self.companions(leaders, positions), order)
        return [self.plan(int(video), int(position), size) for video, position in zip(order, positions, strict=True)]

    def companions(self, videos: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """For each video another one with its label; itself where there is no other."""
        chosen = []
        for video, position in zip(videos, positions, strict=True):
            others = self.by_label[self.videos[video].label]
            others = others[others != video] if len(others) > 1 else others
            chosen.append(np.random.default_rng([self.config.seed, int(position), 2]).choice(others))
        return np.array(chosen, int)

    @cached_property
    def by_label(self) -> dict[str | None, np.ndarray]:
        """Which videos have each label; those without one count as one action."""
        return {label: np.array(numbers) for label, numbers in videos_by_label(self.videos).items()}

    def plan(self, video: int, position: int, size: int) -> SamplePlan:
        """One sample; its generator depends on the seed and its position in the whole run."""
        rng = np.random.default_rng([self.config.seed, position, 1])
        record = self.videos[video]
        clips = self.task.sample(record, rng)
        params = self.task.augment.draw(rng, *clips.indices.shape)
        return SamplePlan(record, video, clips.indices, clips.target, params, rng.random(), size)


def test_plans(task: PretextTask, videos: Sequence[VideoRecord], batch: int) -> Iterator[list[SamplePlan]]:
    """Plans of one pass over held-out videos: the task's test sample of each, centre view, largest size.

    For a task of pairs, the videos of one label stand together, and one that is left over is left out.
    """
    size = task.augment.size if isinstance(task.augment.size, int) else task.augment.size[1]
    order = _paired(videos) if task.pairs else list(range(len(videos)))
    for first in range(0, len(order), batch):
        plans = []
        for number in order[first : first + batch]:
            video = videos[number]
            clips = task.sample(video, np.random.default_rng([0, number]), training=False)
            plans.append(
                SamplePlan(
                    video, number, clips.indices, clips.target, task.augment.centre(*clips.indices.shape), 0.5, size
                )
            )
        yield plans


def _paired(videos: Sequence[VideoRecord]) -> list[int]:
    """The videos in twos of one label."""
    groups = videos_by_label(videos)
    return [number for label in sorted(groups, key=str) for number in groups[label][: len(groups[label]) // 2 * 2]]


def videos_by_label(videos: Sequence[VideoRecord]) -> dict[str | None, list[int]]:
    """Which videos have each label, in their order; looked through once, as there may be as many labels as videos."""
    groups: dict[str | None, list[int]] = {}
    for number, video in enumerate(videos):
        groups.setdefault(video.label, []).append(number)
    return groups
