"""`ssvid audit`: does a trained task see time, or a shortcut?

A task gets every general check, except the controls it may legitimately solve (`exempt_controls`), and the checks it declares itself
(`controls`). The probability that any verdict about a task without shortcuts is wrong is at most 1 - LEVEL, however many checks it gets.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ssvid.audit.auditor import MIN_VIDEOS, PADDING, SKIPPED, Accuracy, Auditor, Check, description
from ssvid.audit.controls import CONTROLS
from ssvid.audit.reencodings import REENCODINGS
from ssvid.compute import resolve_device
from ssvid.data.overlays import Overlay, find_overlay
from ssvid.data.scanning import open_data
from ssvid.data.splits import held_out
from ssvid.data.video_record import VideoRecord
from ssvid.errors import ConfigError, DataError, SsvidError
from ssvid.progress import Progress, silent
from ssvid.training.diagnosis import diagnose
from ssvid.training.run import Run
from ssvid.training.run_facts import measure
from ssvid.training.task import CaptionedFrames, PretextTask, usable
from ssvid.training.validate import trained_task
from ssvid.training.videos import training_videos

LEVEL = 0.99  # confidence of all verdicts on a run together


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    data: where the held-out videos came from. held_out, other: accuracy on the held-out and on the other videos. samples: frames of the
    videos of every check, with captions. diagnosis: where the run stays at chance or ends, and what to try, as sentences.
    """

    run: str
    task: str
    backbone: str
    step: int
    data: list[str]
    held_out: Accuracy
    other: Accuracy | None
    other_data: str | None
    checks: list[Check]
    diagnosis: list[str]
    samples: list[CaptionedFrames] = field(repr=False)

    @property
    def shortcuts(self) -> list[str]:
        """Names of the checks that found a shortcut."""
        return [check.name for check in self.checks if check.is_shortcut]


def audit(
    run: Run | str | os.PathLike[str],
    data: Sequence[str] | None = None,
    other: str | None = None,
    *,
    videos: int = 128,
    workers: int = 0,
    device: str = "auto",
    progress: Progress = silent,
) -> Audit:
    """Audit the trained task of a run.

    run: a run or the path of its folder.
    data: held-out videos; by default the data the run was trained on. Of both what `ssvid.data.splits` holds out, or all.
    other: videos of another origin, on which accuracy is measured too.
    videos: number of videos of each control. workers: decoding processes. device: auto, cpu, cuda, cuda:1 or mps.
    Raises DataError for a run without checkpoint and where fewer than 8 videos can be used, ConfigError for a task that names an unknown
    control and for a device this machine does not have.
    """
    run = run if isinstance(run, Run) else Run(run)
    hardware = resolve_device(device)
    task = trained_task(run, hardware)
    names, exempt = select_checks(task)
    sources = list(data or run.config.data)
    asked = _held_out(task, sources, videos, "auto" if data else run.config.split)
    auditor = Auditor(
        task,
        run.masked(asked),
        videos,
        alpha=alpha_per_comparison(names),
        workers=workers,
        device=hardware,
        overlay=_overlay(asked),
        progress=progress,
    )
    checks = list(_run_checks(auditor, names, progress))
    return Audit(
        run=str(run.path),
        task=run.config.task,
        backbone=run.config.backbone,
        step=int((run.checkpoint() or {}).get("step", 0)),
        data=sources,
        held_out=auditor.held_out_accuracy,
        other=None if other is None else auditor.accuracy(run.masked(_held_out(task, [other], videos))),
        other_data=other,
        diagnosis=_diagnosis(run, task, auditor, checks, workers),
        checks=checks + [Check(name, description(name), SKIPPED, reason) for name, reason in exempt.items()],
        samples=auditor.samples,
    )


def select_checks(task: PretextTask | type[PretextTask]) -> tuple[list[str], dict[str, str]]:
    """Names of the checks a task gets, and the controls it may legitimately solve, each with the reason.

    Raises ConfigError where the task names a check that does not exist.
    """
    known = [*CONTROLS, *REENCODINGS, PADDING]
    for name in (*task.controls, *task.exempt_controls):
        if name not in known:
            raise ConfigError(
                f"{(task if isinstance(task, type) else type(task)).__name__} names the control {name!r}; there are: {', '.join(known)}"
            )
    general = [
        name for name in known if name == PADDING or (CONTROLS | REENCODINGS)[name].general or name in task.controls
    ]
    return [name for name in general if name not in task.exempt_controls], dict(task.exempt_controls)


def select_videos(task: PretextTask, videos: Sequence[VideoRecord], count: int, where: str) -> list[VideoRecord]:
    """Up to `count` videos that the task can use, drawn at random, the same ones on every call.

    where: where the videos come from, for the error. Raises DataError where the task can use fewer than 8.
    """
    kept, reasons = usable(task, videos)
    if len(kept) < MIN_VIDEOS:
        why = "; ".join(f"{number} {reason}" for reason, number in reasons.items())
        raise DataError(
            f"{where}: {len(kept)} videos that {type(task).__name__} can use, and an audit needs {MIN_VIDEOS}"
            f"{': ' + why if why else ''}; name others with --data"
        )
    return [kept[number] for number in sorted(np.random.default_rng(0).permutation(len(kept))[:count])]


def alpha_per_comparison(names: Sequence[str]) -> float:
    """Probability of error of one comparison with chance, so that all comparisons of these checks together err with at most 1 - LEVEL.

    Each direction of a control is one more comparison.
    """
    return (1 - LEVEL) / sum(1 + len(CONTROLS[name].sides) if name in CONTROLS else 1 for name in names)


def _held_out(task: PretextTask, sources: Sequence[str], count: int, trained: str = "auto") -> list[VideoRecord]:
    """Up to `count` usable videos that are held out, or of all videos where there is no split. trained: the split that was trained on."""
    where = ", ".join(sources)
    try:
        videos = held_out(open_data(list(sources)).videos(), trained)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    return select_videos(task, videos, count, where)


def _run_checks(auditor: Auditor, names: Sequence[str], progress: Progress) -> Iterator[Check]:
    for number, name in enumerate(names):
        progress("auditing", number, len(names))
        yield auditor.check(name)
    progress("auditing", len(names), len(names))


def _diagnosis(run: Run, task: PretextTask, auditor: Auditor, checks: Sequence[Check], workers: int) -> list[str]:
    """Where the run stays at chance or ends, from its log, its training videos as far as they are still there, and the checks."""
    try:
        videos, _ = training_videos(task, open_data(run.config.data), run.config.split)
    except SsvidError:
        videos = []
    held_out = auditor.held_out_accuracy
    facts = measure(
        run,
        task,
        run.masked(videos),
        (held_out.accuracy, held_out.n),
        workers=workers,
        shortcuts=[check.name for check in checks if check.is_shortcut],
        padding=next((check.reason for check in checks if check.name == PADDING), ""),
    )
    return diagnose(facts) if facts else []


def _overlay(held_out: Sequence[VideoRecord]) -> Overlay | None:
    """What all held-out videos have burned in; None too where they are too few to tell."""
    try:
        return find_overlay(held_out)
    except DataError:
        return None
