"""Filling an index: scan videos in parallel, write training copies, go on where a killed call stopped.

Every file is decoded once in a guarded child process, so that a decoder that crashes or hangs spoils no other row.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ssvid.data.copy_shards import shard_jobs, write_copies
from ssvid.data.index import VERSION, Index
from ssvid.data.layouts import place_of, read_layout
from ssvid.data.video_record import VideoRecord
from ssvid.engine import check_engine, executor, local_processes
from ssvid.errors import DataError, VideoError
from ssvid.files import cache_folder, printable, writing
from ssvid.progress import Progress
from ssvid.video.guard import Guard
from ssvid.video.info import VideoInfo
from ssvid.video.info import short_side as short_side_of
from ssvid.video.location import exists, local_file
from ssvid.video.raw import keep_raw
from ssvid.video.remote import RemoteError
from ssvid.video.scan import STALL, scan
from ssvid.video.transcode import transcode

LIMIT = 600.0  # seconds that scanning one file may take
INDEX_SUFFIXES = (".sqlite", ".db", ".index")
LEAST_ROOM = 1 << 20  # bytes free on a disk under which it counts as full
SHARD = 32  # files that a worker of a cluster takes at once

ScanJob = tuple[Any, ...]  # (id, path, ...)
Work = Callable[[Guard, ScanJob, float], Any]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """What a scan leaves: usable and bad files in the index, and how many were looked at by this call."""

    usable: int
    bad: int
    scanned: int


def scan_videos(
    sources: Sequence[str | os.PathLike[str]],
    index: Index,
    *,
    root: str | os.PathLike[str] | None = None,
    engine: str = "local",
    limit: float = LIMIT,
    progress: Progress | None = None,
) -> Summary:
    """Enter the videos of all sources and scan those that are new, changed or left over; what left its sources is left out of use.

    sources: as `read_layout` takes them. engine: where they are scanned, see `ssvid.engine`; processes are children that
    may die. limit: seconds a file may take.
    progress: called after every file.
    """
    _enter(sources, index, root)
    return _scan_todo(index, engine, limit, progress)


def write_training_copies(
    index: Index,
    folder: str | os.PathLike[str],
    *,
    short_side: int = 160,
    raw: bool = False,
    shard: int = 0,
    engine: str = "local",
    limit: float = 3600.0,
    progress: Progress | None = None,
) -> int:
    """Write a small, quick-to-seek training copy of every usable video that has none of this kind and size; returns how many were written.

    raw: keep decoded frames instead of H.264, for small collections: 3 bytes a pixel and frame. shard: videos whose copies share a file, a
    tar (see `ssvid.data.copy_shards`); 0: a file each.
    A copy holds the same frames at the same times. Where one does not, or cannot be written, a warning says so and the original stays in
    use. Raises DataError where the folder cannot be written or its disk is full.
    """
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with writing(folder), tempfile.TemporaryFile(dir=folder):  # else every video would fail on its own
        pass
    records = {record.id: record for record in index.videos()}
    suffix = ".npy" if raw else ".mp4"
    jobs = [
        (id, record.path, str(folder / copy_name(record.path, record.info.identity, suffix)), record.info, short_side)
        for id, record in records.items()
        if not _has_copy(record, suffix, short_side)
    ]
    written = 0
    for made in _copies(_keep_one if raw else _copy_one, jobs, shard, engine, limit, progress):
        if shutil.disk_usage(folder).free < LEAST_ROOM:
            raise DataError(f"the disk of {folder} is full; make room there, and the same command goes on")
        good = {}
        for id, path, result in made:
            if fault := _fault(result, records[id].info):
                logger.warning("%s: has no training copy and is read itself: %s", printable(path), printable(fault))
            else:
                good[id] = result
        index.set_copies(good)
        written += len(good)
    return written


def _copies(
    make: Work, jobs: Sequence[ScanJob], shard: int, engine: str, limit: float, progress: Progress | None
) -> Iterator[list[tuple[int, str, Any]]]:
    """(id, path, copy or VideoError) of the copies as they are made: one by one, or those of a shard."""
    if not shard:
        yield from ([made] for made in _guarded(make, jobs, engine, limit, "copying", progress))
        return
    work = partial(_copy_shard, make)
    for _, tar, made in _guarded(work, shard_jobs(jobs, shard), engine, limit, "copying", progress):
        if isinstance(made, VideoError):
            raise DataError(f"{tar} cannot be written: {made.reason}; see to that disk, and the same command goes on")
        yield made


def _copy_shard(make: Work, guard: Guard, job: ScanJob, limit: float) -> Any:
    _, tar, jobs = job
    return write_copies(make, guard, tar, jobs, limit)


def _has_copy(record: VideoRecord, suffix: str, size: int) -> bool:
    """Whether a video has a training copy of this kind and size, and it is still there."""
    copy, info = record.copy, record.info
    if copy is None or Path(copy.path).suffix != suffix or not exists(copy.path):
        return False
    height, width = short_side_of(info.height, info.width, min(size, info.height, info.width))
    return 0 <= copy.height - height <= 1 and 0 <= copy.width - width <= 1  # H.264 wants even sides


def _fault(copy: VideoInfo | VideoError, original: VideoInfo) -> str:
    """Why a copy cannot be used, "" where it can."""
    if isinstance(copy, VideoError):
        return copy.reason
    if copy.frames != original.frames:
        return f"{copy.path} has {copy.frames} frames instead of {original.frames}"
    return "" if copy.seek else f"{copy.path} cannot be read at random"


def copy_name(path: str, identity: str, suffix: str = ".mp4") -> str:
    """File name of a copy: readable, and unique for the original's whole path and for what lies there (see `ssvid.video.identity`)."""
    digest = hashlib.sha256(os.fsencode(path) + identity.encode()).hexdigest()[:10]
    stem = printable(Path(path).stem).encode()[:200].decode(errors="ignore")  # a name has 255 bytes at most
    return f"{stem}-{digest}{suffix}"


def open_data(sources: Sequence[str | os.PathLike[str]], progress: Progress | None = None) -> Index:
    """The index that `sources` mean: an index file, or folders, lists and videos, scanned now into one that is kept in the cache.

    Raises DataError when nothing usable is there.
    """
    if not sources:
        raise DataError("no data given; name an index or a folder of videos with --data")
    indexes = [source for source in sources if Path(source).suffix in INDEX_SUFFIXES and not Path(source).is_dir()]
    if indexes and len(sources) > 1:
        raise DataError(
            f"{indexes[0]} is an index and can only be read alone; make one of all: ssvid index FOLDER FOLDER -o all.sqlite"
        )
    if indexes:
        index = Index(indexes[0])
    else:
        index = _kept_index(sources)
        _scan_todo(index, "local", LIMIT, progress)
    if not index:
        bad = index.bad()
        reason = f", {len(bad)} bad files, the first: {bad[0].path}: {bad[0].reason}" if bad else ""
        raise DataError(f"no usable video in {', '.join(map(str, sources))}{reason}")
    return index


def _enter(sources: Sequence[str | os.PathLike[str]], index: Index, root: str | os.PathLike[str] | None = None) -> None:
    for source in sources:
        index.enter(place_of(source)[0], read_layout(source, root))
    index.leave_out_gone()


def _kept_index(sources: Sequence[str | os.PathLike[str]]) -> Index:
    """The index of these sources in the cache; it shares its scans with those of the same videos under other options.

    Each has a file of its own: two runs on two splits of one data set may go on side by side.
    """
    places, options = zip(*map(place_of, sources), strict=True)
    # what another version of ssvid kept does not fit
    videos, variant = (
        hashlib.sha256(json.dumps([VERSION, part]).encode()).hexdigest()[:16] for part in (places, options)
    )
    folder = cache_folder() / "indexes"
    path = folder / (f"{videos}-{variant}.sqlite" if any(options) else f"{videos}.sqlite")
    index = Index(path, create=True)
    _enter(sources, index)
    for other in sorted(folder.glob(f"{videos}*.sqlite")):
        if other != path:
            index.adopt(other)
    return index


def _scan_todo(index: Index, engine: str, limit: float, progress: Progress | None) -> Summary:
    todo = index.todo()
    for id, _, result in _guarded(_scan_one, todo, engine, limit, "scanning", progress):
        if isinstance(result, VideoError):
            index.set_bad(id, result.reason, again=isinstance(result, RemoteError))
        else:
            index.set_scanned(id, *result)
    return Summary(len(index), len(index.bad()), len(todo))


def _scan_one(guard: Guard, job: ScanJob, limit: float) -> Any:
    return scan(job[1], limit, guard=guard)


def _copy_one(guard: Guard, job: ScanJob, limit: float) -> Any:
    _, path, target, info, short_side = job
    with local_file(path, info.identity) as file:
        guard.run(transcode, file, target, info, short_side, limit=limit, stall=STALL)
    return scan(target, limit, guard=guard)[0]


def _keep_one(guard: Guard, job: ScanJob, limit: float) -> Any:
    _, path, target, info, short_side = job
    with local_file(path, info.identity) as file:
        return guard.run(keep_raw, file, target, info, short_side, limit=limit, stall=STALL)


def _guarded(
    work: Work, jobs: Sequence[ScanJob], engine: str, limit: float, what: str, progress: Progress | None
) -> Iterator[tuple[int, str, Any]]:
    """Run `work` on jobs (id, path, ...) in guarded processes, here or on a cluster; yields (id, path, result or VideoError)."""
    processes = local_processes(check_engine(engine))
    results = _guarded_local(work, jobs, processes, limit) if processes else _guarded_shards(work, jobs, engine, limit)
    for done, result in enumerate(results, 1):
        yield result
        if progress:
            progress(what, done, len(jobs))


def _guarded_shards(work: Work, jobs: Sequence[ScanJob], engine: str, limit: float) -> Iterator[tuple[int, str, Any]]:
    """On a cluster, in shards: a worker that is lost costs its shard."""
    with executor(engine) as pool:
        shards = [jobs[start : start + SHARD] for start in range(0, len(jobs), SHARD)]
        for done in as_completed([pool.submit(_shard, work, shard, limit) for shard in shards]):
            yield from done.result()


def _shard(work: Work, jobs: Sequence[ScanJob], limit: float) -> list[tuple[int, str, Any]]:
    return list(_guarded_by(work, jobs, [_worker_guard()], limit))


@lru_cache(maxsize=1)
def _worker_guard() -> Guard:
    """The child of this worker, for all shards that it takes, since a child takes as long to start as a few files to scan. It ends with
    the worker, at the other end of its pipe."""
    return Guard()


def _guarded_local(work: Work, jobs: Sequence[ScanJob], processes: int, limit: float) -> Iterator[tuple[int, str, Any]]:
    """On this machine, in this many child processes."""
    with ExitStack() as owned:
        guards = [owned.enter_context(Guard()) for _ in range(min(processes, len(jobs)))]
        yield from _guarded_by(work, jobs, guards, limit)


def _guarded_by(
    work: Work, jobs: Sequence[ScanJob], owned: Sequence[Guard], limit: float
) -> Iterator[tuple[int, str, Any]]:
    guards: SimpleQueue[Guard] = SimpleQueue()
    for guard in owned:
        guards.put(guard)

    def one(job: ScanJob) -> Any:
        guard = guards.get()
        try:
            return work(guard, job, limit)
        except VideoError as error:
            return error
        except OSError as error:  # the file vanished or its disk failed between two looks
            return VideoError(job[1], (error.strerror or str(error)).lower())
        finally:
            guards.put(guard)

    pool = ThreadPoolExecutor(max(1, len(owned)))
    try:
        futures = {pool.submit(one, job): job for job in jobs}
        for future in as_completed(futures):
            id, path = futures[future][:2]
            yield id, path, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
