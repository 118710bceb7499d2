"""What a downstream adapter is given and what it gives back: the interface between the protocols and the table.

An adapter is one file in `downstream/` (or a module named in the entry-point group "ssvid.adapters") that holds two things:

    PROTOCOLS = {"name": {"summary": ..., "after": ..., "differs": ..., "trains": "head" | "all" | "nothing", "options": {...}}, ...}
    def run(protocol: str, candidate: Candidate, context: EvalContext) -> Iterator[Score]

`PROTOCOLS` is a plain literal, read from the source, so that listing imports no torch. `options` holds every option of the protocol with
its default; an entry "*" holds fields and options that the others share, each of which may change some. `run` reads what the user changed
from `context.options` through `Protocol.settings`. Files without `PROTOCOLS` are no adapters.

A candidate whose weights depend on the fold, as those of a backbone trained with the labels of the training videos do, says
`per_fold=True`; then, and only then, `make` is called with the number of the fold.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ssvid.errors import ConfigError
from ssvid.plugins import find_modules, import_source, read_literal
from ssvid.progress import Progress

if TYPE_CHECKING:
    import numpy as np

    from ssvid.data.index import VideoRecord
    from ssvid.evaluation.features import View
    from ssvid.zoo.backbone import Backbone


class Score(NamedTuple):
    """One number of one protocol.

    name: the column, as "linear", "few@5", "phase accuracy". value: percent unless the name says otherwise. chance: the same of
    guessing, None where there is none. predicted: video id -> class told, for the confusion matrix; empty where there is none.
    """

    name: str
    value: float
    chance: float | None
    predicted: dict[int, str]


@dataclass(frozen=True)
class Candidate:
    """What is evaluated.

    name: as the table's row says, "speednet", "random init", "supervised", "resnet18". make: gives a fresh copy with its weights each
    time, since fine-tuning changes it. pretrained: False for random weights. per_fold: the weights depend on the fold; see above.
    """

    name: str
    make: Callable[..., Backbone]
    pretrained: bool
    per_fold: bool = False

    def backbone(self, fold: int) -> Backbone:
        """A fresh copy as it is for this fold (counted from 0)."""
        return self.make(fold) if self.per_fold else self.make()


@dataclass(frozen=True)
class EvalContext:
    """What it is evaluated on, and how.

    videos: all labelled and usable. folds: (train, test) positions in `videos`; accuracies pool the test videos of all folds.
    view: how a video is shown to a frozen backbone. seed: of heads, draws and orders. device: of torch. workers: decoding processes.
    options: those options of the protocol that the user changed. progress: called with (what, done, total).
    flip: whether a video keeps its label when it is mirrored left to right; where not, none is ever mirrored.
    """

    videos: Sequence[VideoRecord]
    folds: Sequence[tuple[np.ndarray, np.ndarray]]
    view: View
    seed: int = 0
    device: str = "cpu"
    workers: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress | None = None
    flip: bool = True


@dataclass(frozen=True)
class Protocol:
    """A named way of evaluating: what it is, whose it follows, in what it differs from that and from its siblings, what is trained
    ("head", "all", "nothing"), and its options with their defaults."""

    name: str
    path: Path
    summary: str
    after: str
    differs: str
    trains: str
    options: dict[str, Any]

    def settings(self, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """All options with `changes` put in. Raises ConfigError for an unknown option or a value of another type."""
        for name in changes or {}:
            if name not in self.options:
                close = difflib.get_close_matches(name, self.options, 1)
                hint = f" Did you mean {close[0]}?" if close else ""
                listed = ", ".join(f"{key}={value}" for key, value in self.options.items()) or "none"
                raise ConfigError(f"Protocol {self.name} has no option {name!r}.{hint} Its options: {listed}.")
        changed = {name: self._fitting(name, value) for name, value in (changes or {}).items()}
        return self.options | changed

    def _fitting(self, name: str, value: Any) -> Any:
        default = self.options[name]
        if isinstance(default, tuple):
            value = tuple(value) if isinstance(value, list | tuple) else (value,)
            if all(_is(item, default[0]) for item in value) and value:
                return tuple(type(default[0])(item) for item in value)
        elif _is(value, default):
            return type(default)(value)
        kind = f"several {type(default[0]).__name__}" if isinstance(default, tuple) else type(default).__name__
        raise ConfigError(f"Protocol {self.name}: {name}={value!r} must be {kind}, as its default {default!r}.")


def protocols() -> dict[str, Protocol]:
    """Every protocol by its name. Imports no adapter and no torch. Raises ConfigError for a PROTOCOLS that cannot be read."""
    found: dict[str, Protocol] = {}
    for path in find_modules("downstream", "ssvid.adapters").values():
        entries = read_literal(path, "PROTOCOLS") or {}
        shared = entries.get("*", {})
        for name, entry in entries.items():
            if name != "*":
                options = shared.get("options", {}) | entry.get("options", {})
                fields = {"differs": "", **shared, **entry, "options": options}
                try:
                    found.setdefault(name, Protocol(name, path, **fields))
                except TypeError as error:
                    raise ConfigError(f"{path}: the entry of {name!r} in PROTOCOLS is not right: {error}.") from error
    return found


def find_protocol(name: str) -> Protocol:
    """A protocol by its name. Raises ConfigError, with the closest one, where there is none."""
    known = protocols()
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ConfigError(f"Unknown protocol {name!r}.{hint} There are: {', '.join(sorted(known))}.")
    return known[name]


def run(protocol: str, candidate: Candidate, context: EvalContext) -> Iterator[Score]:
    """Evaluate a candidate by one protocol: its scores, one by one.

    Raises ConfigError for an unknown protocol or option, DataError where the videos do not have what the protocol needs.
    """
    found = find_protocol(protocol)
    found.settings(context.options)
    yield from import_source(found.path).run(protocol, candidate, context)


def _is(value: Any, default: Any) -> bool:
    """Whether a value is of the default's type; an int may stand for a float, a bool for nothing else."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    return isinstance(value, int | float) if isinstance(default, float) else isinstance(value, type(default))
