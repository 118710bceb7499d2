"""Some seconds of a video as a small clip that loops in a browser: H.264 and a still picture of its middle."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ssvid.data.video_record import VideoRecord
from ssvid.video.reader import Video
from ssvid.video.writer import write_video

SIDE = 144  # px, the short side
RATE = 15.0  # frames a second, at most
LEAST, MOST = 1.0, 6.0  # seconds


class Preview(NamedTuple):
    """An mp4, a JPEG of its middle frame, and the seconds from and to of what it shows."""

    movie: bytes
    still: bytes
    start: float
    end: float


def preview(video: VideoRecord, start: float, end: float) -> Preview:
    """The clip from `start` to `end` seconds; a moment gets a second around it, and of a long span the middle is shown.

    Raises VideoError for a file that cannot be read.
    """
    start, end = preview_span(start, end, video.info.duration)
    rate = min(RATE, video.info.fps)
    seconds = np.arange(start, max(end - 0.5 / rate, start + 1e-3), 1 / rate)
    frames = Video(video.source.path, video.source).at(
        np.minimum(seconds, video.info.times[-1]), min(SIDE, _short(video))
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, frames, fps=rate, crf=27, options={"preset": "veryfast", "threads": "1"})
        movie = path.read_bytes()
    still = io.BytesIO()
    Image.fromarray(frames[len(frames) // 2]).save(still, "JPEG", quality=70, optimize=True)
    return Preview(movie, still.getvalue(), start, end)


def preview_span(start: float, end: float, duration: float) -> tuple[float, float]:
    """The seconds that are shown of a span: at least `LEAST` where the video has them, at most `MOST`, around the same middle."""
    length = min(max(end - start, LEAST), MOST, duration)
    first = min(max((start + end) / 2 - length / 2, 0.0), duration - length)
    return first, first + length


def _short(video: VideoRecord) -> int:
    return min(video.source.width, video.source.height)
