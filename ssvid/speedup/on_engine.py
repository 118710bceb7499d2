"""Many videos sped up wherever an engine runs, a task each; what is there from an earlier call is not done again.

A task writes its plan and its result itself, each whole or not at all, under a lock, so that a task that runs twice does no harm. All
machines must see the sources and the results under the same paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av

from ssvid.engine import executor
from ssvid.errors import SsvidError
from ssvid.progress import Progress
from ssvid.speedup.pipeline import SpeedupOptions, plan_speedup, speed_up
from ssvid.speedup.plan import SpeedPlan


@dataclass(frozen=True)
class SpeedupJob:
    """A video to speed up: what `speed_up` takes; render: False for the plan alone."""

    source: Path
    out: Path
    options: SpeedupOptions
    export: Path | None = None
    html: Path | None = None
    cam: bool = False
    render: bool = True

    def run(self, progress: Progress | None = None) -> SpeedPlan:
        """Do it. Raises as `speed_up` does."""
        if not self.render:
            return plan_speedup(self.source, self.out, self.options, progress, export=self.export)
        by_products = {"export": self.export, "html": self.html}
        return speed_up(self.source, self.out, self.options, progress, **by_products, cam=self.cam)

    def summary(self, progress: Progress | None = None) -> dict[str, float] | str:
        """Do it; the plan's summary, or why the video failed."""
        try:
            return self.run(progress).summary()
        except (SsvidError, OSError, av.error.FFmpegError) as error:
            return str(error)


def run_jobs(jobs: Sequence[SpeedupJob], engine: str) -> Iterator[tuple[SpeedupJob, dict[str, float] | str]]:
    """Do all jobs on an engine; in their order, each with its summary or with why it failed. One video costs no other.

    Raises ConfigError for an engine that does not exist, SsvidError where processes are ended from outside.
    """
    with executor(engine) as pool:
        tasks = [pool.submit(SpeedupJob.summary, job) for job in jobs]
        for job, task in zip(jobs, tasks, strict=True):
            yield job, task.result()
