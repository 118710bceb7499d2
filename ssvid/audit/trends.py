"""Direction and strength of a cue in the frames of any video: brighter or darker, zooming in or out, bars closing or opening."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ssvid.video.shots import BLACK

BORDER = 0.15  # share of the side that counts as border


def brightening(frames: np.ndarray) -> float:
    """Slope of the mean brightness, grey levels a frame: grey (T,H,W) -> float."""
    return _slope(frames.mean((1, 2)))


def border_growth(frames: np.ndarray) -> float:
    """How fast the border turns black, in shares of its area a frame: grey (T,H,W) -> float."""
    depth = max(1, round(BORDER * min(frames.shape[1:])))
    border = np.ones(frames.shape[1:], bool)
    border[depth:-depth, depth:-depth] = False
    return _slope((frames[:, border] <= BLACK).mean(1))


def expansion(frames: np.ndarray) -> float:
    """Growth of the picture a frame (median over the frames), > 0 when the camera zooms or moves in: grey (T,H,W) -> float.

    Least squares of brightness constancy, I_x (u + s x) + I_y (v + s y) + I_t = 0, for the shift (u, v) and the growth s.
    """
    soft = frames.astype(np.float64)
    for axis in (1, 2):  # blurred, since a gradient measures motions up to the size of the detail only
        soft = (np.roll(soft, 1, axis) + 2 * soft + np.roll(soft, -1, axis)) / 4
    y, x = np.meshgrid(*(np.arange(side) - (side - 1) / 2 for side in frames.shape[1:]), indexing="ij")
    growths = []
    for first, second in pairwise(soft):
        down, across = np.gradient((first + second) / 2)
        system = np.stack([across, down, across * x + down * y], -1)[2:-2, 2:-2].reshape(-1, 3)
        answer = np.linalg.lstsq(system, -(second - first)[2:-2, 2:-2].ravel(), rcond=None)[0]
        growths.append(answer[2])
    return float(np.median(growths))


def _slope(course: np.ndarray) -> float:
    """Slope of the least-squares line through a course (T,)."""
    time = np.arange(len(course)) - (len(course) - 1) / 2
    return float(time @ course / max(time @ time, 1e-12))
