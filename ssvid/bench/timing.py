"""What the benchmarks share: rounds in turns, rows with ratios, and frames that cost a decoder as much as real footage."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch


def rates(sides: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Rates of every side, in turns; the first round warms up and does not count."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            rate = side()
            if number:
                found[name].append(rate)
    return found


def rates_of_calls(
    sides: Mapping[str, Callable[[], object]], rounds: int, round_seconds: float, seconds: float
) -> dict[str, list[float]]:
    """Calls a second of every side, which take turns call by call, so that a machine that slows down slows all of them.

    A round takes at least `round_seconds` and one turn, and its rate is that of the median call. The first round warms up and does not
    count. No round begins after so many seconds once two count.
    """
    found: dict[str, list[float]] = {name: [] for name in sides}
    began = time.perf_counter()
    for number in range(rounds + 1):
        if number > 2 and time.perf_counter() - began > seconds:
            break
        for name, took in _turns(sides, round_seconds).items():
            if number:
                found[name].append(1 / statistics.median(took))
    return found


def _turns(sides: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, list[float]]:
    """Seconds of each call. Every other turn goes backwards, so that no side always follows the same one."""
    took: dict[str, list[float]] = {name: [] for name in sides}
    order, began = list(sides), time.perf_counter()
    while not took[order[0]] or time.perf_counter() - began < seconds:
        for name in order:
            called = time.perf_counter()
            sides[name]()
            took[name].append(time.perf_counter() - called)
        order.reverse()
    return took


def steady(counts: Iterable[int]) -> float:
    """Things a second, from the first to the last: starting a worker is paid once a run, not once a clip."""
    stream = iter(counts)
    next(stream)
    began = time.perf_counter()
    return sum(stream) / (time.perf_counter() - began)


def row(what: str, base: list[float], ours: list[float], target: float | None, unit: str) -> dict[str, Any]:
    """A line of a bench: medians of both rates, and the median ratio beside its target."""
    ratio = statistics.median(b / a for a, b in zip(base, ours, strict=True))
    return {
        "what": what,
        "base": f"{statistics.median(base):.1f} {unit}",
        "ours": f"{statistics.median(ours):.1f} {unit}",
        "ratio": round(ratio, 3),
        "target": target or "",
        "met": "" if target is None else ratio >= target,
    }


def textured_frames(seed: int, frames: int) -> Iterator[np.ndarray]:
    """Frames 320x240 that cost a decoder as much as real footage: a drifting texture, moving things, and grain (about 550 kbit/s)."""
    rng = np.random.default_rng(seed)
    small = torch.from_numpy(rng.integers(0, 256, (1, 3, 40, 50)).astype(np.float32))
    texture = (
        torch.nn.functional.interpolate(small, (400, 500), mode="bicubic")[0].permute(1, 2, 0).clamp(0, 255).numpy()
    )
    grain = rng.normal(0, 6, (300, 400, 1)).astype(np.float32)
    place, speed, color = rng.uniform(0, 240, (6, 2)), rng.normal(0, 3, (6, 2)), rng.integers(0, 256, (6, 3))
    for t in range(frames):
        y, x = int(80 + 70 * np.sin(t / 40 + seed)), int(90 + 80 * np.cos(t / 55))
        frame = texture[y : y + 240, x : x + 320].copy()
        for (top, left), paint in zip((place + speed * t).astype(int) % (200, 280), color, strict=True):
            frame[top : top + 40, left : left + 40] = paint
        y, x = (int(limit * rng.random()) for limit in (60, 80))
        yield (frame + grain[y : y + 240, x : x + 320]).clip(0, 255).astype(np.uint8)
