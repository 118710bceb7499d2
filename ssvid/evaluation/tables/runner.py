"""Computing the cells of a table: those that are missing, here or where the engine runs, each stored as soon as it arrives."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np

from ssvid.engine import executor, local_processes
from ssvid.errors import DataError, Interrupted, VideoError
from ssvid.evaluation import adapter
from ssvid.evaluation.adapter import Candidate, EvalContext, Score
from ssvid.evaluation.finetuning import Recipe
from ssvid.evaluation.sequences import SequenceSet
from ssvid.evaluation.splits import Labelled
from ssvid.evaluation.supervised import supervised
from ssvid.evaluation.tables.captions import duration
from ssvid.evaluation.tables.cells import CellFile
from ssvid.evaluation.tables.jobs import Job
from ssvid.evaluation.tables.table import Kind
from ssvid.evaluation.tables.table import score as score_text
from ssvid.progress import Log, Progress

Cell = dict[str, Any]  # the JSON of a computed job
Gaps = dict[tuple[str, str], DataError]  # (data set's name, protocol) -> why there are no cells of the two


@dataclass(frozen=True)
class JobRunner:
    """How jobs are computed. workers: decoding processes of each. about: the command and the machine, noted in every cell."""

    workers: int
    device: str
    about: Mapping[str, Any]

    def context(self, job: Job, progress: Progress | None = None) -> EvalContext:
        """What a job is evaluated on, and how."""
        data = job.data
        return EvalContext(
            videos=data.videos,
            folds=data.folds,
            view=job.view,
            seed=job.entry.seed,
            device=self.device,
            workers=self.workers,
            options=job.options,
            progress=progress,
            flip=data.flip,
            sequences=data.sequences if isinstance(data, SequenceSet) else (),
        )

    def compute(self, job: Job, progress: Progress | None = None) -> Cell | DataError:
        """The cell of a job, or the reason why the data set does not have what the protocol needs.

        Raises all else that the protocol raises, as VideoError for a file that cannot be read.
        """
        data, entry, context = job.data, job.entry, self.context(job, progress)
        began = time.perf_counter()
        try:
            scores = list(adapter.run(job.protocol.name, candidate_of(job, context), context))
        except DataError as error:
            if isinstance(error, VideoError):
                raise
            return error
        return {
            **entry.facts(),
            "protocol": job.protocol.name,
            "options": job.protocol.settings(job.options),
            "training_with_labels": dict(job.recipe),
            "view": asdict(job.view),
            "seed": entry.seed,
            "data": data.facts(),
            "seconds": round(time.perf_counter() - began, 2),
            **self.about,
            "classes": data.classes,
            "scores": [_score_json(score, data) for score in scores],
        }


def candidate_of(job: Job, context: EvalContext) -> Candidate:
    """What a job's protocol evaluates: with a recipe, a backbone trained by it with the labels of each fold's training videos."""
    candidate = Candidate(job.row.name, job.entry.make, job.row.kind in (Kind.PRETRAINED, Kind.WEIGHTS))
    return supervised(candidate, context, Recipe(**job.recipe)) if job.recipe else candidate


def compute_missing(
    jobs: Sequence[Job], runner: JobRunner, file: CellFile, engine: str, progress: Progress | None, log: Log
) -> tuple[list[tuple[Job, Cell]], Gaps]:
    """The cells of all jobs, in the order of the jobs; those that the file holds are not computed again. And why some have none.

    file: keeps them; this process alone writes it. engine: where they are computed, see `ssvid.engine`. log: gets a line for every job
    that is computed, with its scores and the time left.
    Raises DataError where no job has a cell, Interrupted after Ctrl-C; the cells that are done are kept.
    """
    stored = file.read()
    found = {position: stored[job.key] for position, job in enumerate(jobs) if job.key in stored}
    if found:
        log(f"{len(found)} of {len(jobs)} cells are there already in {file.path}")
    missing = [position for position in range(len(jobs)) if position not in found]
    gaps: Gaps = {}
    began = time.perf_counter()
    try:
        results = run_jobs([jobs[position] for position in missing], runner, engine, progress)
        for done, (place, result) in enumerate(results, 1):
            job = jobs[missing[place]]
            if isinstance(result, DataError):
                known = (job.data.name, job.protocol.name) in gaps
                gaps.setdefault((job.data.name, job.protocol.name), result)
                outcome = f"{job.label}: {'left out, as above' if known else result}"
            else:
                file.add(job.key, result)
                found[missing[place]] = result
                outcome = f"{job.label}: {_scores_text(result)}; {duration(result['seconds'])}"
            left = (time.perf_counter() - began) / done * (len(missing) - done)
            log(f"[{len(jobs) - len(missing) + done}/{len(jobs)}] {outcome}; about {duration(left)} left")
    except KeyboardInterrupt as error:
        raise Interrupted(f"stopped after {len(found)} of {len(jobs)} cells; the same command goes on") from error
    if not found:
        raise next(iter(gaps.values()))
    return [(job, found[position]) for position, job in enumerate(jobs) if position in found], gaps


def run_jobs(
    jobs: Sequence[Job], runner: JobRunner, engine: str = "local:1", progress: Progress | None = None
) -> Iterator[tuple[int, Cell | DataError]]:
    """Compute jobs and yield the place of each with what `JobRunner.compute` gave: in this process for the engine local:1, else as its
    tasks. Neighbours of the same weights and data are one task, since they share the features.
    """
    if local_processes(engine) == 1:
        for place, job in enumerate(jobs):
            yield place, runner.compute(job, progress)
        return
    alike = groupby(range(len(jobs)), lambda place: (jobs[place].entry.weights, jobs[place].data.name))
    units = [list(places) for _, places in alike]
    with executor(engine) as pool:
        waiting = {pool.submit(_unit, runner, [jobs[place] for place in unit]): unit for unit in units}
        for done in as_completed(waiting):
            yield from zip(waiting[done], done.result(), strict=True)


def confusion_counts(scores: Sequence[Mapping[str, Any]], classes: int) -> np.ndarray:
    """Number (K,K) of the videos of class i that were predicted as class j, summed over scores as cells hold them."""
    counts = np.zeros((classes, classes), int)
    for score in scores:
        np.add.at(counts, (score["truth"], score["predicted"]), 1)
    return counts


def _score_json(score: Score, data: Labelled) -> dict[str, Any]:
    """A score as JSON: truth and predicted are positions in the data set's classes, one a tested video, in the order of the index."""
    made: dict[str, Any] = {"name": score.name, "value": round(score.value, 4), "chance": score.chance}
    if score.predicted:
        codes = {label: code for code, label in enumerate(data.classes)}
        tested = [video for video in data.videos if video.id in score.predicted]
        made["truth"] = [codes[str(video.label)] for video in tested]
        made["predicted"] = [codes[score.predicted[video.id]] for video in tested]
        counts = confusion_counts([made], len(codes))
        right = 100 * counts.diagonal() / np.maximum(counts.sum(1), 1)
        made["per_class"] = {label: round(float(right[code]), 2) for label, code in codes.items() if counts[code].sum()}
    return made


def _unit(runner: JobRunner, jobs: Sequence[Job]) -> list[Cell | DataError]:
    return [runner.compute(job) for job in jobs]


def _scores_text(cell: Cell) -> str:
    return ", ".join(f"{one['name']} {score_text([one['value']], one['name'])}" for one in cell["scores"])
