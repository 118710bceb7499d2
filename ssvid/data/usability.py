"""What a window needs, told by what the index notes of a video as a whole, so that hundreds of thousands are looked through in a second."""

from __future__ import annotations

import math
from itertools import pairwise

from ssvid.data.video_record import VideoRecord
from ssvid.video.info import VideoInfo
from ssvid.video.on_demand import Stored, held
from ssvid.video.shots import STILL

# A file counts as of constant rate up to gaps of 1.5 ticks of its container from the usual one (`ssvid.video.times`). With usual gaps of
# two ticks some are of one and all at most of three, 2.5 in the mean, so that so many times fewer ticks of a clock fall on a frame.
LEAST = 0.4


def tick_count(info: VideoInfo, fps: float | None) -> int:
    """Number of ticks of `ssvid.data.sampling.clock`, for which no frame has to be looked at."""
    if fps is None and not info.variable:
        return info.frames
    rate = fps if fps is not None else info.fps
    return max(0, math.ceil((info.duration - 0.5 / rate) / (1.0 / rate)))  # as np.arange counts


def plainly_fits(video: VideoRecord, length: int, fps: float | None, min_motion: float) -> bool:
    """Whether a video of an index has, beyond doubt, a window of `length` ticks that crosses no cut and moves enough.

    False where only its frames can tell. Arrays that a record holds are always looked at: they are at hand.
    """
    info, shots = video.info, video.shots
    if info.variable or not isinstance(held(shots, "motion"), Stored):
        return False
    edges = (0, *shots.cuts, info.frames)
    shot = max(end - begin for begin, end in pairwise(edges))
    least = 1.0 if fps is None else LEAST * fps / info.fps  # ticks a frame
    ticks = int(shot * least - (fps is not None)) if shots.cuts else tick_count(info, fps)
    if ticks < length:
        return False
    if min_motion <= 0:
        return True
    if length < 2:  # a single frame does not move
        return False
    # of windows side by side, one has at most its share of the still frames, and every other one moved by more than STILL
    still = round(shots.static * (info.frames - 1)) // ((ticks - 1) // (length - 1))
    frames = (length - 1) * (1.0 if fps is None else LEAST * info.fps / fps) - (fps is not None)
    return (frames - still) * STILL > min_motion * frames > 0
