"""Damaged files through scan and read: nothing may crash, hang or show a frame that decoding in order does not."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ssvid.bench.reader import whole_in_order, wrong_frames
from ssvid.bench.reader_files import make_files
from ssvid.errors import VideoError
from ssvid.video.guard import Guard
from ssvid.video.reader import Video
from ssvid.video.scan import scan

MUTANTS = 40  # a round
LIMIT = 20.0  # seconds that a scan may take


def bench_fuzz(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """40 mutants a round: what became of them, by mutation."""
    files = [path for paths in make_files(folder / "made").values() for path in paths]
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in MUTATIONS}
    with Guard() as guard, Guard() as other:
        for seed in range(MUTANTS * rounds):
            rng = np.random.default_rng(seed)
            source = files[int(rng.integers(len(files)))]
            name = list(MUTATIONS)[seed % len(MUTATIONS)]
            path = folder / f"{seed}{source.suffix}"
            path.write_bytes(MUTATIONS[name](source.read_bytes(), rng))
            outcomes[name][_outcome(guard, other, path, rng)] += 1
            path.unlink()
    names = ("refused", "read", "slow", "wrong", "failed")
    return [{"mutation": name, **{kind: count[kind] for kind in names}} for name, count in outcomes.items()]


def _outcome(guard: Guard, other: Guard, path: Path, rng: np.random.Generator) -> str:
    """refused: an error that names the file. read: right. slow: stopped. wrong: frames differ. failed: another error."""
    began = time.monotonic()
    try:
        info, _ = scan(path, LIMIT, guard=guard)
    except VideoError:
        return "slow" if time.monotonic() - began > LIMIT + 5 else "refused"
    except Exception:
        return "failed"
    try:
        asked = np.unique(rng.integers(0, info.frames, 8)).tolist()
        wrong = other.run(_read, str(path), info, asked, limit=LIMIT)
    except VideoError as error:
        print(f"{path.name}: {error.reason}")
        return "failed"
    return "wrong" if wrong else "read"


def _read(path: str, info: Any, asked: list[int]) -> int:
    """Wrong frames of one read, and of all frames; runs in a child."""
    truth = whole_in_order(info)
    video = Video(path, info)
    everything = list(range(info.frames))
    return sum(wrong_frames(truth, request, video.frames(request, truth.size)) for request in (asked, everything))


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    changed = np.frombuffer(data, np.uint8).copy()
    places = rng.integers(0, len(changed), int(rng.integers(1, 20)))
    changed[places] = rng.integers(0, 256, len(places))
    return bytes(changed)


def _flip_head(data: bytes, rng: np.random.Generator) -> bytes:
    """Changes where containers keep their tables."""
    end = min(len(data), 2000)
    return _flip(data[:end], rng) + data[end:] if rng.random() < 0.5 else data[:-end] + _flip(data[-end:], rng)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def _drop(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(0, len(data)))
    return data[:start] + data[start + int(rng.integers(1, 3000)) :]


def _shuffle(data: bytes, rng: np.random.Generator) -> bytes:
    """Swaps two parts of the file, as boxes that come in another order."""
    first, second, third, fourth = sorted(rng.integers(0, len(data), 4).tolist())
    return data[:first] + data[third:fourth] + data[second:third] + data[first:second] + data[fourth:]


def _join(data: bytes, rng: np.random.Generator) -> bytes:
    return data + data[int(rng.integers(0, len(data))) :]


MUTATIONS: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "bytes changed": _flip,
    "bytes of head or tail changed": _flip_head,
    "cut": _cut,
    "a piece left out": _drop,
    "pieces swapped": _shuffle,
    "a part joined behind": _join,
}
