"""A collection: the videos one searches, in a folder.

manifest.json          what made it: model, weights, view, unit; written first and never changed
rows.sqlite            the videos as `ssvid index` found them, and which seconds each vector stands for
vectors-N.f32          the vectors, of length 1; N counts how often positions have changed
raw-N.f32              the same as the network gives them, as long as they are few and their space may be fitted anew
index-N-KIND/          the index over them, where there are too many to read all

collection = build("coll", ["videos/"], open_encoder("runs/speednet-s3dg_tiny-s0", unit="clip"))    # ssvid.search.building
for hit in Collection("coll").query("clip.mp4", at=(12, 15), k=10):
    print(hit.score, hit.path, hit.start, hit.end)
"""

from __future__ import annotations

import os
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ssvid.data.index import Index
from ssvid.data.scanning import open_data
from ssvid.data.video_record import VideoRecord
from ssvid.errors import ConfigError, DataError, VideoError
from ssvid.evaluation.features import View
from ssvid.files import read_json
from ssvid.search import ann
from ssvid.search.encode import WHOLE, Encoder, Span, open_encoder, resolve_span
from ssvid.search.segment_table import Segment, SegmentTable
from ssvid.search.store import Vectors, unit
from ssvid.search.whitening import Whitening
from ssvid.video.location import is_address

VERSION = 2
NEAR = 0.5  # seconds between the middles of two hits in one video, at least
TRIES = 5  # of a question, where another process moves positions while it is answered

Found = TypeVar("Found")


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
    """What a collection is: counts, how vectors are compared, kind of index and sizes in bytes on the disk."""

    videos: int
    rows: int
    unit: str
    space: str
    kind: str
    model: str
    dim: int
    vectors_bytes: int
    index_bytes: int


class Collection:
    """A collection that has been built.

    folder: where it lies. encoder: what turns a query into vectors; None opens the model that the manifest names when it is first
    needed. What another process adds, removes or fits anew while it is open is taken up by the next question.
    Raises DataError where there is no collection or it is not finished, and for an encoder of other weights.
    """

    def __init__(self, folder: str | os.PathLike[str], encoder: Encoder | None = None) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        self.index = Index(self.folder / "rows.sqlite")
        self.rows = SegmentTable(self.index)
        self._stamp = self.rows.stamp()
        self.space  # noqa: B018  an unfinished one is told now
        if encoder is not None:
            self.encoder = self._checked(encoder)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder of the manifest. Raises DataError where its weights have changed or are gone."""
        return self._checked(self.open_encoder(self.manifest["model"]))

    def open_encoder(self, model: str, device: str = "auto") -> Encoder:
        """A model as this collection is encoded, for instance the run after it has been moved; it is checked when it is used."""
        return open_encoder(model, self.manifest["unit"], View(**self.manifest["view"]), device)

    @cached_property
    def space(self) -> Whitening:
        """What raw vectors go through before they are compared."""
        space = self.rows.space
        if space is None:
            raise DataError(f"{self.folder} is not finished; the same `ssvid retrieve index` command goes on")
        return space

    @cached_property
    def vectors(self) -> Vectors:
        """The vectors, with those of removed videos until they are written anew without them."""
        return Vectors(self.folder / f"vectors-{self._stamp.generation}.f32", self.manifest["dim"], self._stamp.held)

    @cached_property
    def nearest(self) -> ann.Nearest:
        """The search over them."""
        return ann.Nearest(self.vectors, self.kind, index_folder(self), self.rows.dead())

    @property
    def kind(self) -> ann.Kind:
        """The kind of index: the one chosen when the collection was made, else by size."""
        return ann.kind_for(len(self.vectors), self.manifest["kind"])

    @property
    def generation(self) -> int:
        """Number of the files that are open."""
        return self._stamp.generation

    def refresh(self) -> None:
        """Open anew what another process has changed. Raises DataError where it is gone, or was made anew with other weights."""
        manifest = read_manifest(self.folder)
        if not self.index.path.is_file():
            raise DataError(f"{self.folder} is not finished; the same `ssvid retrieve index` command goes on")
        stamp = self.rows.stamp()
        if manifest != self.manifest:
            self.manifest = manifest
            held = self.__dict__.pop("encoder", None)
            if held is not None:
                self.encoder = self._checked(held)
        if stamp != self._stamp:
            self._stamp = stamp
            for name in ("space", "vectors", "nearest"):
                self.__dict__.pop(name, None)

    def facts(self) -> Facts:
        """What it is, for people."""
        self.refresh()
        sizes = self.vectors.count * 4 * self.vectors.dim, ann.size_on_disk(index_folder(self))
        manifest = self.manifest
        return Facts(
            self.rows.videos(),
            len(self),
            manifest["unit"],
            self._space_in_words(),
            self.kind,
            manifest["model"],
            manifest["dim"],
            *sizes,
        )

    def record(self, path: str | os.PathLike[str]) -> VideoRecord:
        """A video as it is in the collection, or scanned now. Raises VideoError for one that cannot be read."""
        if os.path.isdir(path):
            raise VideoError(path, "is a folder, not a video file")
        known = self.index.videos(paths=names_of(path))
        return known[0] if known else open_data([path]).videos()[0]

    def id_of(self, path: str | os.PathLike[str]) -> int | None:
        """The id of a video by any name of its file; None where it is not in the collection."""
        return next(iter(self.rows.ids(names_of(path)).values()), None)

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
        if isinstance(what, np.ndarray):
            if exclude_self or group:
                raise ConfigError("a vector has no file and no group of its own; leave out exclude_self and group")
            if what.shape[-1] != self.manifest["dim"]:
                raise ConfigError(
                    f"vectors of {what.shape[-1]} numbers, and the collection holds vectors of {self.manifest['dim']}"
                )
            return self._steady(lambda: self._nearest(self._one(np.atleast_2d(what)), k, None, None))
        video = what if isinstance(what, VideoRecord) else self.record(what)
        if group and video.group is None:
            raise DataError(
                f"{video.path} has no group in {self.folder}; index it with a layout or a CSV that has groups"
            )
        raw = self.encoder.query_vectors(video, at)
        left_out = video.path if exclude_self else None, video.group if group else None
        return self._steady(lambda: self._nearest(self._one(raw), k, *left_out))

    def within(self, what: str | os.PathLike[str] | VideoRecord, at: Span | None = None, k: int = 10) -> Moments:
        """The k moments of one video most like the seconds `at` of it, and how like each other all its moments are.

        The video need not be in the collection. Raises ConfigError where the unit is the video, which has no moments.
        """
        video = what if isinstance(what, VideoRecord) else self.record(what)
        if self.manifest["unit"] in WHOLE:
            raise ConfigError(f"{self.folder} holds whole videos; for moments build one with --unit clip or frame")
        return self._steady(lambda: self._within(video, at, k))

    def _within(self, video: VideoRecord, at: Span | None, k: int) -> Moments:
        spans, rows = self._moments(video)
        start, end = resolve_span(video, self.encoder.view, at or (float(spans[0][0]), float(spans[0][1])))
        scores = rows @ self.vector(video, (start, end))
        hits, taken = [], _Taken()
        for number in np.argsort(-scores, kind="stable"):
            hit = Hit(
                video.path,
                float(spans[number][0]),
                float(spans[number][1]),
                float(scores[number]),
                video.label,
                video.group,
            )
            if not (hit.start < end and start < hit.end) and taken.take(hit):
                hits.append(hit)
        return Moments(hits[:k], spans, rows @ rows.T)

    def _moments(self, video: VideoRecord) -> tuple[np.ndarray, np.ndarray]:
        """Spans (R,2) and vectors (R,D) of all segments of a video, from the collection where it holds them."""
        ids = self.rows.ids([video.path])
        held = self.rows.positions(ids.values())
        if len(held) and self.rows.is_current(ids[video.path]):
            places = self.rows.places(held)
            return np.array([places[position][4:] for position in held.tolist()]), self.vectors.array()[held]
        _, raw, spans = next(self.encoder.encode([video]))
        return spans, self.space(raw)

    def _nearest(self, vector: np.ndarray, k: int, path: str | None, group: str | None) -> list[Hit]:
        if k < 1:
            raise ConfigError(f"k must be 1 or more, not {k}")
        looked, places = 2 * k + 16, dict[int, Segment]()
        while True:
            scores, positions = (found[0].tolist() for found in self.nearest.search(vector[None], looked))
            places |= self.rows.places([position for position in positions if position not in places])
            hits, taken = [], _Taken()
            for score, position in zip(scores, positions, strict=True):
                place = places.get(position)
                if place is None or place.path == path or (group is not None and place.group == group):
                    continue
                hit = Hit(place.path, place.start, place.end, score, place.label, place.group)
                if taken.take(hit):
                    hits.append(hit)
            if len(hits) >= k or looked >= len(self):
                return hits[:k]
            looked *= 4

    def _steady(self, ask: Callable[[], Found]) -> Found:
        """What `ask` finds in one state of the files: it asks again where another process moves positions meanwhile."""
        for _ in range(TRIES):
            self.refresh()
            try:
                found = ask()
            except (OSError, RuntimeError, DataError):  # RuntimeError: of faiss, for a file that is gone
                if self.rows.generation == self.generation:
                    raise
                continue
            if self.rows.generation == self.generation:
                return found
        raise DataError(f"{self.folder} is changed by another process all the time; ask again when that has ended")

    def _space_in_words(self) -> str:
        how, fitted = self.manifest["space"], self.rows.fitted
        if how == "raw":
            return "compared as they come"
        if not self.space.centre.any() and self.space.axes is None:
            return "compared as they come, as they are too few"
        return {"centre": "centred", "whiten": "whitened"}[how] + (f" on {fitted} of them" if fitted else "")

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
    """Absolute names under which a file may have been entered: its links as they are, its folder resolved, all of them resolved.

    Of an address only that.
    """
    if isinstance(path, str) and is_address(path):
        return [path]
    folder, name = os.path.split(os.path.abspath(path))
    names = (os.path.join(folder, name), os.path.join(os.path.realpath(folder), name), os.path.realpath(path))
    return list(dict.fromkeys(names))


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
    return collection.folder / f"index-{collection.generation}-{collection.kind}"


class _Taken:
    """Where the hits of an answer lie, so that no two are in the same place."""

    def __init__(self) -> None:
        self._middles: dict[str, list[float]] = {}

    def take(self, hit: Hit) -> bool:
        """Take the hit's place, where no other hit is in it."""
        least = max(hit.end - hit.start, NEAR) * 0.99
        middle = (hit.start + hit.end) / 2
        others = self._middles.setdefault(hit.path, [])
        beside = bisect_left(others, middle)
        if any(abs(other - middle) < least for other in others[max(0, beside - 1) : beside + 1]):
            return False
        insort(others, middle)
        return True
