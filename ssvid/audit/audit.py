"""`ssvid audit`: does a trained task see time, or a shortcut? What is asked of a run, and what is found.

A task gets every general check, less those it declares to be exempt_controls to it, as an honest answer to them is left, and those it
declares
besides. The verdicts together are wrong about an honest task with a probability of at most 1 - LEVEL, however many checks it gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ssvid.audit.auditor import FEWEST, PADDING, SKIPPED, Auditor, Check, Score, about
from ssvid.audit.controls import CONTROLS
from ssvid.audit.reencodings import REENCODINGS
from ssvid.data.index import VideoRecord
from ssvid.data.scanning import open_data
from ssvid.errors import ConfigError, DataError
from ssvid.progress import Progress
from ssvid.training.run import Run
from ssvid.training.task import CaptionedFrames, PretextTask, usable
from ssvid.training.validate import trained_task

LEVEL = 0.99  # certainty of all verdicts of a run together


@dataclass(frozen=True)
class Audit:
    """All that was found about a run. held_out, other: accuracy there; samples: rows of frames, to look at."""

    run: str
    task: str
    backbone: str
    step: int
    data: list[str]
    held_out: Score
    other: Score | None
    other_data: str | None
    checks: list[Check]
    samples: list[CaptionedFrames] = field(repr=False)

    @property
    def shortcuts(self) -> list[str]:
        """Names of the controls that were beaten."""
        return [check.name for check in self.checks if check.shortcuts]


def audit(
    run: Run,
    data: Sequence[str] | None = None,
    other: str | None = None,
    *,
    videos: int = 128,
    workers: int = 0,
    progress: Progress | None = None,
) -> Audit:
    """Examine the trained task of a run.

    data: held-out videos, by default those the run was trained on; of either the test split where there is one, else all. other: videos of
    another origin, on which the accuracy is taken as well. videos: how many of each control. workers: decoding processes.
    progress: told (what, done, total).
    Raises DataError for a run without checkpoint or videos that do not suit, ConfigError for a task that names an unknown control.
    """
    task = trained_task(run)
    state = run.checkpoint() or {}
    config = run.config
    names, exempt_controls = asked(task)
    sources = list(data or config.data)
    index = open_data(sources)
    held_out = choose(task, index.videos("test") or index.videos(), videos, ", ".join(sources))
    auditor = Auditor(task, held_out, videos, workers, alpha_of(names), progress or (lambda what, done, total: None))
    checks = []
    for number, name in enumerate(names):
        auditor.progress("auditing", number, len(names))
        checks.append(auditor.check(name))
    auditor.progress("auditing", len(names), len(names))
    checks += [Check(name, about(name), SKIPPED, reason) for name, reason in exempt_controls.items()]
    elsewhere = None
    if other is not None:
        there = open_data([other])
        elsewhere = auditor.score(choose(task, there.videos("test") or there.videos(), videos, other))
    return Audit(
        run=str(run.path),
        task=config.task,
        backbone=config.backbone,
        step=int(state.get("step", 0)),
        data=sources,
        held_out=auditor.before,
        other=elsewhere,
        other_data=other,
        checks=checks,
        samples=auditor.samples,
    )


def asked(task: PretextTask) -> tuple[list[str], dict[str, str]]:
    """The names of the checks a task gets, and those that would not be fair to it, with the reasons.

    Raises ConfigError for a name that is no check.
    """
    known = [*CONTROLS, *REENCODINGS, PADDING]
    for name in (*task.controls, *task.exempt_controls):
        if name not in known:
            raise ConfigError(f"{type(task).__name__} names the control {name!r}; there are: {', '.join(known)}")
    general = [
        name for name in known if name == PADDING or (CONTROLS | REENCODINGS)[name].general or name in task.controls
    ]
    return [name for name in general if name not in task.exempt_controls], dict(task.exempt_controls)


def choose(task: PretextTask, videos: Sequence[VideoRecord], count: int, where: str) -> list[VideoRecord]:
    """Up to `count` videos that suit the task, drawn at random but the same every time. Raises DataError where there are too few."""
    kept, reasons = usable(task, videos)
    if len(kept) < FEWEST:
        why = "; ".join(f"{number} {reason}" for reason, number in reasons.items())
        raise DataError(
            f"{where}: {len(kept)} videos that {type(task).__name__} can use, and an audit needs {FEWEST}"
            f"{': ' + why if why else ''}; name others with --data"
        )
    return [kept[number] for number in sorted(np.random.default_rng(0).permutation(len(kept))[:count])]


def alpha_of(names: Sequence[str]) -> float:
    """Probability of error of one comparison with chance, such that all together (sides count too) have 1 - LEVEL."""
    return (1 - LEVEL) / sum(1 + len(CONTROLS[name].sides) if name in CONTROLS else 1 for name in names)
