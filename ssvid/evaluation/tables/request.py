"""What a table is asked for: the one value that the commands build and that all functions of tables take."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssvid.files import cache_folder


@dataclass(frozen=True)
class TableRequest:
    """A table of models by protocols on data sets.

    models: run folders, names of backbones, or NAME@WEIGHTS. Runs of the same task and backbone make one row over their seeds; every
    backbone that occurs gets the rows *random init* and *supervised*. data: as `read_layout` takes them, or indexes. protocols: names;
    empty for those that the table takes by default. options: of protocols, as PROTOCOL.NAME=VALUE. view: those fields of `View` that
    shall differ from what the first run was trained on; None stands for a field that is not given. seeds: inits of the rows without a
    run, draws of those with one run. supervised: False leaves the rows *supervised* out, which take the longest. published: a file of
    scores for rows that are marked as not measured here. out: where the table is written; its
    cells are kept in OUT.cells.jsonl, without it in the cache. save_heads: a folder for the classifiers that the protocols train, or the
    file of the only one. engine: where the cells are computed, see `ssvid.engine`. workers: decoding processes of each task. device: as
    `resolve_device` takes it. command: what the user typed, kept with the results.
    """

    models: Sequence[str]
    data: Sequence[str]
    protocols: Sequence[str] = ()
    options: Sequence[str] = ()
    view: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 3
    supervised: bool = True
    published: str | os.PathLike[str] | None = None
    out: str | os.PathLike[str] | None = None
    save_heads: str | os.PathLike[str] | None = None
    engine: str = "local:1"
    workers: int = 1
    device: str = "auto"
    command: str = ""

    @property
    def cells(self) -> Path:
        """The file of the table's cells."""
        if self.out is None:
            return cache_folder() / "cells" / "tables.cells.jsonl"
        return Path(self.out).with_name(Path(self.out).name + ".cells.jsonl")

    @property
    def view_changes(self) -> dict[str, Any]:
        """The fields of `View` that are given."""
        return {name: value for name, value in self.view.items() if value is not None}
