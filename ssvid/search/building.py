"""Making a collection and changing it: every step can be killed, and the same call goes on.

A video is entered in one transaction after its vectors are on the disk. What changes positions (the end of the first build, removing)
writes a new file of vectors and makes it valid in the transaction that changes the rows.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ssvid.data.index import Index, VideoRecord
from ssvid.data.layouts import Entry
from ssvid.data.scanning import open_data
from ssvid.errors import DataError, VideoError
from ssvid.files import write_json
from ssvid.progress import Progress
from ssvid.search import ann
from ssvid.search.collection import VERSION, Collection, check_weights, index_folder, read_manifest
from ssvid.search.encode import Encoder, video_segments
from ssvid.search.segment_table import SegmentTable
from ssvid.search.store import Vectors
from ssvid.search.whitening import Whitening, checked_space

logger = logging.getLogger(__name__)
FEW = 16  # rows under which their mean and their directions say nothing, so that they are compared as they come


def build(
    folder: str | os.PathLike[str],
    data: Sequence[str | os.PathLike[str]],
    encoder: Encoder,
    *,
    kind: str = "auto",
    space: str = "centre",
    progress: Progress | None = None,
) -> Collection:
    """Make a collection of videos, or go on with one that was stopped, or bring one up to date.

    data: as `open_data` takes it, an index or what to scan. kind: exact, hnsw, ivfpq, or auto, by size. space: how vectors are
    compared, as the first build's vectors lie: raw, centre (less their mean, so that what all videos share does not count) or whiten.
    Raises DataError for a folder of other weights and where no video can be used, ConfigError for an unknown kind or space.
    """
    folder = Path(folder)
    if kind != "auto":
        ann.checked_kind(kind)
    checked_space(space)
    source = open_data(data, progress)
    if (folder / "manifest.json").exists():
        manifest = read_manifest(folder)
        encoder = replace(encoder, view=replace(encoder.view, fps=encoder.view.fps or manifest["view"]["fps"]))
        check_weights(folder, manifest, encoder)
    else:
        encoder = _start(folder, source, encoder, kind, space)
    _enter(Index(folder / "rows.sqlite", create=True), source)
    _encode(folder, encoder, progress)
    return Collection(folder, encoder)


def add(collection: Collection, data: Sequence[str | os.PathLike[str]], progress: Progress | None = None) -> Collection:
    """The collection with more videos in it."""
    return build(collection.folder, data, collection.encoder, progress=progress)


def remove(collection: Collection, paths: Sequence[str | os.PathLike[str]]) -> Collection:
    """The collection without these videos. Raises DataError naming one that is not in it."""
    ids = [collection.id_of(path) for path in paths]
    if None in ids:
        raise DataError(f"{paths[ids.index(None)]} is not in {collection.folder}")
    chosen = {id for id in ids if id is not None}
    _drop(collection.folder, collection.rows, collection.manifest["dim"], chosen, forget=True)
    fresh = Collection(collection.folder)
    _index(fresh, None)
    return fresh


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
    index.add(Entry(Path(video.path), video.label, video.split, video.group) for video in videos)
    index.adopt(source.path)


def _encode(folder: Path, encoder: Encoder, progress: Progress | None) -> None:
    """Encode what is not encoded yet, fix the space at the end of the first build, and bring the index up to date."""
    rows, manifest = SegmentTable(Index(folder / "rows.sqlite"), create=True), read_manifest(folder)
    if stale := rows.stale():
        _drop(folder, rows, manifest["dim"], stale, forget=False)
    if _uncentred(rows, manifest) and len(rows.index) >= FEW:
        _begin_anew(folder, rows, manifest)
    space, done = rows.space, rows.done()
    vectors = Vectors(folder / f"vectors-{rows.generation}.f32", manifest["dim"], len(rows))
    todo = [video for video in rows.index.videos() if video.id not in done]
    total = len(todo)
    while todo:
        try:
            for video, raw, spans in encoder.encode(todo):
                first = len(vectors)
                vectors.append(raw if space is None else space(raw))
                rows.enter(video, spans, first)
                todo = todo[1:]
                if progress:
                    progress("encoding", total - len(todo), total)
        except VideoError as error:
            bad = next(video for video in todo if error.path in (video.path, video.source.path))
            rows.index.set_bad(bad.id, error.reason)
            todo.remove(bad)
    if not len(vectors):
        raise DataError(f"no video of {folder} could be read; see what is wrong with: ssvid index VIDEOS")
    if space is None:
        _move(folder, rows, vectors, manifest["space"])
    elif _uncentred(rows, manifest) and len(vectors) >= FEW:
        _begin_anew(folder, rows, manifest)
        _encode(folder, encoder, progress)
        return
    _index(Collection(folder, encoder), progress)


def _uncentred(rows: SegmentTable, manifest: dict[str, Any]) -> bool:
    """Whether the first build had too few rows for the space that was asked for, so that vectors lie as they came."""
    space = rows.space
    return manifest["space"] != "raw" and space is not None and space.axes is None and not space.centre.any()


def _begin_anew(folder: Path, rows: SegmentTable, manifest: dict[str, Any]) -> None:
    """Encode the few videos again together with the new ones, since what they lack in their vectors' length decides the centre."""
    logger.warning(
        "%s has grown enough for the space %s, which is fitted now; scores change, since it was too small for one before",
        folder,
        manifest["space"],
    )
    rows.begin_anew()
    _sweep(folder, rows.generation)


def _move(folder: Path, rows: SegmentTable, raw: Vectors, how: str) -> None:
    """Rewrite the first build's vectors in the space they are compared in."""
    how = how if len(raw) >= FEW else "raw"
    space = Whitening.fit((block for _, block in raw.blocks()), len(raw), raw.dim, how)
    vectors = Vectors(folder / f"vectors-{rows.generation + 1}.f32", raw.dim)
    for _, block in raw.blocks():
        vectors.append(space(block))
    rows.moved(space)
    _sweep(folder, rows.generation)


def _drop(folder: Path, rows: SegmentTable, dim: int, videos: set[int], forget: bool) -> None:
    """Rewrite the vectors without those of `videos`."""
    generation = rows.generation
    before = Vectors(folder / f"vectors-{generation}.f32", dim, len(rows))
    with rows.without(videos, forget) as kept:
        after = Vectors(folder / f"vectors-{generation + 1}.f32", dim)
        for first, block in before.blocks():
            low, high = np.searchsorted(kept, (first, first + len(block)))
            after.append(block[kept[low:high] - first])
    _sweep(folder, generation + 1)


def _index(collection: Collection, progress: Progress | None) -> None:
    """Make or extend the index where the vectors outside it are many."""
    if collection.kind == "exact":
        return
    outside = len(collection) - collection.nearest.covered
    if outside > ann.TAIL * len(collection):
        ann.grow(collection.kind, collection.vectors, index_folder(collection), progress)
        collection.__dict__.pop("nearest")


def _sweep(folder: Path, generation: int) -> None:
    """Delete the files of other generations."""
    for path in [*folder.glob("vectors-*.f32"), *folder.glob("index-*-*")]:
        if int(path.stem.split("-")[1]) != generation:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
