"""The models of a table: pretrained runs, bare networks, and the rows *random init* and *supervised* of every backbone that occurs.

*Random init* shows what the architecture gives without learning, *supervised* what the labelled videos alone teach it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ssvid.config import PretrainConfig
from ssvid.environment import package_version
from ssvid.errors import ConfigError, DataError, SsvidError
from ssvid.evaluation.features import View
from ssvid.evaluation.tables.table import Kind
from ssvid.files import read_json
from ssvid.training.models import find_model, open_model
from ssvid.training.run import Run, card_view
from ssvid.zoo import create_model, model_info, model_source
from ssvid.zoo.backbone import Backbone
from ssvid.zoo.cards import card_of
from ssvid.zoo.names import ModelName
from ssvid.zoo.weights import locate_weights

NAMES = {Kind.RANDOM: "random init", Kind.SUPERVISED: "supervised"}  # of the rows that a backbone without a run gets
NOT_SETTINGS = ("seed", "ssvid", "diagnosis")  # in which the cards of runs of one row may differ
CARD = ("task", "backbone", "backbone_options", "options", "steps", "seed")  # what a table needs of a run's card


@dataclass(frozen=True)
class ModelEntry:
    """One set of weights in one row of the table.

    row: the row's name. run: the folder of a pretrained one, "" for others. seed: of the weights and of what the protocols draw.
    source: where the weights of a row NAME@WEIGHTS come from, "" for others.
    """

    row: str
    backbone: str
    backbone_options: dict[str, Any]
    seed: int
    run: str = ""
    source: str = ""

    def make(self) -> Backbone:
        """A fresh copy of the network with its weights."""
        if self.run:
            return open_run(self.run).load()
        if self.source:
            return open_model(f"{self.backbone}@{self.source}", self.seed).backbone
        torch.manual_seed(self.seed)
        return create_model(self.backbone, **self.backbone_options)

    @property
    def weights(self) -> str:
        """Twelve hex digits that change with the weights, of the file of a run or of the recipe of random ones, and with a user's code."""
        recipe: list[Any] = [self.backbone, sorted(self.backbone_options.items())]
        if code := model_source(self.backbone):
            recipe.append(code)
        if self.run:
            file = Path(self.run) / "backbone.safetensors"
            recipe.append(_digest(file, file.stat().st_mtime_ns))
        elif self.source:
            file = locate_weights(self.backbone, self.source)
            recipe += [
                self.seed,
                _digest(file, file.stat().st_mtime_ns),
            ]  # the seed decides what the file does not hold
        else:
            recipe += [self.seed, package_version("torch")]
        return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]

    def facts(self) -> dict[str, Any]:
        """What a cell's JSON says of the entry: with the settings of its run, where it has one."""
        made: dict[str, Any] = {
            "row": self.row,
            "backbone": self.backbone,
            "backbone_options": self.backbone_options,
            "weights": self.weights,
        }
        if self.run:
            run = open_run(self.run)
            made |= {"run": self.run, "config": _without_folders(run.config), "card": run.card}
        return made


@dataclass
class TableRow:
    """One row of the table: its sets of weights and where they come from.

    facts: of a pretrained row, the card of its first run with the training time and the hardware of all of them.
    """

    name: str
    kind: Kind
    backbone: str
    entries: list[ModelEntry]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def alone(self) -> bool:
        """Whether its values are of one training."""
        return self.kind is Kind.WEIGHTS or (
            self.kind is Kind.PRETRAINED and len({entry.run for entry in self.entries}) == 1
        )

    @property
    def seeds(self) -> str:
        """What its values were taken over, in words."""
        number = len(self.entries)
        if self.kind is Kind.WEIGHTS:
            return f"1 set, {count(number, 'draw')}"
        if self.kind is Kind.PRETRAINED:
            return f"1 run, {count(number, 'draw')}" if self.alone else f"{number} runs"
        return count(number, "draw" if self.kind is Kind.FIXED else "init")


def model_rows(models: Sequence[str], seeds: int) -> list[TableRow]:
    """The rows, backbone by backbone: random init, supervised, then the runs that began there; a network without weights is one row.

    models: run folders, names of backbones, or NAME@WEIGHTS. Runs of one task and backbone with the same settings are one row, each run
    once with its own seed; a run and its copies are one run. A row of one set of weights is taken with `seeds` seeds of the protocols;
    *random init* and *supervised* with as many inits.
    Raises ConfigError for a name that is neither a run nor a backbone, DataError for a run that cannot be read.
    """
    models = list(dict.fromkeys(models))
    found = [find_model(model) for model in models]
    runs = _different([open_run(model.path) for model in found if isinstance(model, Run)])
    names = [model for model in found if isinstance(model, ModelName)]
    for run in runs:
        run.load()  # weights that cannot be read end the table before hours of work, and do not leave a row empty
    for name in names:
        if name.weights:
            open_model(str(name))
    wanted = [(name.architecture, dict(model_info(str(name)).options)) for name in names]
    wanted += [(run.card["backbone"], run.card["backbone_options"]) for run in runs]
    backbones: dict[str, tuple[str, dict[str, Any]]] = {}
    for backbone, options in wanted:
        backbones.setdefault(backbone_label(backbone, options), (backbone, options))
    pretrained, rows = [*_weights_rows(names, seeds), *_pretrained_rows(runs, seeds)], []
    for shown, (backbone, options) in backbones.items():
        rows += _unpretrained_rows(shown, backbone, options, seeds)
        rows += [row for row in pretrained if row.backbone == shown]
    return rows


def _different(runs: Sequence[Run]) -> list[Run]:
    """The runs, each training once: a copy has the same card and the same weights, and would look like a second run without spread."""
    kept: dict[str, Run] = {}
    for run in runs:
        file = run.path / "backbone.safetensors"
        card = {
            name: value for name, value in run.card.items() if name != "backbone"
        }  # its file may have moved with the run
        kept.setdefault(json.dumps([card, _digest(file, file.stat().st_mtime_ns)], sort_keys=True), run)
    return list(kept.values())


def _weights_rows(names: Sequence[ModelName], seeds: int) -> list[TableRow]:
    """The rows NAME@WEIGHTS; a file is shown by its name."""
    rows = []
    for name in names:
        if name.weights:
            row, backbone = f"{name.architecture}@{Path(name.weights).name}", name.architecture
            options = dict(model_info(str(name)).options)
            entries = [ModelEntry(row, backbone, options, seed, source=name.weights) for seed in range(seeds)]
            facts = {**card_of(name), "source": name.weights}
            rows.append(TableRow(row, Kind.WEIGHTS, backbone_label(backbone, options), entries, facts))
    return rows


def _unpretrained_rows(shown: str, name: str, options: dict[str, Any], seeds: int) -> list[TableRow]:
    """The rows that a backbone has without any run. shown: its label."""
    kinds = NAMES if model_info(name, **options).learns else {Kind.FIXED: name}
    return [
        TableRow(row, kind, shown, [ModelEntry(row, name, options, seed) for seed in range(seeds)])
        for kind, row in kinds.items()
    ]


def open_run(path: str | Path) -> Run:
    """A run with all that a table needs of it. Raises DataError, with what to do, where this version cannot read it."""
    run = Run(path)
    made = run.exported_by
    try:
        run.config  # noqa: B018 reading it is the check
        card = run.card
        if missing := [name for name in CARD if name not in card]:
            raise ConfigError(f"its card lacks {', '.join(missing)}")
        model_info(card["backbone"], **card["backbone_options"])
    except (SsvidError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} was made by ssvid {made} and cannot be read by {package_version('ssvid')}: {error}. Install that version, "
            "or pretrain again"
        ) from error
    if not (run.path / "backbone.safetensors").is_file():
        raise DataError(f"{path} has no backbone.safetensors; finish it with: ssvid pretrain --resume {path}")
    return run


def trained_view(rows: Sequence[TableRow]) -> View:
    """How the card of the first run or of the first weights that have one says that a video should be shown; else the default."""
    for row in rows:
        if row.kind in (Kind.PRETRAINED, Kind.WEIGHTS) and (view := card_view(row.facts)):
            return View(**view)
    return View()


def check_view(rows: Sequence[TableRow], view: View) -> None:
    """Raise ConfigError, before anything is computed, where a network cannot take the view's clips."""
    for row in rows:
        first = row.entries[0]
        info = model_info(first.backbone, **first.backbone_options)
        if view.frames < info.min_frames or view.size < info.min_size:
            raise ConfigError(
                f"{row.backbone} needs clips of at least {info.min_frames} frames and {info.min_size} px, not {view.frames} and "
                f"{view.size}; give --frames and --size, or leave {row.name} out"
            )


def training_seconds(run: Run) -> float:
    """Training time of a run in seconds, from its log: videos over videos a second."""
    batch, last, total = run.config.batch, 0.0, 0.0
    for line in run.metrics():
        total += (line["step"] - last) * batch / line["clips_per_second"]
        last = line["step"]
    return round(total, 1)


def _without_folders(config: PretrainConfig) -> dict[str, Any]:
    """The settings of a run as a table that is handed on shows them: names of folders and files, and not where they lay."""
    return {**asdict(config), "out": Path(config.out).name, "data": [Path(source).name for source in config.data]}


def hardware(env: Mapping[str, Any]) -> str:
    """The machine of a run's env.json in words."""
    on = "" if env["device"] == "CPU" else f"{env['device']}, "
    return f"{on}{env['cores']} cores ({env['machine']}), {count(env['threads'], 'thread')}"


def backbone_label(name: str, options: Mapping[str, Any]) -> str:
    """A backbone with those options that are not the default ones."""
    usual = model_info(name).options
    changed = [f"{key}={value}" for key, value in sorted(options.items()) if usual.get(key) != value]
    return ", ".join([Path(name).name, *changed])


@cache
def _digest(file: Path, modified: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _pretrained_rows(runs: Sequence[Run], seeds: int) -> list[TableRow]:
    """One row for all runs with the same settings but the seed; a single run is evaluated with `seeds` seeds of the protocols."""
    rows: dict[str, TableRow] = {}
    for run in runs:
        card = run.card
        settings = {name: value for name, value in card.items() if name not in NOT_SETTINGS}
        name, shown = Path(card["task"]).stem, backbone_label(card["backbone"], card["backbone_options"])
        facts = {**card, "options": run.config.options}  # those that the user gave; the card holds the defaults too
        entry = ModelEntry(name, card["backbone"], card["backbone_options"], card["seed"], str(run.path))
        row = rows.setdefault(json.dumps(settings, sort_keys=True), TableRow(name, Kind.PRETRAINED, shown, [], facts))
        row.entries.append(entry)
        row.facts.setdefault("seconds", []).append(training_seconds(run))
        row.facts.setdefault("hardware", []).append(hardware(read_json(run.path / "env.json")))
    for row in rows.values():
        if len(row.entries) == 1:
            row.entries = [replace(row.entries[0], seed=seed) for seed in range(seeds)]
    return _with_distinct_names(list(rows.values()))


def _with_distinct_names(rows: Sequence[TableRow]) -> list[TableRow]:
    """The rows; those of one task and backbone with other settings get the name of their first run's folder too."""
    named = []
    for row in rows:
        alike = [other for other in rows if (other.name, other.backbone) == (row.name, row.backbone)]
        folder = Path(row.entries[0].run).name
        named.append(row if len(alike) == 1 else replace(row, name=f"{row.name} ({folder})"))
    return named


def count(number: int, thing: str) -> str:
    """A number with its thing: 1 clip, 2 clips."""
    return f"{number} {thing}{'s' * (number != 1)}"
