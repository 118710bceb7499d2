"""What is known of a verified video file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssvid.video.on_demand import on_demand
from ssvid.video.orientation import Orientation


@on_demand("times")
@dataclass(frozen=True, eq=False, slots=True)
class VideoInfo:
    """A video as it decodes, not as its header claims.

    Attributes:
        path: the file.
        frames: number of frames that decode.
        fps: frames a second, the mean over the file.
        duration: seconds, the last frame's time on screen included.
        width: pixels as shown, turned upright; pixels are taken as square.
        height: pixels as shown.
        codec: FFmpeg's name of the codec, as h264.
        container: FFmpeg's name of the container, as mov,mp4,m4a,3gp,3g2,mj2.
        rotation: degrees clockwise that the reader turns the stored frames: 0, 90, 180 or 270.
        mirror: whether it then swaps left and right.
        audio: whether there is a sound track.
        seek: whether decord's random access gave the right frames; False means reading in order from the first frame.
        variable: whether the distances of the frames vary.
        times: float64 (frames,), seconds of every frame, strictly increasing from 0; of a video of an index, read when asked for.
        identity: the file as it was scanned, see `ssvid.video.identity`; empty: it is not compared when it is read.
    """

    path: str
    frames: int
    fps: float
    duration: float
    width: int
    height: int
    codec: str
    container: str
    rotation: int
    audio: bool
    seek: bool
    variable: bool
    times: np.ndarray
    mirror: bool = False
    identity: str = ""

    @property
    def orientation(self) -> Orientation:
        """What turns the stored frames upright."""
        return Orientation(self.rotation, self.mirror)


def short_side(height: int, width: int, size: int) -> tuple[int, int]:
    """(height, width) with the same aspect whose shorter side is exactly `size` pixels."""
    if size < 1:
        raise ValueError(f"the short side must be 1 pixel or more, not {size}")
    if height <= width:
        return size, max(1, round(width * size / height))
    return max(1, round(height * size / width)), size
