"""Keeping the classifiers that a table's protocols train, for use on other videos: of each row those of the first seed and fold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from ssvid.errors import ConfigError
from ssvid.evaluation.adapter import train_head
from ssvid.evaluation.tables.jobs import Job
from ssvid.evaluation.tables.runner import JobRunner, candidate_of
from ssvid.evaluation.tables.table import Kind
from ssvid.progress import Log, Progress

SUFFIX = ".safetensors"


def head_files(jobs: Sequence[Job], out: Path) -> dict[Path, Job]:
    """The file of each classifier that the jobs train: `out` itself, or files in the folder `out`.

    Rows without a pretrained model have none. Raises ConfigError where no protocol gives one, and for a file where there are several.
    """
    chosen: dict[str, Job] = {}
    for job in jobs:
        if job.protocol.head and job.row.kind in (Kind.PRETRAINED, Kind.WEIGHTS, Kind.FIXED):
            words = dict.fromkeys((job.row.name, job.row.backbone, job.data.name, job.protocol.name))
            chosen.setdefault("-".join(re.sub(r"[^A-Za-z0-9_+@]+", "_", Path(word).name) for word in words), job)
    if not chosen:
        raise ConfigError(
            "no head to save: name a run or NAME@WEIGHTS, and a protocol that trains a head that can be kept, as --protocol linear"
        )
    if out.suffix != SUFFIX:
        return {out / f"{name}{SUFFIX}": job for name, job in chosen.items()}
    if len(chosen) > 1:
        raise ConfigError(
            f"{out} is one file and the table trains {len(chosen)} heads ({', '.join(chosen)}); name a folder"
        )
    return dict.fromkeys([out], next(iter(chosen.values())))


def save_heads(
    files: dict[Path, Job], runner: JobRunner, progress: Progress | None = None, log: Log | None = None
) -> None:
    """Train the classifier of every job and write its file; those of frozen features come from the cache where the table has made them."""
    for path, job in files.items():
        context = runner.context(job, progress)
        head = train_head(job.protocol.name, candidate_of(job, context), context)
        model = job.entry.run or "@".join(filter(None, (job.entry.backbone, job.entry.source)))
        about = {
            "model": model,
            "weights": job.entry.weights,
            "protocol": job.protocol.name,
            "options": job.protocol.settings(job.options),
            "view": asdict(job.view),
            "data": job.data.name,
            "seed": job.entry.seed,
        }
        replace(head, about=about).save(path)
        if log:
            log(f"{path}: {job.protocol.name} on {model}, {len(head.classes)} classes")
