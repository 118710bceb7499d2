"""Motion, cuts, still segments and black bars of a video, gathered in one pass with a few numbers kept per frame."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from ssvid.video.on_demand import on_demand

STILL = 0.3  # mean absolute grey difference up to which nothing moved; coding noise of a frozen picture stays below
BLACK = 24  # grey level up to which a pixel is black: 16 in video range, and coding noise
BAR_BRIGHT = 0.02  # share of brighter pixels that a row or column of a bar may hold
# a cut is a change that is large, that stands out of its neighbourhood, and that changes the colours of the picture
CUT_MOTION = 10.0
CUT_CONTRAST = 2.5
CUT_COLOUR = 0.15
NEIGHBOURS = 8
FLASH = 3  # frames a flash may last


def grey(frame: np.ndarray) -> np.ndarray:
    """Luma of RGB, float32 (...) of uint8 (...,C)."""
    return frame @ np.array([0.299, 0.587, 0.114], np.float32)


@on_demand("motion")
@dataclass(frozen=True, eq=False, slots=True)
class Shots:
    """What a video shows as a whole.

    Attributes:
        motion: float32 (frames,), mean absolute difference (0..255) to the frame before, grey, short side 64 px; motion[0] is 0; of a video
            of an index, read when asked for.
        cuts: first frame of every new shot; never 0.
        bars: black pixels at top, bottom, left, right, as shown.
        static: share (0..1) of frames after the first that equal the frame before.
    """

    motion: np.ndarray
    cuts: tuple[int, ...]
    bars: tuple[int, int, int, int]
    static: float


class ShotDetector:
    """Takes the frames of a video one by one; memory grows by five numbers a frame.

    Cuts are abrupt: a frame whose change is large, many times the usual one around it, and that shifts the colour
    histogram. A change that is taken back within three frames is a flash. Dissolves and fades are not found.
    """

    def __init__(self) -> None:
        self._motion: list[float] = []
        self._colour: list[float] = []
        # difference to the frame 2, 3 and 4 before: small where a flash between the two was taken back
        self._back: list[list[float]] = []
        self._past: deque[np.ndarray] = deque(maxlen=FLASH + 1)
        self._histogram: np.ndarray | None = None
        self._bright: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, small: np.ndarray) -> np.ndarray:
        """Take the next frame, uint8 (h,w,C) with a short side of 64 px; return it in grey, float32 (h,w)."""
        picture = grey(small)
        differences = [float(np.abs(picture - past).mean()) for past in reversed(self._past)]
        levels = small.astype(np.intp) >> 6
        histogram = np.bincount((levels @ [16, 4, 1]).ravel(), minlength=64) / picture.size
        before = histogram if self._histogram is None else self._histogram
        self._colour.append(float(np.abs(histogram - before).sum() / 2))
        self._motion.append(differences[0] if differences else 0.0)
        self._back.append((differences[1:] + [np.inf] * FLASH)[:FLASH])
        self._histogram = histogram
        self._past.append(picture)
        return picture

    def add_borders(self, picture: np.ndarray) -> None:
        """Take the full-size picture of a frame, uint8 (H,W) grey and upright; a few frames of a video are enough."""
        bright = picture > BLACK
        rows, columns = bright.mean(axis=1), bright.mean(axis=0)
        if self._bright is not None and self._bright[0].shape == rows.shape and self._bright[1].shape == columns.shape:
            rows, columns = np.maximum(rows, self._bright[0]), np.maximum(columns, self._bright[1])
        self._bright = rows, columns

    def result(self) -> Shots:
        """Return what the frames so far amount to."""
        motion = np.asarray(self._motion, np.float32)
        static = float((motion[1:] <= STILL).mean()) if len(motion) > 1 else 0.0
        return Shots(motion=motion, cuts=self._cuts(motion), bars=self._bars(), static=static)

    def _cuts(self, motion: np.ndarray) -> tuple[int, ...]:
        colour = np.asarray(self._colour)
        candidates = np.flatnonzero((motion >= CUT_MOTION) & (colour >= CUT_COLOUR))
        cuts: list[int] = []
        for at in candidates.tolist():
            around = np.r_[motion[max(1, at - NEIGHBOURS) : at], motion[at + 1 : at + 1 + NEIGHBOURS]]
            around = around[around > STILL]  # repeated frames, every other one in some files, say nothing of the motion
            usual = float(np.median(around)) if len(around) else 0.0
            if motion[at] < CUT_CONTRAST * (usual + 1) or self._flash(motion, at):
                continue
            if cuts and at - cuts[-1] <= 2:  # one cut over a blended frame shows as two changes
                continue
            cuts.append(at)
        return tuple(cuts)

    def _flash(self, motion: np.ndarray, at: int) -> bool:
        """Whether the change at a frame begins or ends a flash of at most `FLASH` frames."""
        for length in range(1, FLASH + 1):
            begins = at + length < len(self._back) and self._back[at + length][length - 1] < motion[at] / 2
            ends = self._back[at][length - 1] < motion[at] / 2
            if begins or ends:
                return True
        return False

    def _bars(self) -> tuple[int, int, int, int]:
        if self._bright is None:
            return 0, 0, 0, 0
        lit_rows, lit_columns = (np.flatnonzero(bright > BAR_BRIGHT) for bright in self._bright)
        if len(lit_rows) == 0 or len(lit_columns) == 0:
            return 0, 0, 0, 0
        height, width = len(self._bright[0]), len(self._bright[1])
        top, bottom = _pair(int(lit_rows[0]), int(height - 1 - lit_rows[-1]))
        left, right = _pair(int(lit_columns[0]), int(width - 1 - lit_columns[-1]))
        return top, bottom, left, right


def _pair(first: int, second: int) -> tuple[int, int]:
    """Bars stand on both sides, about equally wide; a single dark side is part of the picture, as is a dark line."""
    if min(first, second) < 2 or min(first, second) < max(first, second) / 2:
        return 0, 0
    return first, second
