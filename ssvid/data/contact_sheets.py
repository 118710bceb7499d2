"""Pictures of labelled videos: a contact sheet (time to the right) and a small moving grid."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ssvid.data.synthetic import CLASSES, SyntheticVideo, render_video
from ssvid.errors import ConfigError
from ssvid.files import atomic

PAPER, INK = (255, 255, 255), (40, 40, 44)


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def _tile(frame: np.ndarray, side: int) -> Image.Image:
    return Image.fromarray(frame).resize((side, side), Image.Resampling.LANCZOS)


def contact_sheet(
    videos: Sequence[SyntheticVideo], columns: int = 1, frames_shown: int = 8, tile: int = 96
) -> np.ndarray:
    """One row per video, `frames_shown` frames evenly over its time, its label on the left; rows fill `columns` columns downwards.

    Returns:
        uint8 (H,W,3) RGB.
    """
    font = _font(max(9, tile // 7))
    words = max(int(font.getlength(video.label)) for video in videos) + 14
    gap, rows = max(2, tile // 32), -(-len(videos) // columns)
    width = words + frames_shown * (tile + gap) + gap
    sheet = Image.new("RGB", (columns * width, rows * (tile + gap) + gap), PAPER)
    draw = ImageDraw.Draw(sheet)
    for k, video in enumerate(videos):
        x, y = (k // rows) * width, (k % rows) * (tile + gap) + gap
        draw.text((x + words - 8, y + tile // 2), video.label, fill=INK, font=font, anchor="rm")
        for i, t in enumerate(np.linspace(0, len(video.frames) - 1, frames_shown).round().astype(int)):
            sheet.paste(_tile(video.frames[t], tile), (x + words + i * (tile + gap), y))
    return np.asarray(sheet)


def one_of_each(seed: int = 0, frames: int = 64, size: int = 128) -> list[SyntheticVideo]:
    """One video of every class of the motion world, each in a scene of its own."""
    return [
        render_video(label, np.random.default_rng([seed, number]), frames=frames, size=size)
        for number, label in enumerate(CLASSES)
    ]


def animate_classes(path: str | os.PathLike[str], seed: int = 0) -> None:
    """Write one moving picture of all classes, as `save_animation` does."""
    save_animation(path, moving_grid(one_of_each(seed, frames=96), columns=5))


def moving_grid(videos: Sequence[SyntheticVideo], columns: int = 7, tile: int = 112, step: int = 2) -> np.ndarray:
    """All videos playing side by side, every `step`-th frame, the labels below: uint8 (T,H,W,3), T the shortest video's."""
    font, line, gap = _font(max(9, tile // 9)), tile // 6, max(2, tile // 28)
    rows = -(-len(videos) // columns)
    blank = Image.new("RGB", (columns * (tile + gap) + gap, rows * (tile + line + gap) + gap), PAPER)
    places = [
        (gap + (k % columns) * (tile + gap), gap + (k // columns) * (tile + line + gap)) for k in range(len(videos))
    ]
    draw = ImageDraw.Draw(blank)
    for video, (x, y) in zip(videos, places, strict=True):
        draw.text((x + tile // 2, y + tile + line // 2), video.label, fill=INK, font=font, anchor="mm")
    grids = []
    for t in range(0, min(len(video.frames) for video in videos), step):
        grid = blank.copy()
        for video, place in zip(videos, places, strict=True):
            grid.paste(_tile(video.frames[t], tile), place)
        grids.append(np.asarray(grid))
    return np.stack(grids)


def save_animation(path: str | os.PathLike[str], frames: np.ndarray, fps: float = 15.0, limit: int = 1_500_000) -> int:
    """Write frames uint8 (T,H,W,3) as an endless .webp or .gif, in the best quality that stays within `limit` bytes.

    Returns:
        The size of the file in bytes.

    Raises:
        ConfigError: another extension, or no quality is small enough.
    """
    path = Path(path)
    if path.suffix not in (".webp", ".gif"):
        raise ConfigError(f"{path}: animations are written as .webp or .gif")
    for data in _encodings(path.suffix, [Image.fromarray(frame) for frame in frames], 1000 / fps):
        if len(data) <= limit:
            with atomic(path) as temporary:
                temporary.write_bytes(data)
            return len(data)
    raise ConfigError(
        f"{path}: {len(frames)} frames do not fit into {limit} bytes; use fewer or smaller frames, or raise the limit"
    )


def _encodings(suffix: str, images: list[Image.Image], milliseconds: float) -> Iterator[bytes]:
    """The animation in falling quality."""
    for quality in (85, 70, 50, 30):
        buffer = io.BytesIO()
        if suffix == ".webp":
            pictures, options = images, {"quality": quality, "method": 4}
        else:
            pictures, options = [i.quantize(2 * quality, dither=Image.Dither.NONE) for i in images], {"optimize": False}
        pictures[0].save(
            buffer,
            suffix[1:],
            save_all=True,
            append_images=pictures[1:],
            duration=round(milliseconds),
            loop=0,
            **options,
        )
        yield buffer.getvalue()
