"""Vectors of many videos, made in shards: here one after the other, or wherever an engine runs, with the same vectors bit for bit.

A shard is the videos of `SHARD` neighbouring ids. It is encoded on its own wherever that happens, so that the same clips share the forward
passes. A task of an engine writes its shard as one file, whole or not at all, in the folder `shards` of the collection, which all machines
must see; the process that changes the collection gathers the files in order and deletes them. A lost worker costs its shard, two workers on
one shard write the same file, and after a stop what is there is not encoded again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from ssvid.data.video_record import VideoRecord
from ssvid.engine import check_engine, executor, local_processes
from ssvid.errors import DataError, VideoError
from ssvid.evaluation.features import View
from ssvid.files import atomic
from ssvid.search.encode import Encoder, Unit, open_encoder

SHARD = 256  # videos; fewer make a fresh process for decoding, and a forward pass that is not full, count


class Encoded(NamedTuple):
    """A video: its vectors (R,D) and their seconds from and to (R,2); or, with neither, the reason why it cannot be read."""

    video: VideoRecord
    vectors: np.ndarray
    spans: np.ndarray
    reason: str = ""


@dataclass(frozen=True)
class Shard:
    """A task: what to encode, with what, and the file that holds the result. model, unit, view, device, workers, key: as of `Encoder`."""

    path: Path
    videos: Sequence[VideoRecord]
    model: str
    unit: Unit
    view: View
    device: str
    workers: int
    key: str


def encode_in_shards(
    encoder: Encoder, videos: Sequence[VideoRecord], folder: Path, engine: str = "local:1", size: int = SHARD
) -> Iterator[Encoded]:
    """Every video, encoded or with the reason why not, in the order of ids. folder: of the collection. size: ids a shard.

    Raises SsvidError where a process was lost for good, DataError where a worker opens other weights by the model's name.
    """
    check_engine(engine)
    groups = groupby(sorted(videos, key=lambda video: video.id), lambda video: video.id // size)
    kept = folder / "shards"
    spec = (encoder.model, encoder.unit, encoder.view, encoder.device, encoder.workers, encoder.key)
    shards = [Shard(kept / f"{number}-{encoder.key}.npz", list(some), *spec) for number, some in groups]
    if local_processes(engine) == 1:
        for shard in shards:
            yield from read_shard(shard) or readable(encoder, shard.videos)
    else:
        yield from _gathered(shards, engine)
    shutil.rmtree(kept, ignore_errors=True)


def _gathered(shards: Sequence[Shard], engine: str) -> Iterator[Encoded]:
    with executor(engine) as pool:
        todo = [shard for shard in shards if read_shard(shard) is None]
        tasks = {shard.path: pool.submit(write_shard, shard) for shard in todo}
        for shard in shards:
            if shard.path in tasks:
                tasks.pop(shard.path).result()
            found = read_shard(shard)
            if found is None:
                raise DataError(
                    f"{shard.path} was written elsewhere and is not here; all machines must see {shard.path.parent}"
                )
            yield from found


def write_shard(shard: Shard) -> None:
    """Encode a shard and write its file; a shard that is there is left as it is."""
    if read_shard(shard) is not None:
        return
    found = list(
        readable(_opened(shard.model, shard.unit, shard.view, shard.device, shard.workers, shard.key), shard.videos)
    )
    arrays = {
        "marks": np.array([_mark(one.video) for one in found]),
        "reasons": np.array([one.reason for one in found]),
        "counts": np.array([len(one.spans) for one in found]),
        "vectors": np.concatenate([one.vectors for one in found if not one.reason] or [np.zeros((0, 0), np.float32)]),
        "spans": np.concatenate([one.spans for one in found]),
    }
    with atomic(shard.path) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the keywords for allow_pickle


def read_shard(shard: Shard) -> list[Encoded] | None:
    """What the file of a shard says of its videos; None where there is none, or it does not hold each of them as they are now."""
    try:
        with (
            shard.path.open("rb") as opened,
            np.load(opened, allow_pickle=False) as file,
        ):  # numpy leaves a damaged one open
            held = {name: file[name] for name in file.files}
    except FileNotFoundError:
        return None
    except (BadZipFile, ValueError, EOFError):  # damaged: written anew
        return None
    places = {mark: number for number, mark in enumerate(held["marks"].tolist())}
    ends = np.cumsum(held["counts"])
    found = []
    for video in shard.videos:
        number = places.get(_mark(video))
        if number is None:
            return None
        rows = slice(int(ends[number] - held["counts"][number]), int(ends[number]))
        found.append(Encoded(video, held["vectors"][rows], held["spans"][rows], str(held["reasons"][number])))
    return found


def readable(encoder: Encoder, videos: Sequence[VideoRecord]) -> Iterator[Encoded]:
    """Encode videos; one that cannot be read is given with the reason, and the others come all the same."""
    todo = list(videos)
    while todo:
        entered = 0
        try:
            for video, vectors, spans in encoder.encode(todo):
                entered += 1
                yield Encoded(video, vectors, spans)
        except VideoError as error:
            bad = next(video for video in todo if error.path in (video.path, video.source.path))
            yield Encoded(bad, np.zeros((0, 0), np.float32), np.zeros((0, 2)), error.reason)
            todo.remove(bad)
        todo = todo[entered:]


def _mark(video: VideoRecord) -> str:
    """Changes with the file, what is decoded in its place, and what is masked."""
    hidden = b"" if video.hidden is None else video.hidden.tobytes()
    names = os.fsencode(video.path) + b"\0" + os.fsencode(video.source.path) + b"\0" + video.info.identity.encode()
    return hashlib.sha256(names + b"\0" + hidden).hexdigest()


@lru_cache(1)
def _opened(model: str, unit: Unit, view: View, device: str, workers: int, key: str) -> Encoder:
    """The encoder of a task, opened once a process. Raises DataError where the model's name means other weights here."""
    encoder = open_encoder(model, unit, view, device, workers)
    if encoder.key != key:
        raise DataError(
            f"{model} opens other weights ({encoder.key}) in a worker than here ({key}); with --engine, name a run or a model that every "
            "machine opens alike"
        )
    return encoder
