"""How a picture is turned for showing: the display matrix of a file, of which a rotation is only one kind.

Cameras turn pictures by quarters; front cameras and editors also mirror them. FFmpeg shows all eight ways, decord only three.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import av

CLOSE = 0.02  # how far a matrix may be from a quarter turn or a mirror, about a degree, and still count as it


@dataclass(frozen=True)
class Orientation:
    """What turns a stored picture upright: `rotation` degrees clockwise (0, 90, 180, 270), then, if `mirror`, left and right swapped."""

    rotation: int = 0
    mirror: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Orientation:
        """That of a decoded frame; angles between the quarter turns count as none.

        Ask one frame of a file, not each: PyAV ties a frame whose side data was looked at to itself, and frees it late.
        """
        data: Any = frame.side_data.get("DISPLAYMATRIX")
        return cls() if data is None else _of_matrix(struct.unpack_from("=9i", bytes(data)))

    @property
    def lying(self) -> bool:
        """Whether height and width change places."""
        return self.rotation % 180 == 90

    def size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """(height, width) of a frame as shown."""
        return (frame.width, frame.height) if self.lying else (frame.height, frame.width)

    @property
    def filters(self) -> list[tuple[str, str]]:
        """(name, arguments) of the FFmpeg filters that do it."""
        turns = {0: [], 90: ["clock"], 180: ["clock", "clock"], 270: ["cclock"]}[self.rotation]
        return [("transpose", turn) for turn in turns] + ([("hflip", "")] if self.mirror else [])

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """An array (H,W,...) turned upright."""
        turned = np.rot90(picture, -self.rotation // 90)
        return turned[:, ::-1] if self.mirror else turned


def _of_matrix(matrix: tuple[Any, ...]) -> Orientation:
    """x' = a x + c y and y' = b x + d y of a matrix (a b u, c d v, ...), with y downwards, in 16.16 fixed point."""
    a, b, c, d = (matrix[place] / 65536 for place in (0, 1, 3, 4))
    size = max(abs(a), abs(b), abs(c), abs(d))
    for rotation, (cosine, sine) in {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}.items():
        for sign in (1, -1):  # a mirror turns the sign of x', after the rotation
            wanted = (sign * cosine, sine, -sign * sine, cosine)
            if size and np.abs(np.array([a, b, c, d]) / size - wanted).max() < CLOSE:
                return Orientation(rotation, sign < 0)
    return Orientation()
