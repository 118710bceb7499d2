"""The vectors nearest to a vector: exact by default, and through faiss where a collection is too large to read for every question.

The only file that imports faiss, after torch, since two OpenMP runtimes in the other order crash on macOS. Vectors have length 1, so the
inner product is the cosine. Three kinds, chosen by size:

- "exact": every vector is read, by memory map, a block at a time.
- "hnsw": a graph over vectors quantised to 8 bits a number; grown in memory, opened by memory map.
- "ivfpq": lists of product-quantised residuals, about 70 bytes a vector, trained on a sample and filled shard by shard. Every shard is a
  file that is searched where it lies, by memory map, so that neither making nor opening the index takes memory for all of it, and a
  stopped build goes on. (faiss's own `merge_ondisk` writes to stdout, and what it makes crashes under IO_FLAG_MMAP in faiss 1.15.)

The last two only propose: their candidates are scored again with the exact vectors from the memory map, and vectors that are not in the
index yet are searched exactly beside it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch  # noqa: F401  before faiss

import faiss as _faiss  # isort: skip

from ssvid.errors import ConfigError
from ssvid.files import atomic, writing
from ssvid.progress import Progress, silent
from ssvid.search.store import Vectors

faiss: Any = _faiss  # what SWIG makes is not what its stubs say
Kind = Literal["exact", "hnsw", "ivfpq"]

EXACT, GRAPH = 100_000, 250_000  # vectors up to which a kind is chosen
BLOCK = 1 << 16  # vectors scored at once
QUERIES = 256  # questions answered at once
LINKS, CONSTRUCTION = 32, 80  # of the graph: neighbours a vector, breadth of the search that finds them
SAMPLE = 100_000  # vectors that the lists are trained on
TRAINABLE = 1000  # vectors under which nothing but exact search is worth a thought
CODE = 64  # most bytes a vector in a list
SHARD = 1 << 17  # vectors a shard
CANDIDATES = 50  # proposals for every answer
LEAST = 500  # proposals, at least
TAIL = 0.1  # share of vectors outside the index from which it is made to hold them


def kind_for(count: int, wanted: str = "auto") -> Kind:
    """The kind for so many vectors: `wanted` where they are enough to train it, else by size."""
    if wanted != "auto":
        return checked_kind(wanted) if count >= TRAINABLE else "exact"
    return "exact" if count <= EXACT else "hnsw" if count <= GRAPH else "ivfpq"


def checked_kind(name: str) -> Kind:
    """The name, if it is a kind's. Raises ConfigError with the kinds there are."""
    for kind in get_args(Kind):
        if kind == name:
            result: Kind = kind
            return result
    raise ConfigError(f"there is no index kind {name!r}; there are: {', '.join(get_args(Kind))}")


NONE = np.zeros(0, np.int64)


class Nearest:
    """Search over vectors of length 1. folder: of the index over the first `covered` of them; where there is none, search is exact.

    dead: positions int64, ascending, that are never an answer, whether the index holds them or not.
    """

    def __init__(
        self, vectors: Vectors, kind: Kind = "exact", folder: Path | None = None, dead: np.ndarray = NONE
    ) -> None:
        self.vectors = vectors
        self.kind = kind
        self.dead = dead
        self._living = faiss.IDSelectorNot(faiss.IDSelectorBatch(dead)) if len(dead) else None
        opened: tuple[Any, list[Any]] = _open(kind, folder) if folder and kind != "exact" else (None, [])
        self._index, self._held = opened
        self.covered = int(self._index.ntotal) if self._index else 0

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest of each query (Q,D): cosines float32 (Q,k), best first, and positions int64 (Q,k); fewer than k where there
        are no more living vectors."""
        array, k = self.vectors.array(), min(k, len(self.vectors) - len(self.dead))
        queries = np.ascontiguousarray(queries, np.float32)
        wanted = min(max(k * CANDIDATES, LEAST), self.covered)
        if self._index is None or k * CANDIDATES > len(array):  # so many answers that reading all is no longer
            return exact(array, queries, k, dead=self.dead)
        found = self._index.search(queries, wanted, params=self._effort(wanted))[1]
        answers = [self._rescored(array, query, proposed, k) for query, proposed in zip(queries, found, strict=True)]
        if any(len(scores) < k for scores, _ in answers):  # the lists that were looked into hold too few
            return exact(array, queries, k, dead=self.dead)
        return np.stack([scores for scores, _ in answers]), np.stack([places for _, places in answers])

    def _effort(self, wanted: int) -> faiss.SearchParameters:
        if self.kind == "hnsw":
            return faiss.SearchParametersHNSW(efSearch=wanted, sel=self._living)
        return faiss.SearchParametersIVF(nprobe=probes(self._index.nlist), sel=self._living)

    def _rescored(
        self, array: np.ndarray, query: np.ndarray, proposed: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best of the proposed positions and of those that are not in the index, by exact inner products."""
        places = np.sort(proposed[proposed >= 0])  # in the order of the file
        scores = array[places] @ query
        if self.covered < len(array):
            beside, there = exact(array, query[None], k, self.covered, self.dead)
            scores, places = np.concatenate([scores, beside[0]]), np.concatenate([places, there[0]])
        order = np.argsort(-scores, kind="stable")[:k]
        return scores[order], places[order]


def exact(
    array: np.ndarray, queries: np.ndarray, k: int, start: int = 0, dead: np.ndarray = NONE
) -> tuple[np.ndarray, np.ndarray]:
    """The k largest inner products of queries (Q,D) with array (N,D) from row `start` on: scores (Q,k), positions (Q,k).

    dead: rows, ascending, that do not answer; there are fewer than k answers where fewer live.
    A matrix product a block, where faiss would use one core for one question.
    """
    k = min(k, len(array) - start - int((dead >= start).sum()))
    blocks = [queries[first : first + QUERIES] for first in range(0, len(queries), QUERIES)]
    parts = [_exact(array, block, k, start, dead) for block in blocks]
    scores, places = (
        zip(*parts, strict=True) if parts else ([np.zeros((0, k), np.float32)], [np.zeros((0, k), np.int64)])
    )
    return np.concatenate(scores), np.concatenate(places)


def grow(kind: Kind, vectors: Vectors, folder: Path, progress: Progress | None = None) -> None:
    """Make the index in `folder` hold all vectors. What is there already stays; a stopped call is gone on with by the next."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "hnsw":
        _grow_graph(vectors, folder, progress or silent)
    elif kind == "ivfpq":
        _grow_lists(vectors, folder, progress or silent)


def size_on_disk(folder: Path) -> int:
    """Bytes of an index."""
    return sum(file.stat().st_size for file in folder.glob("*.faiss"))


def probes(lists: int) -> int:
    """Lists looked into for a question."""
    return min(lists, max(16, lists // 32))


def _exact(
    array: np.ndarray, queries: np.ndarray, k: int, start: int, dead: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    scores = np.zeros((len(queries), 0), np.float32)
    places = np.zeros((len(queries), 0), np.int64)
    for first in range(start, len(array), BLOCK):
        fresh = (np.asarray(array[first : first + BLOCK]) @ queries.T).T
        low, high = np.searchsorted(dead, (first, first + fresh.shape[1]))
        fresh[:, dead[low:high] - first] = -np.inf
        chosen = _largest(fresh, k)
        scores = np.concatenate([scores, np.take_along_axis(fresh, chosen, 1)], 1)
        places = np.concatenate([places, chosen + first], 1)
    order = np.argsort(-scores, 1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(places, order, 1)


def _largest(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns (Q,k) of the k largest of every row, in the order of the columns."""
    if scores.shape[1] <= k:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    if k < 1:
        return np.zeros((len(scores), 0), np.int64)
    return np.sort(np.argpartition(scores, -k, 1)[:, -k:], 1)


def _open(kind: Kind, folder: Path) -> tuple[Any, list[Any]]:
    """An index, None where it holds nothing yet; and what must live as long as it does."""
    if kind == "hnsw":
        path = folder / "graph.faiss"
        return (faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC) if path.exists() else None), []
    shards = [faiss.read_index(str(path), faiss.IO_FLAG_MMAP) for _, path in _shards(folder)]
    if not shards:
        return None, []
    lists = faiss.InvertedListsPtrVector()
    for shard in shards:
        lists.push_back(shard.invlists)
    stacked = faiss.HStackInvertedLists(lists.size(), lists.data())
    index = faiss.read_index(str(folder / "trained.faiss"))
    index.replace_invlists(stacked, False)
    index.ntotal = sum(shard.ntotal for shard in shards)
    return index, [stacked, *shards]


def _grow_graph(vectors: Vectors, folder: Path, progress: Progress) -> None:
    path = folder / "graph.faiss"
    if path.exists():
        index = faiss.read_index(str(path))
    else:
        index = faiss.IndexHNSWSQ(vectors.dim, faiss.ScalarQuantizer.QT_8bit, LINKS)
        index.hnsw.efConstruction = CONSTRUCTION
        index.train(vectors.sample(SAMPLE, np.random.default_rng(0)))
    for first, block in vectors.blocks(index.ntotal):
        index.add(block)
        progress("indexing", first + len(block), len(vectors))
    _write(index, path)


def _grow_lists(vectors: Vectors, folder: Path, progress: Progress) -> None:
    trained = folder / "trained.faiss"
    if trained.exists() and 2 * faiss.read_index(str(trained)).nlist < lists_for(len(vectors)):
        shutil.rmtree(folder)  # too coarse by now
        folder.mkdir()
    if not trained.exists():
        progress("training the lists", 0, 1)
        _write(_trained(vectors), trained)
    covered = sum(count for count, _ in _shards(folder))
    for start in range(covered, len(vectors), SHARD):
        shard, stop = faiss.read_index(str(trained)), min(start + SHARD, len(vectors))
        for first, block in vectors.blocks(start, stop):
            shard.add_with_ids(block, np.arange(first, first + len(block)))
            progress("indexing", first + len(block), len(vectors))
        _write(shard, folder / f"{start}-{stop}.faiss")


def _trained(vectors: Vectors) -> faiss.Index:
    sample = vectors.sample(SAMPLE, np.random.default_rng(0))
    coarse, size = faiss.IndexFlatIP(vectors.dim), code_bytes(vectors.dim)
    index = faiss.IndexIVFPQ(coarse, vectors.dim, lists_for(len(vectors)), size, 8, faiss.METRIC_INNER_PRODUCT)
    index.cp.spherical = True
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1
    index.pq.cp.niter, index.pq.cp.max_points_per_centroid = (
        10,
        64,
    )  # candidates are scored again, so this need not be finer
    index.train(sample)
    return index


def lists_for(count: int) -> int:
    """Lists for so many vectors."""
    result: int = max(1, min(round(2 * count**0.5), count // 40))
    return result


def code_bytes(dim: int) -> int:
    """Bytes that a vector of `dim` numbers is quantised to: the largest divisor of `dim` up to `CODE`."""
    return max(size for size in range(1, CODE + 1) if dim % size == 0)


def _shards(folder: Path) -> list[tuple[int, Path]]:
    """(vectors, file) of every shard, in order."""
    found = [
        (int(start), int(stop), path) for path in folder.glob("*-*.faiss") for start, stop in [path.stem.split("-")]
    ]
    return [(stop - start, path) for start, stop, path in sorted(found)]


def _write(index: faiss.Index, path: Path) -> None:
    with writing(path, RuntimeError), atomic(path) as temporary:
        faiss.write_index(index, str(temporary))
