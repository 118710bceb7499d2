"""What a downstream adapter is given and what it gives back: the interface between the protocols and the tables.

An adapter is one file in `downstream/` (or a module named in the entry-point group "ssvid.adapters") that holds a plain literal and the
functions of its protocols:

    PROTOCOLS = {"knn": {"summary": ..., "after": ..., "differs": ..., "trains": "head" | "all" | "nothing"}, ...}
    def knn(candidate: Candidate, context: EvalContext, *, neighbours: tuple[int, ...] = (1, 5), ...) -> Iterator[Score]

The function has the protocol's name. Its keyword-only parameters are the protocol's options; their defaults are literals. `PROTOCOLS` and
the signatures are read from the source, so that listing imports no torch. A protocol that differs from another one in its defaults alone
names that one's function and its own defaults: {"function": "knn", "defaults": {"neighbours": (10, 20)}, ...}. The further fields of an
entry are those of `Protocol`. Files without `PROTOCOLS` are no adapters.

A candidate whose weights depend on the fold, as those of a backbone trained with the labels of the training videos do, says
`per_fold=True`; then, and only then, `make` is called with the number of the fold.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ssvid.errors import ConfigError
from ssvid.plugins import find_modules, import_source, read_literal, read_signature
from ssvid.progress import Progress

if TYPE_CHECKING:
    import numpy as np

    from ssvid.data.layouts import LabelledSequence
    from ssvid.data.video_record import VideoRecord
    from ssvid.evaluation.features import View
    from ssvid.evaluation.saved_head import SavedHead
    from ssvid.zoo.backbone import Backbone


class Score(NamedTuple):
    """One number of one protocol.

    name: the column, as "linear", "few@5", "phase accuracy". value: percent unless the name says otherwise. chance: the same of
    guessing, or of copying the first frame's labels where these are carried through a sequence; None where there is none. predicted:
    video id -> class, for the confusion matrix; empty where no class is predicted.
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
    options: those options of the protocol that the user changed. protocol: the name of the protocol that is run, set by `run`; scores are
    named after it. progress: called with (what, done, total). flip: whether a video keeps its label when it is mirrored left to right;
    where not, none is ever mirrored. sequences: with masks, joints or parts, for protocols that take these in place of videos.
    """

    videos: Sequence[VideoRecord]
    folds: Sequence[tuple[np.ndarray, np.ndarray]]
    view: View
    seed: int = 0
    device: str = "cpu"
    workers: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    protocol: str = ""
    progress: Progress | None = None
    flip: bool = True
    sequences: Sequence[LabelledSequence] = ()


@dataclass(frozen=True)
class Protocol:
    """A named way of evaluating.

    path, function: the adapter's file, and which of its functions computes the scores. summary: one line. after: whose way it is.
    differs: in what it differs from that and from the protocols beside it. trains: "head", "all" of the network, or "nothing".
    options, types: the default and the type of each option. needs_labels: False where the videos alone are enough.
    needs_classes: False where videos of one class are enough. ranks: whether it
    ranks videos and so belongs in the retrieval table. recipe: whether its training makes the row *supervised*; its options are then the
    fields of `Recipe`. takes: "videos", or the kind of sequences that labels are carried through: "masks", "joints" or "parts".
    head: the function that gives the classifier which the protocol trains on the first fold, see `train_head`; "" where none can be kept.
    """

    name: str
    path: Path
    function: str
    summary: str
    after: str
    differs: str
    trains: str
    options: Mapping[str, Any]
    types: Mapping[str, Any]
    needs_labels: bool = True
    needs_classes: bool = True
    ranks: bool = False
    recipe: bool = False
    takes: str = "videos"
    head: str = ""

    def settings(self, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """All options with `changes` put in. Raises ConfigError for an unknown option or a value of another type."""
        from ssvid.config import check_values  # OmegaConf is slow to import, and listing needs none of it

        return {**self.options, **check_values(self.types, changes or {}, f"Protocol {self.name}")}

    def load(self) -> Callable[..., Iterator[Score]]:
        """The function of the protocol; imports the adapter."""
        function: Callable[..., Iterator[Score]] = getattr(import_source(self.path), self.function)
        return function


def protocols() -> dict[str, Protocol]:
    """Every protocol by its name. Imports no adapter and no torch. Raises ConfigError for an adapter that cannot be read."""
    found: dict[str, Protocol] = {}
    for path in find_modules("downstream", "ssvid.adapters").values():
        entries = read_literal(path, "PROTOCOLS") or {}
        for name, entry in entries.items():
            found.setdefault(name, _protocol(name, path, entry))
    return found


def recipe_protocol() -> Protocol:
    """The protocol whose training makes the row *supervised*. Raises ConfigError where none says so."""
    for protocol in protocols().values():
        if protocol.recipe:
            return protocol
    raise ConfigError('no protocol says "recipe": True, so the row supervised cannot be trained; install ssvid again')


def _protocol(name: str, path: Path, entry: Mapping[str, Any]) -> Protocol:
    """The protocol of an entry in PROTOCOLS. Raises ConfigError for an entry that is not right."""
    fields = {"function": name, **entry}
    signature, defaults = read_signature(path, fields["function"]), fields.pop("defaults", {})
    wrong = f"{path}: the entry of {name!r} in PROTOCOLS is not right"
    if unknown := sorted(defaults.keys() - signature.keys()):
        raise ConfigError(f"{wrong}: {fields['function']} has no option {', '.join(unknown)}.")
    options = {option: parameter.default for option, parameter in signature.items()} | defaults
    types = {option: parameter.annotation for option, parameter in signature.items()}
    try:
        return Protocol(name, path, options=options, types=types, **fields)
    except TypeError as error:
        raise ConfigError(f"{wrong}: {error}.") from error


def find_protocol(name: str) -> Protocol:
    """A protocol by its name. Raises ConfigError, with the closest one, where there is none."""
    known = protocols()
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ConfigError(f"Unknown protocol {name!r}.{hint} There are: {', '.join(sorted(known))}.")
    return known[name]


def train_head(protocol: str, candidate: Candidate, context: EvalContext) -> SavedHead:
    """The classifier that a protocol trains on the training videos of the first fold: head(candidate, context, **options) -> SavedHead.

    Raises ConfigError for a protocol that gives none.
    """
    found = find_protocol(protocol)
    if not found.head:
        keep = ", ".join(name for name, one in protocols().items() if one.head)
        raise ConfigError(f"{protocol} trains no head that can be kept; those that do: {keep}")
    make: Callable[..., SavedHead] = getattr(import_source(found.path), found.head)
    return make(candidate, replace(context, protocol=protocol), **found.settings(context.options))


def run(protocol: str, candidate: Candidate, context: EvalContext) -> Iterator[Score]:
    """Evaluate a candidate by one protocol: its scores, one by one.

    Raises ConfigError for an unknown protocol or option, DataError where the videos do not have what the protocol needs.
    """
    found = find_protocol(protocol)
    yield from found.load()(candidate, replace(context, protocol=protocol), **found.settings(context.options))
