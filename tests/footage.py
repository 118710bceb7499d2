"""A small collection to search in: every video pans over a texture of its own, two videos a class, two a recording."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ssvid.evaluation.features import View
from ssvid.search.encode import open_encoder
from ssvid.video.writer import write_video
from tests.videos import texture

COUNT, FRAMES, FPS = 8, 45, 30
VIEW = View(clips=3, frames=8, stride=2, size=32)


def panning(seed: int, frames: int = FRAMES, height: int = 72, width: int = 96, step: int = 1) -> Iterator[np.ndarray]:
    """Frames of a window that moves over a texture; with step 0 it stands still."""
    wide = texture(seed, height + 24, width + 24 + frames * step // 8 * 8)
    return (wide[12 : 12 + height, step * number : step * number + width] for number in range(frames))


def make_footage(folder: Path) -> Path:
    """The CSV of `COUNT` videos: classes a, b, c, d and groups one to four, of two videos each."""
    with (folder / "list.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "group", "split"])
        for number in range(COUNT):
            write_video(folder / f"{number}.mp4", panning(number), fps=FPS)
            split = "test" if number % 2 else "train"
            rows.writerow([f"{number}.mp4", "abcd"[number // 2], f"group {(number + 1) // 2 % 4}", split])
    return folder / "list.csv"


def encoder(unit: str = "video", model: str = "baseline_mean_frame", **changes):
    return open_encoder(model, unit, replace(VIEW, **changes))


def names(hits) -> list[str]:
    return [Path(hit.path).stem for hit in hits]
