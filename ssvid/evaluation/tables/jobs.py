"""One job of a table: one set of weights on one data set by one protocol. What it gives is a cell, stored under the job's key."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ssvid.environment import package_version
from ssvid.errors import ConfigError
from ssvid.evaluation.adapter import Protocol
from ssvid.evaluation.features import View
from ssvid.evaluation.splits import Labelled
from ssvid.evaluation.tables.entries import ModelEntry, TableRow


@dataclass(frozen=True)
class Job:
    """What is to be computed: an entry of a row by a protocol on a data set.

    options: those of the protocol that the user changed. recipe: how the weights are trained first with the labels of the data set, all
    options of the protocol that does it; empty where they are not.
    """

    row: TableRow
    entry: ModelEntry
    data: Labelled
    protocol: Protocol
    options: Mapping[str, Any]
    view: View
    recipe: Mapping[str, Any]

    @property
    def label(self) -> str:
        """For a line of progress."""
        row = dict.fromkeys((self.row.name, self.row.backbone))  # one word where a network is its own row
        return f"{' '.join(row)} s{self.entry.seed}, {self.data.name}, {self.protocol.name}"

    @cached_property
    def key(self) -> str:
        """The name of the job's cell: readable, and unique for the weights, videos, protocol, options, view, seed and version.

        So a table that is made again computes only what is missing, and a changed weight, video, option or version never gets an old
        number.
        """
        deciding = (
            *(self.entry.row, self.entry.weights, self.entry.seed, self.data.fingerprint),
            *(self.protocol.name, self.protocol.settings(self.options), dict(self.recipe), asdict(self.view)),
            package_version("ssvid"),
        )
        digest = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:10]
        words = (self.entry.row, self.entry.backbone, self.data.name, self.protocol.name, f"s{self.entry.seed}")
        return "-".join([*(re.sub(r"[^A-Za-z0-9_+]+", "_", Path(word).name) for word in words), digest])


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
