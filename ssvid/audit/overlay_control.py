"""Overlays on still pictures: a drawn clock or progress bar, or the very overlay that all held-out videos have.

A task that was trained on videos with a progress bar may read that bar and no other, so where the data have an overlay the control shows
it, cut out of the held-out videos. Half of the overlays run backward, as in no data: a task that reads one is right on the others.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ssvid.data.loader import hidden_square, read_square
from ssvid.data.overlays import hide
from ssvid.data.video_record import VideoRecord

Array = np.ndarray


def draw_overlay(frames: Array, rng: np.random.Generator, direction: int, speed: float) -> Array:
    """Frames (T,S,S,3) on 0..255 under a clock or a progress bar that runs forward (+1) or backward.

    speed: 1 for a bar that runs from end to end and a clock that goes on with every frame, less for slower ones.
    """
    course = speed * np.arange(len(frames))[::direction]
    drawn = frames.round().clip(0, 255).astype(np.uint8)
    (_draw_bar if rng.random() < 0.5 else _draw_clock)(drawn, rng, course)
    result: Array = drawn.astype(float)
    return result


def paste_overlay(frames: Array, direction: int, video: VideoRecord, mask: Array, fps: float) -> Array:
    """Frames (T,S,S,3) on 0..255 under the overlay in the middle of a video at its own speed, backward for direction -1.

    mask: bool (h,w), where the overlay is, over the whole picture of the video. fps: rate of the frames.
    """
    T, S = frames.shape[:2]
    seconds = video.info.duration / 2 + (np.arange(T) - T / 2) / fps
    at = (np.searchsorted(video.info.times, seconds, "right") - 1).clip(0, video.info.frames - 1)[::direction]
    (where,) = hide([video], mask)
    own = read_square(video, at[None], S)[0]
    result: Array = np.where(hidden_square(where, S)[..., None], own, frames)
    return result


def _draw_bar(frames: Array, rng: np.random.Generator, course: Array) -> None:
    """A bar along one edge, of two colours that meet at a place which moves by `course` (T,), in frames of a whole run."""
    T, S = frames.shape[:2]
    thick, upright = max(2, round(S * rng.uniform(0.04, 0.08))), rng.random() < 0.25
    edge = slice(0, thick) if rng.random() < 0.5 else slice(S - thick, S)
    share = course / T
    share += rng.uniform(0, 1 - np.ptp(share)) - share.min()
    full, empty = rng.uniform(120, 255, 3), rng.uniform(0, 80, 3)
    for frame, ahead in zip(frames, share, strict=True):
        picture = frame.swapaxes(0, 1) if upright else frame
        picture[edge] = np.where(np.arange(S)[:, None] < ahead * S, full, empty)


def _draw_clock(frames: Array, rng: np.random.Generator, course: Array) -> None:
    """Four digits in a corner that go on by one with every unit of `course` (T,)."""
    S = frames.shape[1]
    font = ImageFont.load_default(max(8.0, S * rng.uniform(0.12, 0.2)))
    first, corner = int(rng.integers(8000)), rng.integers(2, size=2)
    box = font.getbbox("0000")
    left, top = (int(side * (S - size - 4)) + 2 for side, size in zip(corner, (box[2], box[3]), strict=True))
    ground = rng.random() < 0.5
    for frame, passed in zip(frames, course, strict=True):
        picture = Image.fromarray(frame)
        pen = ImageDraw.Draw(picture)
        if ground:
            pen.rectangle((left - 1, top - 1, left + box[2] + 1, top + box[3] + 1), fill="black")
        pen.text((left, top), f"{first + int(passed):04d}", "white", font)
        frame[:] = np.asarray(picture)
