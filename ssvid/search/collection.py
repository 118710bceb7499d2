"""A collection: the videos one searches, in a folder.

manifest.json          what made it: model, weights, view, unit; written first and never changed
rows.sqlite            the videos as `ssvid index` found them, and which seconds each vector stands for
vectors-N.f32          the vectors, of length 1; N counts how often positions have changed
index-N-KIND/          the index over them, where there are too many to read all

collection = build("coll", ["videos/"], open_encoder("runs/speednet-s3dg_tiny-s0", unit="clip"))    # ssvid.search.building
for hit in Collection("coll").query("clip.mp4", at=(12, 15), k=10):
    print(hit.score, hit.path, hit.start, hit.end)
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssvid.data.index import Index, VideoRecord
from ssvid.data.scanning import open_data
from ssvid.errors import ConfigError, DataError, VideoError
from ssvid.evaluation.features import View
from ssvid.files import read_json
from ssvid.search import ann
from ssvid.search.encode import WHOLE, Encoder, Span, open_encoder, resolve_span
from ssvid.search.segment_table import SegmentTable
from ssvid.search.store import Vectors, unit

VERSION = 2
logger = logging.getLogger(__name__)
NEAR = 0.5  # seconds between the middles of two hits in one video, at least


class Hit(NamedTuple):
    """One answer: file, seconds from and to, cosine (-1..1), label and group where known."""

    path: str
    start: float
    end: float
    score: float
    label: str | None
    group: str | None


class Moments(NamedTuple):
    """An answer within one video: the hits; and of all its segments the seconds (R,2) and their cosines with each other (R,R)."""

    hits: list[Hit]
    spans: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True)
class Facts:
    """What a collection is: counts, kind of index and sizes in bytes on the disk."""

    videos: int
    rows: int
    unit: str
    kind: str
    model: str
    dim: int
    vectors_bytes: int
    index_bytes: int


class Collection:
    """A collection that has been built.

    folder: where it lies. encoder: what turns a query into vectors; None opens the model that the manifest names when it is first
    needed. Raises DataError where there is no collection or it is not finished, and for an encoder of other weights.
    """

    def __init__(self, folder: str | os.PathLike[str], encoder: Encoder | None = None) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        self.index = Index(self.folder / "rows.sqlite")
        self.rows = SegmentTable(self.index)
        space = self.rows.space
        if space is None:
            raise DataError(f"{folder} is not finished; the same `ssvid retrieve index` command goes on")
        self.space, self._version = space, self.rows.version()
        if encoder is not None:
            self.encoder = self._checked(encoder)

    def __len__(self) -> int:
        return len(self.rows)

    def _follow(self) -> None:
        """Open anew what another process has changed since it was opened. Raises DataError while it is being built anew."""
        version = self.rows.version()
        if version == self._version:
            return
        space = self.rows.space
        if space is None:
            raise DataError(f"{self.folder} is being built anew by another process; ask again when that has ended")
        for name in ("vectors", "nearest"):
            self.__dict__.pop(name, None)
        self.space, self._version = space, version
        logger.info("%s was changed by another process and is opened anew", self.folder)

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder of the manifest. Raises DataError where its weights have changed or are gone."""
        return self._checked(self.open_encoder(self.manifest["model"]))

    def open_encoder(self, model: str, device: str = "auto") -> Encoder:
        """A model as this collection is encoded, for instance the run after it has been moved; it is checked when it is used."""
        return open_encoder(model, self.manifest["unit"], View(**self.manifest["view"]), device)

    @cached_property
    def vectors(self) -> Vectors:
        """The vectors."""
        return Vectors(self.folder / f"vectors-{self.rows.generation}.f32", self.manifest["dim"], len(self.rows))

    @cached_property
    def nearest(self) -> ann.Nearest:
        """The search over them."""
        return ann.Nearest(self.vectors, self.kind, index_folder(self))

    @property
    def kind(self) -> ann.Kind:
        """The kind of index: the one chosen when the collection was made, else by size."""
        return ann.kind_for(len(self.vectors), self.manifest["kind"])

    def facts(self) -> Facts:
        """What it is, for people."""
        sizes = self.vectors.count * 4 * self.vectors.dim, ann.size_on_disk(index_folder(self))
        manifest = self.manifest
        return Facts(
            self.rows.videos(), len(self), manifest["unit"], self.kind, manifest["model"], manifest["dim"], *sizes
        )

    def record(self, path: str | os.PathLike[str]) -> VideoRecord:
        """A video as it is in the collection, or scanned now. Raises VideoError for one that cannot be read."""
        known = [video for name in names_of(path) if self.rows.ids([name]) for video in self.index.videos(paths=[name])]
        if os.path.isdir(path):
            raise VideoError(path, "is a folder, not a video file")
        return known[0] if known else open_data([path]).videos()[0]

    def id_of(self, path: str | os.PathLike[str]) -> int | None:
        """The id of a video by any name of its file; None where it is not in the collection."""
        found = self.rows.ids(names_of(path))
        return next(iter(found.values()), None)

    def vector(self, video: VideoRecord, at: Span | None = None) -> np.ndarray:
        """The vector (D,) of a query, of length 1. Raises DataError where the model sees nothing in it."""
        return self._one(self.encoder.query_vectors(video, at))

    def query(
        self,
        what: str | os.PathLike[str] | VideoRecord | np.ndarray,
        at: Span | None = None,
        k: int = 10,
        *,
        exclude_self: bool = False,
        group: bool = False,
    ) -> list[Hit]:
        """The k most similar segments, best first, no two of which overlap by half or more.

        what: a video, or feature vectors (D,) or (R,D) as the backbone gives them. at: seconds from and to, None for all of the video.
        exclude_self: leave out the query's own file. group: leave out all files of its group, which are often cut from one recording.
        Raises DataError where `group` is given and the query has none, ConfigError for a vector of another length.
        """
        self._follow()
        if isinstance(what, np.ndarray):
            if exclude_self or group:
                raise ConfigError("a vector has no file and no group of its own; leave out exclude_self and group")
            if what.shape[-1] != self.vectors.dim:
                raise ConfigError(
                    f"vectors of {what.shape[-1]} numbers, and the collection holds vectors of {self.vectors.dim}"
                )
            return self._nearest(self._one(np.atleast_2d(what)), k, None, None)
        video = what if isinstance(what, VideoRecord) else self.record(what)
        if group and video.group is None:
            raise DataError(
                f"{video.path} has no group in {self.folder}; index it with a layout or a CSV that has groups"
            )
        return self._nearest(
            self.vector(video, at), k, video.path if exclude_self else None, video.group if group else None
        )

    def within(self, what: str | os.PathLike[str] | VideoRecord, at: Span | None = None, k: int = 10) -> Moments:
        """The k moments of one video most like the seconds `at` of it, and how like each other all its moments are.

        The video need not be in the collection. Raises ConfigError where the unit is the video, which has no moments.
        """
        video = what if isinstance(what, VideoRecord) else self.record(what)
        if self.manifest["unit"] in WHOLE:
            raise ConfigError(f"{self.folder} holds whole videos; for moments build one with --unit clip or frame")
        self._follow()
        spans, rows = self._moments(video)
        start, end = resolve_span(video, self.encoder.view, at or (float(spans[0][0]), float(spans[0][1])))
        scores = rows @ self.vector(video, (start, end))
        hits: list[Hit] = []
        for number in np.argsort(-scores, kind="stable"):
            hit = Hit(
                video.path,
                float(spans[number][0]),
                float(spans[number][1]),
                float(scores[number]),
                video.label,
                video.group,
            )
            if not (hit.start < end and start < hit.end) and _apart(hit, hits):
                hits.append(hit)
        return Moments(hits[:k], spans, rows @ rows.T)

    def _moments(self, video: VideoRecord) -> tuple[np.ndarray, np.ndarray]:
        """Spans (R,2) and vectors (R,D) of all segments of a video, from the collection where it holds them."""
        ids = self.rows.ids([video.path])
        held = self.rows.positions(ids.values())
        if len(held) and ids[video.path] in self.rows.done():
            return np.array([place[4:] for place in self.rows.places(held)]), self.vectors.array()[held]
        _, raw, spans = next(self.encoder.encode([video]))
        return spans, self.space(raw)

    def _nearest(self, vector: np.ndarray, k: int, path: str | None, group: str | None) -> list[Hit]:
        if k < 1:
            raise ConfigError(f"k must be 1 or more, not {k}")
        looked = 2 * k + 16
        while True:
            scores, positions = self.nearest.search(vector[None], looked)
            hits: list[Hit] = []
            for score, place in zip(scores[0], self.rows.places(positions[0]), strict=True):
                hit = Hit(place.path, place.start, place.end, float(score), place.label, place.group)
                if place.path != path and (group is None or place.group != group) and _apart(hit, hits):
                    hits.append(hit)
            if len(hits) >= k or looked >= len(self):
                return hits[:k]
            looked *= 4

    def _one(self, raw: np.ndarray) -> np.ndarray:
        """One vector of raw ones (R,D): their mean direction in the collection's space."""
        if not np.linalg.norm(raw, axis=1).any():
            raise DataError(
                "the model gives nothing but zeros for the query, as one that looks at motion does where nothing moves"
            )
        if self.manifest["unit"] in WHOLE:  # as the collection's own: the mean first
            mean: np.ndarray = self.space(raw.mean(0, keepdims=True))
        else:
            mean = unit(self.space(raw).mean(0, keepdims=True))
        one: np.ndarray = mean[0]
        return one

    def _checked(self, encoder: Encoder) -> Encoder:
        check_weights(self.folder, self.manifest, encoder)
        return encoder


def names_of(path: str | os.PathLike[str]) -> list[str]:
    """Absolute names under which a file may have been entered: its links as they are, its folder resolved, all of them resolved."""
    folder, name = os.path.split(os.path.abspath(path))
    return list(
        dict.fromkeys(
            [os.path.join(folder, name), os.path.join(os.path.realpath(folder), name), os.path.realpath(path)]
        )
    )


def read_manifest(folder: Path) -> dict[str, Any]:
    """What made the collection. Raises DataError where there is none."""
    try:
        manifest = read_json(folder / "manifest.json")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{folder} is not a collection; make one with: ssvid retrieve index VIDEOS --model RUN -o {folder}"
        ) from error
    if manifest["unit"] == "sequence":
        raise DataError(
            f"{folder} holds vectors of the unit sequence, which is called concat now; build it again with: "
            f"ssvid retrieve index VIDEOS --model {manifest['model']} --unit concat -o FOLDER"
        )
    if manifest["version"] != VERSION:
        raise DataError(f"{folder} was made by another version ({manifest['version']}, here {VERSION}); build it again")
    result: dict[str, Any] = manifest
    return result


def check_weights(folder: Path, manifest: dict[str, Any], encoder: Encoder) -> None:
    """Raise DataError where other weights, another view or another unit made the collection."""
    if encoder.unit != manifest["unit"]:
        raise DataError(
            f"{folder} holds units of a {manifest['unit']}, not of a {encoder.unit}; build another one with -o"
        )
    if encoder.key != manifest["weights"]:
        raise DataError(
            f"{folder} was made with other weights or another view ({manifest['model']}, {manifest['weights']}) than those of "
            f"{encoder.model} ({encoder.key}); vectors of two networks cannot be compared, so name that model or build another collection"
        )


def index_folder(collection: Collection) -> Path:
    """Where the collection's index lies."""
    return collection.folder / f"index-{collection.rows.generation}-{collection.kind}"


def _apart(hit: Hit, others: Sequence[Hit]) -> bool:
    """Whether no other hit is in the same place."""
    least = max(hit.end - hit.start, NEAR) * 0.99
    middle = (hit.start + hit.end) / 2
    return all(one.path != hit.path or abs((one.start + one.end) / 2 - middle) >= least for one in others)
