"""What searching and its evaluation cost as they grow: milliseconds and memory at 3,000 and 30,000 videos.

Collections, vectors and labels are made; no video is decoded.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from downstream.retrieval import Ranking, ranked_blocks, ranking_scores
from ssvid.bench.rows import copy_video
from ssvid.data.index import Index
from ssvid.data.layouts import Entry
from ssvid.data.video_record import VideoRecord
from ssvid.evaluation.adapter import EvalContext
from ssvid.evaluation.features import View
from ssvid.files import write_json
from ssvid.search.building import remove
from ssvid.search.collection import VERSION, Collection
from ssvid.search.segment_table import SegmentTable
from ssvid.search.store import Vectors, unit
from ssvid.search.whitening import Whitening
from ssvid.training.sampler import videos_by_label
from ssvid.video.info import VideoInfo
from ssvid.video.shots import Shots

SIZES = (3_000, 30_000)
DIM, FRAMES, FPS = 64, 250, 25.0
HITS = 10_000
QUERIES, GALLERY, CLASSES = 3_783, 9_537, 101  # as of UCF101's first split
SECONDS, MEMORY = 1.0, 1.5e9  # the targets: of everything at the larger size, and of an evaluation

Cost = tuple[float, int]  # seconds, bytes of memory at the peak


def bench_search_growth(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """A row for everything that grows. rounds: of which the quickest counts."""
    collections = [write_collection(folder / str(size), size, 1) for size in SIZES]
    many = write_collection(folder / "hits", 60, 1000)
    vector = np.random.default_rng(0).standard_normal(DIM)

    def costs(acts: Iterable[Callable[[], Any]]) -> list[Cost]:
        return [_cost(act, rounds) for act in acts]

    return [
        _row("a known video read", costs(partial(one.record, one.index.videos()[1000].path) for one in collections)),
        _row("a video removed", costs(partial(_without_one, one) for one in collections)),
        _row("videos found by label, two a label", costs(partial(videos_by_label, _videos(n, n // 2)) for n in SIZES)),
        _row(
            f"{HITS // 10:,} and {HITS:,} hits among {len(many):,}",
            costs(partial(many.query, vector, k=k) for k in (HITS // 10, HITS)),
        ),
        _row(
            f"{QUERIES // 10:,} and {QUERIES:,} queries ranked in {GALLERY:,} videos",
            [_cost(partial(_evaluate, queries, GALLERY), 1) for queries in (QUERIES // 10, QUERIES)],
            most=MEMORY,
        ),
    ]


def write_collection(folder: Path, videos: int, rows: int, dim: int = DIM, label: str | None = None) -> Collection:
    """A collection of made-up videos, with `rows` random vectors of `dim` numbers each, one a second; there are no files behind it."""
    view = View(clips=1, frames=8, stride=2, size=32, fps=FPS)
    manifest = {"version": VERSION, "model": "baseline_mean_frame", "weights": "", "unit": "clip", "view": asdict(view)}
    write_json(folder / "manifest.json", manifest | {"dim": dim, "kind": "exact", "space": "raw"})
    index = Index(folder / "rows.sqlite", create=True)
    (folder / "0.mp4").touch()
    index.add([Entry(folder / "0.mp4", label)])
    shots = Shots(motion=np.ones(FRAMES, np.float32), cuts=(), bars=(0, 0, 0, 0), static=0.0)
    index.set_scanned(index.todo()[0][0], _info(str(folder / "0.mp4")), shots)
    table, vectors = SegmentTable(index, create=True), Vectors(folder / "vectors-1.f32", dim)
    vectors.append(unit(np.random.default_rng(0).standard_normal((videos * rows, dim), dtype=np.float32)))
    _multiply(index, [str(folder / f"{number}.mp4") for number in range(videos)], rows)
    table.moved(Whitening(np.zeros(dim, np.float32)), videos * rows)
    return Collection(folder)


def _multiply(index: Index, paths: Sequence[str], rows: int) -> None:
    """Copy the first video to the other paths, and enter `rows` rows of each, in one transaction."""
    with index.database() as database:
        copy_video(database, 1, paths[1:])
        spans = ((number, number // rows + 1, number % rows, number % rows + 1) for number in range(len(paths) * rows))
        database.executemany("INSERT INTO segments VALUES (?, ?, ?, ?)", spans)
        database.execute("INSERT INTO encoded SELECT id, bytes, modified FROM videos")


def _info(path: str) -> VideoInfo:
    times = np.arange(FRAMES) / FPS
    return VideoInfo(path, FRAMES, FPS, FRAMES / FPS, 64, 48, "h264", "mp4", 0, False, True, False, times)


def _without_one(collection: Collection) -> None:
    ids = collection.rows.places([len(collection) // 2])
    remove(collection, [place.path for place in ids.values()])


def _videos(size: int, classes: int) -> list[VideoRecord]:
    shots = Shots(motion=np.ones(1, np.float32), cuts=(), bars=(0, 0, 0, 0), static=0.0)
    info = _info("v.mp4")
    return [VideoRecord(number, info, shots, str(number % classes)) for number in range(size)]


def _evaluate(queries: int, gallery: int) -> None:
    """Score random vectors, as the protocol video does."""
    vectors = np.random.default_rng(0).standard_normal((queries + gallery, DIM), dtype=np.float32)
    context = EvalContext(_videos(len(vectors), CLASSES), [], View(), protocol="video")
    blocks = ranked_blocks(vectors[gallery:], vectors[:gallery])
    list(ranking_scores(context, (Ranking(order, gallery + rows) for rows, order in blocks)))


def _cost(act: Callable[[], Any], rounds: int) -> Cost:
    """The least seconds of some rounds, and the peak of one more, as Python counts it."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - began)
    tracemalloc.start()
    try:
        act()
        return min(seconds), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _row(what: str, costs: Sequence[Cost], most: float | None = None) -> dict[str, Any]:
    """A line whose ratio is of times. most: bytes of memory that are the target, where it is not `SECONDS`."""
    small, large = costs
    shown = [f"{cost[0] * 1000:.1f} ms, {cost[1] / 1e6:.1f} MB" for cost in (small, large)]
    met, target = large[0] <= SECONDS, f"under {SECONDS:g} s"
    if most:
        met, target = large[1] <= most, f"under {most / 1e9:g} GB"
    ratio = round(large[0] / small[0], 2)
    return {"what": what, "base": shown[0], "ours": shown[1], "ratio": ratio, "target": target, "met": met}
