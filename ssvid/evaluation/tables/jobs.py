"""The cells behind a table: one set of weights, one data set, one protocol, one seed, kept as one JSON file each.

A cell's name is made of all that decides its scores, so a table that is called again computes only what is missing, one that was
interrupted goes on, and a changed weight, video, option or version is never served an old number.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from ssvid.compute import process_pool
from ssvid.environment import package_version
from ssvid.errors import ConfigError, DataError, SsvidError, VideoError
from ssvid.evaluation import adapter
from ssvid.evaluation.adapter import Candidate, EvalContext, Protocol, Score
from ssvid.evaluation.features import View
from ssvid.evaluation.splits import Labelled
from ssvid.evaluation.tables.entries import ModelEntry, TableRow
from ssvid.files import read_json, write_text
from ssvid.progress import Progress


@dataclass(frozen=True)
class Job:
    """What is to be computed: an entry of a row by a protocol on a data set, with the changed options of the protocol.

    training: how the weights were trained with the labels of the data set before, empty where they were not.
    """

    group: TableRow
    entry: ModelEntry
    data: Labelled
    protocol: Protocol
    options: Mapping[str, Any]
    view: View
    training: Mapping[str, Any]

    @property
    def label(self) -> str:
        """For a line of progress."""
        row = dict.fromkeys((self.group.name, self.group.backbone))  # one word where a network is its own row
        return f"{' '.join(row)} s{self.entry.seed}, {self.data.name}, {self.protocol.name}"

    @cached_property
    def key(self) -> str:
        """The file's name: readable, and unique for the weights, videos, protocol, options, view, seed and version."""
        recipe = (
            *(self.entry.row, self.entry.weights, self.entry.seed, self.data.fingerprint),
            *(self.protocol.name, self.protocol.settings(self.options), dict(self.training), asdict(self.view)),
            package_version("ssvid"),
        )
        digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:10]
        words = (self.entry.row, self.entry.backbone, self.data.name, self.protocol.name, f"s{self.entry.seed}")
        return "-".join([*(re.sub(r"[^A-Za-z0-9_+]+", "_", Path(word).name) for word in words), digest])


@dataclass(frozen=True)
class JobRunner:
    """How the cells of a table are computed, and the folder they are kept in.

    candidate: what a cell evaluates. about: the command and the machine, noted in every cell.
    """

    folder: Path
    candidate: Callable[[Job, EvalContext], Candidate]
    workers: int
    device: str
    about: Mapping[str, Any]

    def found(self, cell: Job) -> dict[str, Any] | None:
        """The cell's JSON, if it has been computed."""
        path = self.folder / f"{cell.key}.json"
        return read_json(path) if path.exists() else None

    def compute(self, cell: Job, progress: Progress | None = None) -> dict[str, Any] | DataError:
        """Compute a cell and write its JSON; or the reason why the data set does not have what the protocol needs.

        Raises all else that the protocol raises, as VideoError for a file that cannot be read.
        """
        data, entry = cell.data, cell.entry
        context = EvalContext(
            videos=data.videos,
            folds=data.folds,
            view=cell.view,
            seed=entry.seed,
            device=self.device,
            workers=self.workers,
            options=cell.options,
            progress=progress,
            flip=data.flip,
        )
        began = time.perf_counter()
        try:
            scores = list(adapter.run(cell.protocol.name, self.candidate(cell, context), context))
        except DataError as error:
            if isinstance(error, VideoError):
                raise
            return error
        made = {
            **entry.facts(),
            "protocol": cell.protocol.name,
            "options": cell.protocol.settings(cell.options),
            "training_with_labels": dict(cell.training),
            "view": asdict(cell.view),
            "seed": entry.seed,
            "data": data.facts(),
            "seconds": round(time.perf_counter() - began, 2),
            **self.about,
            "classes": data.classes,
            "scores": [_score(score, data) for score in scores],
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / f"{cell.key}.json", _json(made))
        return made


def compute_all(
    cells: Sequence[Job], work: JobRunner, jobs: int = 1, progress: Progress | None = None
) -> Iterator[tuple[int, dict[str, Any] | DataError]]:
    """Compute cells and yield the place of each with what `JobRunner.compute` gave: in this process, or in `jobs` processes of one thread.

    Neighbours of the same weights and data stay in one process, since they share the features.
    """
    if jobs == 1:
        for place, cell in enumerate(cells):
            yield place, work.compute(cell, progress)
        return
    alike = groupby(range(len(cells)), lambda place: (cells[place].entry.weights, cells[place].data.name))
    units = [list(places) for _, places in alike]
    with process_pool(jobs) as pool:
        waiting = {pool.submit(_unit, work, [cells[place] for place in unit]): unit for unit in units}
        try:
            for done in as_completed(waiting):
                yield from zip(waiting[done], done.result(), strict=True)
        except BrokenProcessPool as error:
            raise SsvidError(
                "a process ended before its time, as it does where memory runs out; the same command goes on, with fewer --jobs"
            ) from error


def _unit(work: JobRunner, cells: Sequence[Job]) -> list[dict[str, Any] | DataError]:
    return [work.compute(cell) for cell in cells]


def parse_options(words: Sequence[str], known: Mapping[str, Protocol]) -> dict[str, dict[str, Any]]:
    """Options by protocol, from words PROTOCOL.NAME=VALUE; values are read as YAML.

    Raises ConfigError for a word of another form, a protocol that is not asked for, an unknown option or a value of the wrong type.
    """
    chosen: dict[str, dict[str, Any]] = {name: {} for name in known}
    for word in words:
        found = re.fullmatch(r"(\w+)\.(\w+)=(.+)", word)
        if not found:
            raise ConfigError(f"expected PROTOCOL.OPTION=VALUE, got {word!r}; for example finetune.epochs=5")
        name, option, text = found.groups()
        if name not in known:
            raise ConfigError(f"{word}: the protocol {name} is not part of the table; there are: {', '.join(known)}")
        chosen[name][option] = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]  # type: ignore[call-overload,index]
    for name, options in chosen.items():
        known[name].settings(options)
    return chosen


def confusion_counts(scores: Sequence[Mapping[str, Any]], classes: int) -> np.ndarray:
    """Videos of class i that were told as class j, (K,K), summed over scores as cells hold them."""
    counts = np.zeros((classes, classes), int)
    for score in scores:
        np.add.at(counts, (score["truth"], score["predicted"]), 1)
    return counts


def _score(score: Score, data: Labelled) -> dict[str, Any]:
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


def _json(value: Any) -> str:
    """JSON for people: indented, with lists of numbers on one line."""
    text = json.dumps(value, indent=1)
    return re.sub(r"\[\s+([-\d.,\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"
