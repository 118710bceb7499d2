"""Milliseconds a question beside bare faiss on the same vectors, recall of the approximate kinds, and the memory that building takes.

The vectors are made: 512 numbers around thousands of centres, as features of videos lie in clusters; questions are vectors of the
collection with noise. 100,000 are searched exactly, 1,000,000 through product-quantised lists.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ssvid.bench.timing import rates
from ssvid.search import ann
from ssvid.search.store import Vectors, unit

SMALL, LARGE, DIM, K = 100_000, 1_000_000, 512, 10
ROWS_A_CENTRE = 200  # vectors around each centre
SPREAD, NOISE = (
    0.7,
    0.3,
)  # of vectors around their centre, of questions around their vector; lengths relative to the centre's
QUESTIONS = 50
EXACT, APPROXIMATE, RECALL, MEMORY = 1.1, 0.1, 0.95, 0.25  # the targets


def bench_retrieval(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Exact search against faiss, approximate search against exact search, and peak memory of building at both sizes."""
    peaks = {size: _built(folder, size) for size in (SMALL, LARGE)}
    return [
        *_exact_rows(folder, rounds),
        *_approximate_rows(folder, rounds),
        {
            "what": f"peak memory of writing and indexing {LARGE:,} vectors against {SMALL:,}: it streams",
            "base": f"{peaks[SMALL] / 1e6:.0f} MB",
            "ours": f"{peaks[LARGE] / 1e6:.0f} MB",
            "ratio": round(peaks[LARGE] / peaks[SMALL], 3),
            "target": "",
            "met": "",
        },
    ]


def write_clusters(vectors: Vectors, size: int, seed: int = 0) -> None:
    """Append `size` vectors of length 1 around size / `ROWS_A_CENTRE` centres, a block at a time."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.standard_normal((max(1, size // ROWS_A_CENTRE), vectors.dim), dtype=np.float32))
    for start in range(0, size, vectors.rows_at_once):
        rows = min(vectors.rows_at_once, size - start)
        vectors.append(_around(centres[rng.integers(0, len(centres), rows)], SPREAD, rng))


def questions(vectors: Vectors, seed: int = 1) -> np.ndarray:
    """Noisy copies (`QUESTIONS`,D) of some of the vectors."""
    rng = np.random.default_rng(seed)
    return _around(vectors.array()[np.sort(rng.choice(len(vectors), QUESTIONS, replace=False))], NOISE, rng)


def _around(middles: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(middles.shape, dtype=np.float32) * np.float32(spread / middles.shape[1] ** 0.5)
    return unit(middles + noise)


def _exact_rows(folder: Path, rounds: int) -> list[dict[str, Any]]:
    vectors = _opened(folder, SMALL)
    flat = ann.faiss.IndexFlatIP(DIM)
    flat.add(np.asarray(vectors.array()))
    asked, ours = questions(vectors), ann.Nearest(vectors)
    timed = rates({"bare": _seconds(asked, flat.search), "ours": _seconds(asked, ours.search)}, rounds)
    same = _recall(ours.search(asked, K)[1], flat.search(asked, K)[1])
    row = _row(
        f"exact search in {SMALL:,} x {DIM} from the disk against faiss.IndexFlatIP in memory",
        timed,
        "bare",
        "ours",
        EXACT,
    )
    return [row | {"what": f"{row['what']} (the same answers: {same:.4f})"}]


def _approximate_rows(folder: Path, rounds: int) -> list[dict[str, Any]]:
    vectors = _opened(folder, LARGE)
    asked, ours = questions(vectors), ann.Nearest(vectors, "ivfpq", _index(folder, LARGE))
    array = np.asarray(vectors.array())
    found = ours.search(asked, K)[1]
    truth = ann.faiss.knn(asked, array, K, metric=ann.faiss.METRIC_INNER_PRODUCT)[1]
    few = asked[:5]  # a fifth of a second each
    timed = rates(
        {
            "bare": _seconds(few, lambda one, k: ann.faiss.knn(one, array, k, metric=ann.faiss.METRIC_INNER_PRODUCT)),
            "exact": _seconds(few, lambda one, k: ann.exact(array, one, k)),
            "ours": _seconds(asked, ours.search),
        },
        rounds,
    )
    what = f"ivfpq search in {LARGE:,} x {DIM}"
    recall, size, raw = _recall(found, truth), ann.size_on_disk(_index(folder, LARGE)), 4 * DIM * LARGE
    return [
        _row(f"{what} against our exact search", timed, "exact", "ours", APPROXIMATE),
        _row(f"{what} against faiss.knn", timed, "bare", "ours", APPROXIMATE),
        {"what": f"{what}, recall@{K} of exact", "base": "1", "ours": f"{recall:.4f}", "ratio": round(recall, 4)}
        | {"target": RECALL, "met": recall >= RECALL},
        {
            "what": f"{what}, bytes of the index against the vectors",
            "base": f"{raw / 1e6:.0f} MB",
            "ours": f"{size / 1e6:.0f} MB",
        }
        | {"ratio": round(size / raw, 4), "target": MEMORY, "met": size <= MEMORY * raw},
    ]


def _seconds(asked: np.ndarray, search: Callable[[np.ndarray, int], Any]) -> Callable[[], float]:
    """Median milliseconds of one question at a time."""

    def timed() -> float:
        took = []
        for question in asked:
            began = time.perf_counter()
            search(question[None], K)
            took.append(time.perf_counter() - began)
        return 1000 * statistics.median(took)

    return timed


def _row(what: str, timed: dict[str, list[float]], base: str, ours: str, most: float) -> dict[str, Any]:
    """A line whose ratio is of times: smaller is better."""
    ratio = statistics.median(b / a for a, b in zip(timed[base], timed[ours], strict=True))
    shown = {side: f"{statistics.median(timed[side]):.2f} ms" for side in (base, ours)}
    return {
        "what": what,
        "base": shown[base],
        "ours": shown[ours],
        "ratio": round(ratio, 3),
        "target": f"at most {most}",
        "met": ratio <= most,
    }


def _recall(found: np.ndarray, truth: np.ndarray) -> float:
    """Share of the true answers (Q,K) that are among those found (Q,K)."""
    return float(np.mean([len(set(some) & set(right)) / len(right) for some, right in zip(found, truth, strict=True)]))


def _built(folder: Path, size: int) -> int:
    """Bytes of memory a fresh process takes at most to write and index `size` vectors."""
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()
    process = context.Process(target=_build, args=(folder, size, its))
    process.start()
    its.close()
    peak = mine.recv()
    process.join()
    result: int = peak
    return result


def _build(folder: Path, size: int, pipe: Any) -> None:
    vectors = Vectors(folder / f"{size}.f32", DIM)
    write_clusters(vectors, size)
    ann.grow("ivfpq", vectors, _index(folder, size))
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes)


def _index(folder: Path, size: int) -> Path:
    return folder / f"index-{size}"


def _opened(folder: Path, size: int) -> Vectors:
    return Vectors(folder / f"{size}.f32", DIM, size)
