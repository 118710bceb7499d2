"""Data sets of sequences with masks, joints or parts, for protocols that carry labels from the first frame through the rest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ssvid.data.layouts import SEQUENCE_LAYOUTS, LabelledSequence, place_of, read_sequences
from ssvid.evaluation.splits import Labelled, name_of

PROTOCOL_OF = {"davis": "davis", "clip": "davis", "world": "world", "jhmdb": "jhmdb", "vip": "vip"}  # by layout


@dataclass(frozen=True)
class SequenceSet(Labelled):
    """Sequences, ready to be tested on; it holds no videos with classes and no folds. See `Labelled` for the other fields."""

    sequences: tuple[LabelledSequence, ...] = ()

    @property
    def kind(self) -> str:
        """What is annotated: masks, joints or parts."""
        return self.sequences[0].kind

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the sequences, and with size and time of their files."""
        digest = hashlib.sha256()
        for sequence in self.sequences:
            digest.update(json.dumps([sequence.name, sequence.kind, sequence.one_object]).encode())
            for file in _files(sequence):
                stat = os.stat(file)
                digest.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}".encode())
            if sequence.points is not None:
                digest.update(sequence.points.tobytes())
        return digest.hexdigest()[:12]

    @property
    def synthetic(self) -> bool:
        """Whether they are the motion world's."""
        return name_of(self.source).startswith("world")

    @property
    def tested(self) -> int:
        """Number of frames."""
        return sum(len(sequence.frames) for sequence in self.sequences)

    @property
    def split(self) -> str:
        """How many there are, in words."""
        return f"{len(self.sequences)} sequences with {self.kind}, {self.tested} frames"


def is_sequence_source(source: str) -> bool:
    """Whether a source names a layout of sequences."""
    return _layout(source) in SEQUENCE_LAYOUTS


def protocol_for(source: str) -> str:
    """The protocol by which the sequences of a source are evaluated where none is named."""
    return PROTOCOL_OF[_layout(source)]


def open_sequences(source: str) -> SequenceSet:
    """The sequences of LAYOUT:FOLDER. Raises as `read_sequences` does."""
    listing = read_sequences(source)
    sequences = tuple(listing.sequences)
    name = Path(place_of(source)[0]).name if _layout(source) == "clip" else name_of(source)
    return SequenceSet(name, source, [], [], notes=listing.notes, sequences=sequences)


def _layout(source: str) -> str:
    return place_of(source)[0].partition(":")[0]


def _files(sequence: LabelledSequence) -> Iterator[Path]:
    yield from sequence.frames if isinstance(sequence.frames, tuple) else [Path(sequence.frames.path)]
    yield from (sequence.masks[number] for number in sorted(sequence.masks))
