"""Vectors on disk: one flat float32 file that only grows, read by memory map.

The file knows its dimension only; how many of its vectors count is for the owner to say, who says so after they are on the disk. What a
killed writer left behind that count is overwritten by the next one, so nothing is ever half there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ssvid.errors import DataError
from ssvid.files import writing

BLOCK = 1 << 25  # bytes read or written at once


class Vectors:
    """A file of float32 vectors (N,D). dim: D. count: N, how many of the file's vectors are valid.

    Raises DataError where the file holds fewer.
    """

    def __init__(self, path: str | os.PathLike[str], dim: int, count: int = 0) -> None:
        self.path = Path(path)
        self.dim = dim
        self.count = count
        held = self.path.stat().st_size // self._row if self.path.exists() else 0
        if held < count:
            raise DataError(
                f"{self.path} holds {held} vectors of {count}; the file is damaged, so build the collection again"
            )

    def __len__(self) -> int:
        return self.count

    @property
    def rows_at_once(self) -> int:
        """Vectors in a block, at least one."""
        return max(1, BLOCK // self._row)

    def append(self, vectors: np.ndarray) -> None:
        """Write vectors (n,D) behind the valid ones; on the disk when this returns.

        Raises DataError for another D or a vector that is not finite.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise DataError(
                f"vectors of shape {vectors.shape} do not fit into {self.path}, which holds vectors of {self.dim}"
            )
        if not np.isfinite(vectors).all():
            raise DataError(f"a vector for {self.path} is not finite; the weights or the video are damaged")
        with writing(self.path), self.path.open("r+b" if self.path.exists() else "w+b") as file:
            file.seek(self.count * self._row)
            file.write(np.ascontiguousarray(vectors, np.float32).data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        self.count += len(vectors)

    def array(self) -> np.ndarray:
        """The valid vectors (N,D), mapped and not read."""
        if not self.count:
            return np.zeros((0, self.dim), np.float32)
        return np.memmap(self.path, np.float32, "r", shape=(self.count, self.dim))

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """(position of the first, vectors (n,D)) from `start` to `stop`, read a block at a time: memory does not grow with the file."""
        stop = self.count if stop is None else min(stop, self.count)
        with self.path.open("rb") as file:
            file.seek(start * self._row)
            for first in range(start, stop, self.rows_at_once):
                rows = min(self.rows_at_once, stop - first)
                yield first, np.fromfile(file, np.float32, rows * self.dim).reshape(rows, self.dim)

    def sample(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """At most `size` of the vectors (n,D), drawn evenly from the whole file."""
        chosen = np.sort(rng.choice(self.count, min(size, self.count), replace=False))
        drawn = np.empty((len(chosen), self.dim), np.float32)
        for first, block in self.blocks():
            low, high = np.searchsorted(chosen, (first, first + len(block)))
            drawn[low:high] = block[chosen[low:high] - first]
        return drawn

    @property
    def _row(self) -> int:
        return 4 * self.dim


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (N,D) of length 1, float32; one of length 0 stays 0."""
    result: np.ndarray = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)).astype(
        np.float32
    )
    return result
