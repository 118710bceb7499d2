"""The motion world with an overlay burned into every video; only classes whose motion looks as likely backwards."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ssvid.data.index import Index
from ssvid.data.scanning import scan_videos
from ssvid.data.synthetic import CLASSES, IRREVERSIBLE, render_video
from ssvid.video.writer import write_video

FPS = 30.0
Draw = Callable[
    [np.ndarray, int, int, int], None
]  # frame (H,W,3) in place, number of the frame, frames in all, number of the video


def progress_bar(frame: np.ndarray, number: int, frames: int, video: int) -> None:
    """A light bar on dark ground along the bottom, as far as the video has played."""
    height, width = frame.shape[:2]
    frame[-max(3, height // 16) :] = 30
    frame[-max(3, height // 16) :, : round(width * (number + 1) / frames)] = (230, 60, 40)


def clock(frame: np.ndarray, number: int, frames: int, video: int) -> None:
    """Hundredths of a second from the start, white digits without a ground, in the top left corner."""
    write(frame, f"{number / FPS:05.2f}")


def wall_clock(frame: np.ndarray, number: int, frames: int, video: int) -> None:
    """The time of day in white digits on black, set to another time in every video."""
    frame[: frame.shape[0] // 4, : frame.shape[1] // 2] = 0
    seconds = 9973.3 * video + number / FPS
    write(frame, f"{int(seconds // 60 % 60):02d}{seconds % 60:05.2f}")


def mark(frame: np.ndarray, number: int, frames: int, video: int) -> None:
    """A station's mark that never changes, top right."""
    height, width = frame.shape[:2]
    frame[height // 12 : height // 4, -width // 4 : -width // 12] = (240, 220, 20)


def nothing(frame: np.ndarray, number: int, frames: int, video: int) -> None:
    """The bare world."""


def write(frame: np.ndarray, text: str) -> None:
    """White digits in the top left corner."""
    picture = Image.fromarray(frame)
    ImageDraw.Draw(picture).text((2, 0), text, "white", ImageFont.load_default(frame.shape[0] / 5))
    frame[:] = np.asarray(picture)


def make_burned(folder: Path, draw: Draw, *, count: int = 24, frames: int = 40, size: int = 64) -> Index:
    """An index of `count` videos with an overlay; every fourth is a test video, none shares its scene with another."""
    labels = [label for label in CLASSES if label not in IRREVERSIBLE]
    folder.mkdir(parents=True)
    with (folder / "list.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split", "group"])
        for number in range(count):
            label = labels[number % len(labels)]
            made = render_video(label, np.random.default_rng([9, number]), frames=frames, size=size, fps=FPS).frames
            for at, frame in enumerate(made):
                draw(frame, at, frames, number)
            write_video(folder / f"{number}.mp4", made, fps=FPS, options={"threads": "1"})
            rows.writerow([f"{number}.mp4", label, "train" if number % 4 else "test", f"scene {number}"])
    index = Index(folder / "index.sqlite", create=True)
    scan_videos([folder / "list.csv"], index, engine="local:1")
    return index
