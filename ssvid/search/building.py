"""Making a collection and changing it: every step can be killed, and the same call goes on.

A video is entered in one transaction after its vectors are on the disk. A video that is taken out, or whose file has changed, leaves its
vectors behind, dead, so that nothing else has to move; where they are many, or the collection is small, the vectors are written anew
without them. What changes positions (that, and fitting the space) writes a new file of vectors and makes it valid in the transaction that
changes the rows. One process changes a collection at a time; any number may search in it meanwhile.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ssvid.data.index import Index
from ssvid.data.layouts import Entry
from ssvid.data.scanning import open_data
from ssvid.data.video_record import VideoRecord
from ssvid.engine import check_engine
from ssvid.errors import DataError, VideoError
from ssvid.files import write_json
from ssvid.progress import Progress, silent
from ssvid.search import ann
from ssvid.search.collection import VERSION, Collection, check_weights, index_folder, read_manifest
from ssvid.search.encode import Encoder, video_segments
from ssvid.search.segment_table import SegmentTable
from ssvid.search.shards import SHARD, Encoded, encode_in_shards
from ssvid.search.store import Vectors
from ssvid.search.whitening import LONGEST, Whitening, checked_space
from ssvid.video.location import as_path

FEW = 16  # rows under which their mean and their directions say nothing, so that they are compared as they come
GROWN = 1.5  # times the rows that the space was fitted on, from which it is fitted anew
SETTLED = 4096  # rows from which the space stays, so that raw vectors need not be kept beside the others
SMALL = 10_000  # rows up to which vectors are written anew without the dead ones at once
DEAD = 0.2  # share of dead rows from which a larger file is
ENTERED = 8192  # videos entered in one transaction, for which searching may have to wait


def build(
    folder: str | os.PathLike[str],
    data: Sequence[str | os.PathLike[str]],
    encoder: Encoder,
    *,
    kind: str = "auto",
    space: str = "centre",
    engine: str = "local:1",
    shard: int = SHARD,
    progress: Progress | None = None,
) -> Collection:
    """Make a collection of videos, or go on with one that was stopped, or bring one up to date.

    data: as `open_data` takes it, an index or what to scan. kind: exact, hnsw, ivfpq, or auto, by size. space: how vectors are
    compared, as the first build's vectors lie: raw, centre (less their mean, so that what all videos share does not count) or whiten.
    engine: where videos are encoded, see `ssvid.engine`; in tasks of `shard` videos, see `ssvid.search.shards`.
    Fewer than `FEW` rows are compared as they come; up to `SETTLED` rows the space is fitted anew when there are `GROWN` times as many
    rows as it was fitted on, which `progress` and the collection's facts say.
    Raises DataError for a folder of other weights, where no video can be used and while another process changes the collection,
    ConfigError for an unknown kind or space.
    """
    folder = Path(folder)
    if kind != "auto":
        ann.checked_kind(kind)
    check_engine(engine)
    checked_space(space)
    source = open_data(data, progress)
    if (folder / "manifest.json").exists():
        manifest = read_manifest(folder)
        encoder = replace(encoder, view=replace(encoder.view, fps=encoder.view.fps or manifest["view"]["fps"]))
        check_weights(folder, manifest, encoder)
    else:
        encoder = _start(folder, source, encoder, kind, space)
    with _alone(folder):
        _enter(Index(folder / "rows.sqlite", create=True), source)
        _encode(folder, encoder, engine, shard, progress)
        return Collection(folder, encoder)


def add(collection: Collection, data: Sequence[str | os.PathLike[str]], progress: Progress | None = None) -> Collection:
    """The collection with more videos in it."""
    return build(collection.folder, data, collection.encoder, progress=progress)


def remove(collection: Collection, paths: Sequence[str | os.PathLike[str]]) -> Collection:
    """The collection without these videos. No search finds them any more; in a collection of more than `SMALL` rows their vectors lie
    in the file until a share of `DEAD` of it is of that kind.

    Raises DataError naming one that is not in it, and while another process changes the collection.
    """
    ids = [collection.id_of(path) for path in paths]
    if None in ids:
        raise DataError(f"{paths[ids.index(None)]} is not in {collection.folder}")
    chosen = {id for id in ids if id is not None}
    with _alone(collection.folder):
        _bury(collection.folder, collection.rows, collection.manifest["dim"], chosen, forget=True)
        fresh = Collection(collection.folder)
        _index(fresh, None)
        return fresh


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Be the only process that changes a collection: SQLite holds the lock, and lets go of it when the process dies."""
    connection = sqlite3.connect(folder / "changing.sqlite", timeout=0, isolation_level=None)
    try:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            why = "is being changed by another process; wait until it has ended"
            raise DataError(f"{folder} {why if 'locked' in str(error) else f'cannot be changed: {error}'}") from error
        yield
    finally:
        connection.close()


def _start(folder: Path, source: Index, encoder: Encoder, kind: str, space: str) -> Encoder:
    """Write the manifest; the encoder with a clock of its own: the median rate of the videos where it has none."""
    videos = source.videos()
    view = replace(
        encoder.view, fps=encoder.view.fps or round(float(np.median([video.info.fps for video in videos])), 3)
    )
    encoder = replace(encoder, view=view)
    dim = _dim(encoder, videos)
    if space == "whiten":  # refused now, and not when all has been encoded
        checked_space(space, sum(len(video_segments(video, view, encoder.unit).spans) for video in videos), dim)
    folder.mkdir(parents=True, exist_ok=True)
    model = str(Path(encoder.model).resolve()) if Path(encoder.model).is_dir() else encoder.model
    manifest = {"version": VERSION, "model": model, "weights": encoder.key, "unit": encoder.unit, "view": asdict(view)}
    write_json(folder / "manifest.json", manifest | {"dim": dim, "kind": kind, "space": space})
    return encoder


def _dim(encoder: Encoder, videos: Sequence[VideoRecord]) -> int:
    """Numbers a vector, as the first video that can be read shows."""
    for video in videos:
        try:
            result: int = next(encoder.encode([video]))[1].shape[1]
            return result
        except VideoError:
            continue
    raise DataError(f"none of the {len(videos)} videos can be read any more; index them again")


def _enter(index: Index, source: Index) -> None:
    """Enter the videos of another index, with all that it found out about them."""
    videos = source.videos()
    for first in range(0, len(videos), ENTERED):
        some = videos[first : first + ENTERED]
        index.add(Entry(as_path(video.path), video.label, video.split, video.group) for video in some)
        index.adopt(source.path)


def _encode(folder: Path, encoder: Encoder, engine: str, shard: int, progress: Progress | None) -> None:
    """Encode what is not encoded yet, fit the space where it is time, and bring the index up to date."""
    rows, manifest = SegmentTable(Index(folder / "rows.sqlite"), create=True), read_manifest(folder)
    _bury(folder, rows, manifest["dim"], rows.stale(), forget=False)
    space, stamp, dim = rows.space, rows.stamp(), manifest["dim"]
    vectors, path = (
        Vectors(_file(folder, "vectors", stamp.generation), dim, stamp.held),
        _file(folder, "raw", stamp.generation),
    )
    raw = Vectors(path, dim, stamp.held) if path.exists() else None
    done = rows.done()
    todo = [video for video in rows.index.videos() if video.id not in done]
    found = encode_in_shards(encoder, todo, folder, engine, shard)
    for number, _ in enumerate(_append(rows, found, vectors, raw), 1):
        (progress or silent)("encoding", number, len(todo))
    if not len(vectors):
        raise DataError(f"no video of {folder} could be read; see what is wrong with: ssvid index VIDEOS")
    if space is None:
        _move(folder, rows, vectors, manifest["space"])
    elif raw is not None and _outgrown(rows.fitted, len(raw)):
        if progress:
            progress(f"fitting the space anew, so far of {rows.fitted} vectors", len(raw), len(raw))
        _move(folder, rows, raw, manifest["space"])
    _index(Collection(folder, encoder), progress)


def _append(rows: SegmentTable, found: Iterable[Encoded], vectors: Vectors, raw: Vectors | None) -> Iterator[None]:
    """Enter videos as they come, behind the vectors that are there. raw: where they are kept as the network gives them."""
    space = rows.space
    for video, made, spans, reason in found:
        if reason:
            rows.index.set_bad(video.id, reason)
        else:
            first = len(vectors)
            if raw is not None:
                raw.append(made)
            vectors.append(made if space is None else space(made))
            rows.enter(video, spans, first)
        yield


def _outgrown(fitted: int, count: int) -> bool:
    """Whether a space that was fitted on `fitted` rows should be fitted anew on `count`."""
    return count >= FEW and (fitted < FEW or count >= GROWN * fitted)


def _move(folder: Path, rows: SegmentTable, raw: Vectors, how: str) -> None:
    """Write the vectors anew in a space fitted on them. raw: as the network gives them; they are kept until there are `SETTLED`."""
    generation = rows.generation + 1
    fitted = LONGEST if how == "whiten" and min(len(raw), raw.dim) > LONGEST else len(raw)
    blocks = (block for _, block in raw.blocks(0, fitted))
    space = Whitening.fit(blocks, fitted, raw.dim, how if len(raw) >= FEW else "raw")
    vectors, copy = (Vectors(_file(folder, what, generation), raw.dim) for what in ("vectors", "raw"))
    copy.path.unlink(missing_ok=True)  # of a call that was killed
    for _, block in raw.blocks():
        vectors.append(space(block))
        if how != "raw" and len(raw) < SETTLED:
            copy.append(block)
    rows.moved(space, fitted)
    _sweep(folder, generation)


def _bury(folder: Path, rows: SegmentTable, dim: int, videos: set[int], forget: bool) -> None:
    """Leave the vectors of `videos` dead, and write the others anew where the dead are many or the file is small."""
    if videos:
        rows.bury(videos, forget)
    before = rows.stamp()
    if not before.dead or (before.held > SMALL and before.dead <= DEAD * before.held):
        return
    with rows.without_dead() as living:
        for what in ("vectors", "raw"):
            path, fresh = (_file(folder, what, generation) for generation in (before.generation, before.generation + 1))
            fresh.unlink(missing_ok=True)  # of a call that was killed
            if path.exists():
                _copy_rows(Vectors(path, dim, before.held), living, Vectors(fresh, dim))
    _sweep(folder, before.generation + 1)


def _copy_rows(source: Vectors, chosen: np.ndarray, target: Vectors) -> None:
    for first, block in source.blocks():
        low, high = np.searchsorted(chosen, (first, first + len(block)))
        target.append(block[chosen[low:high] - first])


def _index(collection: Collection, progress: Progress | None) -> None:
    """Make or extend the index where the vectors outside it are many."""
    if collection.kind == "exact":
        return
    outside = len(collection) - collection.nearest.covered
    if outside > ann.TAIL * len(collection):
        ann.grow(collection.kind, collection.vectors, index_folder(collection), progress)
        collection.__dict__.pop("nearest")


def _file(folder: Path, what: str, generation: int) -> Path:
    return folder / f"{what}-{generation}.f32"


def _sweep(folder: Path, generation: int) -> None:
    """Delete the files of other generations."""
    for path in [*folder.glob("vectors-*.f32"), *folder.glob("raw-*.f32"), *folder.glob("index-*-*")]:
        if int(path.stem.split("-")[1]) != generation:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
