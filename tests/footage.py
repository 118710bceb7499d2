"""A small collection to search in: every video pans over a texture of its own, two videos a class, two a recording."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ssvid.video.writer import write_video
from tests.videos import texture

COUNT, FRAMES, FPS = 8, 45, 30


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
