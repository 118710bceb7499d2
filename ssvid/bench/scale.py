"""The same work on every engine: an index, a collection and a table by processes of this machine and by workers of Ray, their rates, and
whether the results are the same bit for bit; and the memory of a table as its rows grow.

A few videos are made and copied under many names. Every engine starts anew, and its start counts; the start of a Ray cluster does not.
Collections and tables begin with a known index and without features.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssvid.bench.timing import textured_frames
from ssvid.bench.transfer import peak_memory
from ssvid.data.index import Index
from ssvid.data.scanning import open_data, scan_videos
from ssvid.engine import ray_cluster
from ssvid.evaluation.features import View
from ssvid.evaluation.tables.request import TableRequest
from ssvid.evaluation.tables.transfer import transfer
from ssvid.files import CACHE_KINDS, clear_cache
from ssvid.search.building import build
from ssvid.search.encode import open_encoder
from ssvid.video.writer import write_video

MADE, FRAMES = 8, 150  # videos that are made, and their frames
VIDEOS = 640  # that are indexed and encoded; the rest are copies
ENCODED, TABLED = (
    "r3d_18_tiny",
    ("baseline_histogram", "baseline_difference", "baseline_mean_frame", "baseline_patches"),
)
VIEW = View(clips=2, frames=16, stride=2, size=112)
SIZES, NARROW = (1_000, 10_000, 100_000), "baseline_mean_frame"
TARGET = 0.9  # of the rate of local:2
ENGINES = {"local:2": "local:2", "ray, 1 worker": "ray", "ray, 2 workers": "ray"}  # by their names in the table


def bench_scale(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """A row for an index, a collection, a table and memory. rounds: one is timed, whatever it says, since a round takes minutes."""
    source = make_videos(folder / "v", VIDEOS)
    rows = compare(folder, source, ENGINES, VIDEOS)
    return [*rows, memory_row(folder, list(ENGINES))]


def make_videos(folder: Path, count: int) -> Path:
    """`count` videos of two classes and two splits, most of them copies."""
    for number in range(count):
        path = folder / ("train", "test")[number // 2 % 2] / "ab"[number % 2] / f"{number:05d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < MADE:
            write_video(
                folder.with_name(f"{number}.mp4"), textured_frames(number, FRAMES), fps=30, gop=250, bframes=2, crf=23
            )
        shutil.copy2(folder.with_name(f"{number % MADE}.mp4"), path)
    return folder


def compare(folder: Path, source: Path, engines: dict[str, str], videos: int) -> list[dict[str, Any]]:
    """A row for each kind of work. engines: by the name of the column; the first is what the last is compared with."""
    found: dict[str, dict[str, tuple[float, str]]] = {}
    open_data([source])  # else the first engine alone would scan the videos once more, for its collection and its table
    for name, engine in engines.items():
        with _cluster(name):
            for what, work in WORK.items():
                place = folder / "".join(filter(str.isalnum, f"{name}{what}"))
                place.mkdir(parents=True)
                began = time.perf_counter()
                mark = work(place, source, engine)
                found.setdefault(what, {})[name] = time.perf_counter() - began, mark
    return [_row(what, of, videos) for what, of in found.items()]


def memory_row(folder: Path, columns: list[str]) -> dict[str, Any]:
    """Most memory of a k-NN table of one narrow clip a video, in a process of its own, a size a column."""
    index = Index(folder / "small.sqlite", create=True)
    for number in range(4):
        frames = (frame[::4, ::4] for frame in textured_frames(number, 12))
        write_video(folder / "small" / f"{number}.mp4", frames, fps=30, gop=12)
    scan_videos([folder / "small"], index, engine="local:1")
    peaks = [peak_memory(index.path, size, NARROW, 1) for size in SIZES]
    shown = [f"{size:,} rows: {peak:.0f} MiB" for size, peak in zip(SIZES, peaks, strict=True)]
    cells = dict(zip(columns, shown, strict=True))
    return {"what": "most memory of a table", **cells, "ratio": "", "target": "", "same": "", "met": ""}


@contextmanager
def _cluster(name: str) -> Iterator[None]:
    if not name.startswith("ray"):
        yield
        return
    with ray_cluster(int(name.split()[1])):
        yield


def _index(place: Path, source: Path, engine: str) -> str:
    index = Index(place / "index.sqlite", create=True)
    scan_videos([source], index, engine=engine)
    rows = [
        (v.path, v.info.identity, v.info.frames, v.info.times.tobytes(), v.shots.motion.tobytes())
        for v in index.videos()
    ]
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def _collection(place: Path, source: Path, engine: str) -> str:
    encoder = open_encoder(ENCODED, "video", VIEW, "cpu")
    made = build(place / "c", [source], encoder, engine=engine, shard=max(1, VIDEOS // 16))
    return hashlib.sha256(made.vectors.array().tobytes()).hexdigest()


def _table(place: Path, source: Path, engine: str) -> str:
    clear_cache([kind for kind in CACHE_KINDS if kind != "indexes"])  # features and cells of the engine before
    view = {"clips": 2, "frames": 8, "stride": 2, "size": 64}
    request = TableRequest(TABLED, [str(source)], ["knn"], view=view, seeds=1, workers=0, device="cpu", engine=engine)
    table = transfer(request).table
    return hashlib.sha256(repr([row.scores for row in table.rows]).encode()).hexdigest()


WORK: dict[str, Callable[[Path, Path, str], str]] = {
    "an index": _index,
    f"a collection, {ENCODED}": _collection,
    f"a table of {len(TABLED)} baselines": _table,
}


def _row(what: str, found: dict[str, tuple[float, str]], videos: int) -> dict[str, Any]:
    shown = {name: f"{seconds:.1f} s, {videos / seconds:.1f} videos/s" for name, (seconds, _) in found.items()}
    times, marks = zip(*found.values(), strict=True)
    ratio, same = times[0] / times[-1], len(set(marks)) == 1
    return {"what": f"{what} of {videos} videos", **shown, "ratio": round(ratio, 3), "target": TARGET, "same": same} | {
        "met": same and ratio >= TARGET
    }
