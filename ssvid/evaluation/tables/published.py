"""Published scores from a small file, for rows that stand beside the measured ones and are marked as not measured here."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from yaml import YAMLError

from ssvid.errors import ConfigError, DataError
from ssvid.evaluation.tables.table import Kind, Row


@dataclass(frozen=True)
class Anchor:
    """One published score. model: method and network. dataset, protocol: as the table's columns name them. value: percent, or the
    unit of the column. source: where the number stands, best an address. backbone, pretraining: further facts."""

    model: str
    dataset: str
    protocol: str
    value: float
    source: str
    backbone: str = ""
    pretraining: str = ""


def read_published(path: str | os.PathLike[str]) -> list[Anchor]:
    """The scores of a YAML list or a CSV with a header; fields as `Anchor` names them.

    Raises DataError for a missing file, ConfigError for an unknown or missing field, a value that is no number, an empty source.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            f"{path} does not exist; the published scores that come with ssvid are in configs/published.yaml"
        )
    try:
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                entries: Any = list(csv.DictReader(file))
        else:
            entries = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, YAMLError, UnicodeDecodeError, csv.Error) as error:  # OmegaConf raises OSError for a mere word
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(entries, list):
        raise ConfigError(f"{path} must be a list of scores with the fields {_names()}")
    return [_anchor(entry, f"{path}, entry {number}") for number, entry in enumerate(entries, 1)]


def published_rows(anchors: Iterable[Anchor], columns: Sequence[tuple[str, str, str]]) -> list[Row]:
    """Rows of the scores that fall into a column (column's name, data set, protocol); one row a model and source."""
    places = {(dataset, protocol): column for column, dataset, protocol in columns}
    rows: dict[tuple[str, str, str], Row] = {}
    for anchor in anchors:
        column = places.get((anchor.dataset, anchor.protocol))
        if column is None:
            continue
        stated = {"backbone": anchor.backbone, "pretraining": anchor.pretraining}
        facts = {name: fact for name, fact in stated.items() if fact}
        row = rows.setdefault(
            (anchor.model, anchor.backbone, anchor.source),
            Row(anchor.model, facts, kind=Kind.PUBLISHED, source=anchor.source),
        )
        row.scores[column] = [anchor.value]
    return list(rows.values())


def _anchor(entry: Any, where: str) -> Anchor:
    known = {field.name for field in fields(Anchor)}
    if not isinstance(entry, dict):
        raise ConfigError(f"{where} must have the fields {_names()}")
    given = {str(name): value for name, value in entry.items() if value not in (None, "")}
    missing = {"model", "dataset", "protocol", "value", "source"} - given.keys()
    if missing or given.keys() - known:
        wrong = (
            f"lacks {', '.join(sorted(missing))}"
            if missing
            else f"has unknown fields {', '.join(given.keys() - known)}"
        )
        raise ConfigError(f"{where} {wrong}; the fields are {_names()}")
    try:
        value = float(given.pop("value"))
    except ValueError as error:
        raise ConfigError(f"{where}: value must be a number") from error
    return Anchor(value=value, **{name: str(text) for name, text in given.items()})


def _names() -> str:
    return ", ".join(field.name for field in fields(Anchor))
