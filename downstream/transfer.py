"""The transfer accuracy table: what frozen features of pretrained backbones are worth beside random weights of the same net."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from downstream import probe
from ssvid.data.index import Index, VideoRecord
from ssvid.data.scanning import open_data
from ssvid.errors import ConfigError
from ssvid.evaluation.features import View, extract
from ssvid.evaluation.report import Row, Table
from ssvid.training.run import Run, environment
from ssvid.zoo import create_model, list_models
from ssvid.zoo.backbone import Backbone

SMALL = 1000  # videos under which a table says that it rests on few

Progress = Callable[[str, int, int], None]


def transfer(
    models: Sequence[str],
    data: str,
    *,
    view: Mapping[str, int | None] | None = None,
    seeds: int = 3,
    workers: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Table:
    """Probe runs and models on a labelled data set.

    models: run folders, or names of backbones (random weights only). Runs of the same task and backbone make one row, their spread
    included; every backbone that occurs gets a row *random init* with `seeds` draws of its weights.
    data: as `read_layout` takes it, or an index. view: fields of `View` (clips, frames, stride, size) that shall differ from what the
    first run was trained on.
    Raises ConfigError for a name that is neither a run nor a backbone, DataError for data that cannot be probed.
    """
    index = open_data([data], progress)
    videos = [video for video in index.videos() if video.label is not None]
    named = [_open(model) for model in models]
    changes: dict[str, Any] = {name: value for name, value in (view or {}).items() if value is not None}
    seen = replace(_trained_view(named), **changes)
    table = Table(
        title=f"Transfer to {Path(data.rpartition(':')[2]).name}",
        protocol=f"Frozen backbone, video level, {probe.protocol(videos)}; {seen.clips} clips x {seen.frames} frames, "
        f"stride {seen.stride}, {seen.size} px centre crop; linear: standardised logistic regression, C chosen on the training videos; "
        f"knn: {probe.NEIGHBOURS} cosine neighbours. Accuracy in percent.",
        chance=dict.fromkeys(("linear", "knn"), probe.chance(videos)),
        notes=_notes(index, videos),
        made_with=environment(),
    )
    rows: dict[tuple[str, str], Row] = {}
    for task, name, steps, backbone in _with_random(named, seeds):
        facts = {"backbone": name, "steps": steps}
        row = rows.setdefault((task, name), Row(task, facts))
        told = (lambda done, total, what=f"{task} {name}": progress(what, done, total)) if progress else None
        features = extract(backbone, videos, seen, workers=workers, device=device, progress=told)
        for metric, value in probe.run(features, videos):
            row.scores.setdefault(metric, []).append(value)
    table.rows = list(rows.values())
    return table


def _notes(index: Index, videos: Sequence[VideoRecord]) -> list[str]:
    """What a reader must know before believing the numbers."""
    notes = [f"{len(index.bad())} bad files left out."] if index.bad() else []
    if any((Path(video.path).parents[2] / "world.json").exists() for video in videos[:1]):
        notes.append("Synthetic data: the motion world of ssvid make-world.")
    if len(videos) < SMALL:
        notes.append(f"Small data, {len(videos)} videos: differences of a few points mean nothing.")
    return notes


def _open(model: str) -> Run | str:
    if (Path(model) / "config.yaml").exists():
        return Run(model)
    if model in list_models():
        return model
    raise ConfigError(f"{model} is neither a run folder nor a backbone; see: ssvid list models")


def _trained_view(named: Sequence[Run | str]) -> View:
    """The view nearest to what the first run saw in training; the default for a bare backbone."""
    for model in named:
        if isinstance(model, Run):
            options = model.card["options"]
            size = options.get("size", View.size)
            return View(
                frames=options.get("frames", View.frames),
                size=size if isinstance(size, int) else max(size),
                stride=options.get("stride", 1),
                fps=options.get("fps"),
            )
    return View()


def _with_random(named: Sequence[Run | str], seeds: int) -> Iterator[tuple[str, str, str, Backbone]]:
    """(row name, backbone, steps, network): random weights of every backbone first, then the runs."""
    kinds: dict[str, tuple[str, dict]] = {}
    for model in named:
        name, options = (
            (model, {}) if isinstance(model, str) else (model.card["backbone"], model.card["backbone_options"])
        )
        kinds.setdefault(f"{name} {sorted(options.items())}", (name, options))
    for name, options in kinds.values():
        for seed in range(seeds):
            torch.manual_seed(seed)
            yield "random init", name, "0", create_model(name, **options)
    for model in named:
        if isinstance(model, Run):
            card = model.card
            yield card["task"], card["backbone"], str(card["steps"]), model.load()
