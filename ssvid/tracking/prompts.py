"""What a user says is to be tracked: masks, boxes and points, read and checked against the frames."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ssvid.errors import ConfigError, DataError
from ssvid.tracking.frames import FrameSource
from ssvid.tracking.tracker import Point, Prompt

VOID = 255  # the id of pixels that were left out of an annotation
Box = tuple[float, float, float, float]  # x, y, width, height in pixels
MaskLike = str | os.PathLike[str] | np.ndarray
PointsLike = str | os.PathLike[str] | Mapping[str, Point] | Sequence[Point]
REMEDY = "save one channel of 8 bits, as a palette PNG whose indices are the ids"


def make_prompts(
    source: FrameSource,
    masks: Sequence[MaskLike] = (),
    boxes: Sequence[Box] = (),
    points: PointsLike | None = None,
    at: Sequence[float] = (),
) -> dict[int, Prompt]:
    """Prompts by frame.

    masks: files or arrays of ids. boxes: the objects 1, 2, ... points: of names, or a file of them. at: seconds of each mask in turn; of
    boxes and points, the first. None given means the first frame.

    Raises ConfigError for arguments that do not go together, DataError for a mask or points that cannot be used.
    """
    if bool(masks) + bool(boxes) + (points is not None) != 1:
        raise ConfigError("say what to track, in one way: --mask first.png, --box x,y,w,h or --points points.json")
    at = list(at) or [0.0]
    if len(at) != max(len(masks), 1):
        raise ConfigError(
            f"{len(masks) or 1} prompts and {len(at)} times; give --at once for every --mask, in the same order"
        )
    numbers = [frame_at(source, seconds) for seconds in at]
    if len(set(numbers)) < len(numbers):
        raise ConfigError("two masks are of the same frame; put their objects into one")
    if masks:
        read = [check_mask(mask, source.size) for mask in masks]
        return {number: Prompt(mask) for number, mask in zip(numbers, read, strict=True)}
    if boxes:
        return {numbers[0]: Prompt(mask_of_boxes(boxes, source.size))}
    assert points is not None
    return {numbers[0]: Prompt(points=check_points(points, source.size))}


def frame_at(source: FrameSource, seconds: float) -> int:
    """The frame on screen at a time. Raises ConfigError for one outside the video."""
    times = source.times
    last = 2 * times[-1] - times[-2] if len(times) > 1 else 1.0
    if not 0 <= seconds < last + 1e-6:
        raise ConfigError(f"{source.path}: no frame at {seconds:g} s; it lasts {last:.2f} s")
    return max(0, int(np.searchsorted(times, seconds + 1e-6, side="right")) - 1)


def check_mask(mask: MaskLike, size: tuple[int, int]) -> np.ndarray:
    """The ids in a mask, uint8 (H,W), from a file or an array.

    Ids need not follow on each other and stay as they are. A grey picture of 0 and 255 alone is one object, id 1; in any other, 255 is
    void and counts as background. Raises DataError for another size, more channels or bits, and a mask without an object.
    """
    name = "the mask" if isinstance(mask, np.ndarray) else os.fspath(mask)
    ids = mask if isinstance(mask, np.ndarray) else _read(Path(mask))
    if ids.ndim != 2 or ids.dtype not in (np.uint8, bool):
        raise DataError(f"{name} is {ids.dtype} of shape {ids.shape} and not of ids; {REMEDY}")
    if ids.shape != size:
        raise DataError(
            f"{name} is {ids.shape[1]}x{ids.shape[0]} px, the frames are {size[1]}x{size[0]}; is it of another video?"
        )
    ids = ids.astype(np.uint8)
    binary = not ((ids > 0) & (ids < VOID)).any()
    ids = (ids > 0).astype(np.uint8) if binary else np.where(ids == VOID, 0, ids).astype(np.uint8)
    if not ids.any():
        raise DataError(
            f"{name} is empty: no pixel belongs to an object; paint what is to be tracked with ids from 1 on"
        )
    return ids


def mask_of_boxes(boxes: Sequence[Box], size: tuple[int, int]) -> np.ndarray:
    """A mask (H,W) with every box filled, ids from 1 on; later ones lie over earlier ones.

    Raises ConfigError for one that is not inside the frames, or covered by others.
    """
    height, width = size
    mask = np.zeros(size, np.uint8)
    for number, (x, y, w, h) in enumerate(boxes, start=1):
        if not (0 <= x < x + w <= width and 0 <= y < y + h <= height):
            raise ConfigError(
                f"the box {x:g},{y:g},{w:g},{h:g} (x,y,w,h) does not lie in the frames of {width}x{height} px"
            )
        mask[round(y) : max(round(y) + 1, round(y + h)), round(x) : max(round(x) + 1, round(x + w))] = number
    if lost := set(range(1, len(boxes) + 1)) - set(np.unique(mask).tolist()):
        raise ConfigError(f"box {min(lost)} is wholly covered by others; leave it out, or give smaller boxes")
    return mask


def check_points(points: PointsLike, size: tuple[int, int]) -> dict[str, Point]:
    """Points by name, from a JSON file of {"name": [x, y]} or [[x, y], ...], or from such values.

    Raises DataError for a file that cannot be read, and for points that are not numbers or lie outside the frames.
    """
    name = os.fspath(points) if isinstance(points, str | os.PathLike) else "points"
    read: Any = points
    if isinstance(points, str | os.PathLike):
        try:
            read = json.loads(Path(points).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f'{name} cannot be read as JSON ({error}); write {{"name": [x, y], ...}}') from error
    try:
        pairs = read.items() if isinstance(read, Mapping) else enumerate(read, start=1)
        found = {str(key): (float(x), float(y)) for key, (x, y) in pairs}
    except (TypeError, ValueError) as error:
        raise DataError(f'{name} does not hold points ({error}); write {{"name": [x, y], ...}} in pixels') from error
    if not found:
        raise DataError(f"{name} holds no points")
    for key, (x, y) in found.items():
        if not (math.isfinite(x) and math.isfinite(y) and -0.5 <= x <= size[1] - 0.5 and -0.5 <= y <= size[0] - 0.5):
            raise DataError(f"{name}: point {key!r} at {x:g}, {y:g} lies outside the frames of {size[1]}x{size[0]} px")
    return found


def _read(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            if picture.mode not in ("P", "L", "1"):
                raise DataError(
                    f"{path} is a picture of mode {picture.mode} (colours, or more than 8 bits) and not of ids; {REMEDY}"
                )
            return np.array(picture.convert("L") if picture.mode == "1" else picture)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a picture ({error}); {REMEDY}") from error
