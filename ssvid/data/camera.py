"""A camera that moves over a wider picture of the motion world: what it shows, of pictures, masks and centres alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ssvid.data.scene import Array


@dataclass(frozen=True)
class CameraPath:
    """Where a camera looks over time: x, y (T,) frame sides off the middle, and its scale (T,), above 1 closer."""

    x: Array
    y: Array
    scale: Array


def look(path: CameraPath, pictures: Array, masks: Array, centres: Array, size: int) -> tuple[Array, Array, Array]:
    """What a camera of size x size px sees of wider pictures (T,S,S,3), masks (T,S,S) and centres (T,N,2): the same three, of its frame.

    Centres of objects that it does not see become NaN. At scale 1 and no offset it shows the middle of the picture pixel by pixel.
    """
    shown = np.empty((len(pictures), size, size, 3), np.uint8)
    cover = np.empty((len(pictures), size, size), np.uint8)
    moved = np.empty_like(centres)
    middle = pictures.shape[1] / 2
    for t in range(len(pictures)):
        step = 1 / path.scale[t]
        left, top = (middle + size * (offset - step / 2) for offset in (path.x[t], path.y[t]))
        affine = (step, 0, left, 0, step, top)
        for source, target, how in (
            (pictures, shown, Image.Resampling.BILINEAR),
            (masks, cover, Image.Resampling.NEAREST),
        ):
            seen = Image.fromarray(source[t]).transform((size, size), Image.Transform.AFFINE, affine, how)
            target[t] = np.asarray(seen)
        moved[t] = (centres[t] + 0.5 - (left, top)) / step - 0.5
        moved[t, np.bincount(cover[t].ravel(), minlength=centres.shape[1] + 1)[1:] == 0] = np.nan
    return shown, cover, moved
