"""A training copy of a video: small, quick to seek in, with the same frames at the same times."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import numpy as np

from ssvid.errors import VideoError
from ssvid.video.decode import Scaler, decode_in_order, open_video
from ssvid.video.guard import heartbeat
from ssvid.video.info import VideoInfo, short_side
from ssvid.video.orientation import Orientation
from ssvid.video.writer import write_video

GOP = 8  # frames from key frame to key frame: a random clip decodes 4 frames too many on average
CRF = 20


def transcode(path: str | os.PathLike[str], target: str | os.PathLike[str], info: VideoInfo, size: int = 160) -> None:
    """Write `target` (mp4): H.264 without B-frames, a key frame every 8 frames, short side `size` px, frames and times as in `info`.

    A video that is smaller already keeps its size. Rotation is applied; sound is left out.
    Raises VideoError when the video does not decode as `info` says.
    """
    height, width = short_side(info.height, info.width, min(size, info.height, info.width))
    frames = upright_frames(os.fspath(path), height + height % 2, width + width % 2, info.frames)
    timing = {"times": info.times} if info.variable else {"fps": info.fps}
    # without CABAC and deblocking a file is a tenth larger and decodes a fifth quicker
    options = {"preset": "veryfast", "tune": "fastdecode", "threads": "1"}
    write_video(target, frames, crf=CRF, gop=GOP, bframes=0, options=options, **timing)


def upright_frames(path: str, height: int, width: int, count: int) -> Iterator[np.ndarray]:
    """The first `count` frames in order, turned upright and scaled, uint8 (H,W,3). Raises VideoError where there are fewer."""
    container, stream = open_video(path)
    with container:
        scaler, number = None, 0
        for frame in itertools.islice(
            decode_in_order(container, stream), count
        ):  # damage after the last verified frame is not reached
            if scaler is None:
                scaler = Scaler(height, width, Orientation.of(frame))
            heartbeat()
            number += 1
            yield scaler(frame)
    if number != count:
        raise VideoError(path, f"has {number} frames now, {count} when it was indexed; index it again")
