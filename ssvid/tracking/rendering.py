"""What was tracked, as pictures: palette PNGs of ids, and colours laid over the frames."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageDraw

from ssvid.errors import DataError
from ssvid.files import atomic
from ssvid.tracking.tracker import Point

ALPHA = 0.45  # of an object's colour over the frame


@cache
def palette() -> np.ndarray:
    """The colours (256,3) of PASCAL VOC and DAVIS: the bits of an id, lowest first, are dealt out to red, green and blue, highest first."""
    ids = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((ids >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours


@cache
def colours() -> np.ndarray:
    """The colours (256,3) in which ids are drawn over frames: matplotlib's ten, then ten paler ones, again and again.

    Those of `palette` are dark, and hard to see over a dark frame.
    """
    order = np.array([*range(0, 20, 2), *range(1, 20, 2)])
    found: np.ndarray = colormaps["tab20"](order[(np.arange(256) - 1) % 20], bytes=True)[:, :3]
    return found


def write_mask(path: Path, mask: np.ndarray) -> None:
    """A mask of ids, uint8 (H,W), as palette PNG, whole or not at all. Raises DataError where it cannot be written."""
    picture = Image.fromarray(mask)
    picture.putpalette(palette().ravel().tolist())  # makes it a palette picture; indices stay
    try:
        with atomic(path) as temporary:
            picture.save(temporary, "PNG")
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}); make room, and the same command goes on from here"
        ) from error


def overlay(frame: np.ndarray, mask: np.ndarray, points: Mapping[str, Point], names: list[str]) -> np.ndarray:
    """A frame, uint8 (H,W,3), with every object in its colour and outlined, and every point as a dot; names: of all points, in order."""
    paint = colours()[mask].astype(np.float32)
    filled = np.where(mask[..., None] > 0, (1 - ALPHA) * frame + ALPHA * paint, frame)
    outlined = np.where(_outline(mask)[..., None], 0.5 * paint + 127.5, filled)
    drawn: np.ndarray = outlined.round().astype(np.uint8)
    if not points:
        return drawn
    picture = Image.fromarray(drawn)
    pen, size = ImageDraw.Draw(picture), max(2, round(min(frame.shape[:2]) / 80))
    for name, (x, y) in points.items():
        if np.isfinite((x, y)).all():
            colour = tuple(colours()[1 + names.index(name) % 255].tolist())
            pen.ellipse((x - size, y - size, x + size, y + size), fill=colour, outline="white")
    return np.asarray(picture)


def _outline(mask: np.ndarray) -> np.ndarray:
    """Pixels of an object beside one that is not of it."""
    around = np.pad(mask, 1, mode="edge")
    height, width = mask.shape
    edge = np.zeros(mask.shape, bool)
    for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
        edge |= around[down : down + height, right : right + width] != mask
    return edge & (mask > 0)
