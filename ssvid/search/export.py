"""A collection handed to another system, so that whoever outgrows this one need not encode again: Parquet, Lance, or a Qdrant service.

Each row is a segment: path, label, group, seconds from and to, and the vector as this collection compares it, of length 1, so that the
cosine or the inner product there gives the order that an exact search gives here. Rows of removed videos are left out.
"""

from __future__ import annotations

import importlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssvid.errors import ConfigError, DataError, SsvidError
from ssvid.files import atomic, printable
from ssvid.progress import Progress, silent
from ssvid.search.collection import Collection
from ssvid.search.segment_table import Segment
from ssvid.search.store import unit

AT_ONCE = 4096  # rows written, or sent, at once
MODULES = {"parquet": "pyarrow", "lance": "lance", "qdrant": "qdrant_client"}


class RowBlock(NamedTuple):
    """Living rows of a collection: their positions, what they are of, and vectors of length 1, float32 (n,D)."""

    positions: list[int]
    segments: list[Segment]
    vectors: np.ndarray


def export(
    collection: Collection, to: str, target: str, *, name: str | None = None, progress: Progress | None = None
) -> int:
    """Write all rows of a collection elsewhere, a block at a time; returns how many. What is at the target under that name is replaced.

    to: parquet (target: a file), lance (a folder) or qdrant (the address of a service, as http://localhost:6333, or a folder for its
    local mode). name: of the Qdrant collection; None: the folder's name. An API key is read from $QDRANT_API_KEY.
    Raises ConfigError for another word and where the library is not installed, DataError where the collection is changed meanwhile,
    SsvidError where the target cannot be written.
    """
    if to not in MODULES:
        raise ConfigError(f"a collection cannot be exported to {to!r}; there are: {', '.join(MODULES)}")
    try:
        importlib.import_module(MODULES[to])
    except ImportError as error:
        raise ConfigError(f"an export to {to} needs {MODULES[to]}: pip install 'ssvid[export]'") from error
    if name is not None and to != "qdrant":
        raise ConfigError("a name is that of a Qdrant collection; it goes with --to qdrant")
    if to == "parquet":
        return _to_parquet(collection, Path(target), progress or silent)
    if to == "lance":
        return _to_lance(collection, Path(target), progress or silent)
    return _to_qdrant(collection, target, name or collection.folder.resolve().name, progress or silent)


def blocks(collection: Collection, progress: Progress = silent) -> Iterator[RowBlock]:
    """All living rows in the order of the file, a few thousand at a time: memory does not grow with the collection."""
    collection.refresh()
    vectors, generation, total = collection.vectors, collection.generation, len(collection.vectors)
    for start in range(0, total, AT_ONCE):
        stop = min(start + AT_ONCE, total)
        found = collection.rows.places(np.arange(start, stop))
        if collection.rows.generation != generation:
            raise DataError(f"{collection.folder} was changed while it was exported; export it again")
        positions = sorted(found)
        made = np.concatenate([block for _, block in vectors.blocks(start, stop)])
        progress("exporting", stop, total)
        if positions:
            chosen = unit(made[np.array(positions) - start])
            yield RowBlock(positions, [found[position] for position in positions], chosen)


def _table(rows: RowBlock) -> Any:
    import pyarrow as pa

    flat = pa.array(rows.vectors.ravel(), pa.float32())
    text = {"path": [printable(one.path) for one in rows.segments]}
    text |= {what: [getattr(one, what) for one in rows.segments] for what in ("label", "group")}
    columns = {what: pa.array(values, pa.string()) for what, values in text.items()}
    columns |= {
        what: pa.array([getattr(one, what) for one in rows.segments], pa.float64()) for what in ("start", "end")
    }
    columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, rows.vectors.shape[1])
    return pa.table(columns)


def _schema(dim: int) -> Any:
    return _table(RowBlock([], [], np.zeros((0, dim), np.float32))).schema


def _to_parquet(collection: Collection, target: Path, progress: Progress) -> int:
    from pyarrow import parquet

    count = 0
    with atomic(target) as temporary, parquet.ParquetWriter(temporary, _schema(collection.manifest["dim"])) as writer:
        for rows in blocks(collection, progress):
            writer.write_table(_table(rows))
            count += len(rows.positions)
    return count


def _to_lance(collection: Collection, target: Path, progress: Progress) -> int:
    """The folder appears under its name when all is in it. Raises DataError for a folder of something else."""
    import lance

    if target.exists() and not (target / "_versions").is_dir():
        raise DataError(f"{target} is there and no Lance data set; name another folder with -o")
    schema, count = _schema(collection.manifest["dim"]), 0

    def batches() -> Iterator[Any]:
        nonlocal count
        for rows in blocks(collection, progress):
            count += len(rows.positions)
            yield from _table(rows).to_batches()

    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    temporary = target.absolute().with_name(f".{uuid.uuid4().hex}.lance")
    try:
        lance.write_dataset(batches(), os.fspath(temporary), schema=schema)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return count


def _to_qdrant(collection: Collection, target: str, name: str, progress: Progress) -> int:
    from qdrant_client import QdrantClient, models

    place = {"url": target, "api_key": os.environ.get("QDRANT_API_KEY")} if "://" in target else {"path": target}
    count = 0
    try:
        client = QdrantClient(**place)
        if client.collection_exists(name):
            client.delete_collection(name)
        size = collection.manifest["dim"]
        client.create_collection(name, models.VectorParams(size=size, distance=models.Distance.COSINE))
        for rows in blocks(collection, progress):
            payload = [
                {
                    "path": printable(one.path),
                    "label": one.label,
                    "group": one.group,
                    "start": one.start,
                    "end": one.end,
                }
                for one in rows.segments
            ]
            client.upload_collection(name, rows.vectors, payload, rows.positions, wait=True)
            count += len(rows.positions)
        client.close()
    except SsvidError:
        raise
    except Exception as error:  # its transports raise kinds of many libraries
        raise SsvidError(f"Qdrant at {target.rpartition('@')[2]} does not take the rows ({error})") from error
    return count
