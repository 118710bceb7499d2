"""Copies of videos as they go round the net: cropped, smaller and encoded again. A search that deserves the name finds their originals."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssvid.data.index import Index
from ssvid.data.scanning import copy_name, scan_videos
from ssvid.data.video_record import VideoRecord
from ssvid.progress import Progress
from ssvid.video.reader import Video
from ssvid.video.writer import write_video

CRF = 28  # visibly coarser than the original
AT_ONCE = 64  # frames decoded at once


def make_copies(
    videos: Sequence[VideoRecord],
    folder: Path,
    crop: float = 0.8,
    scale: float = 0.5,
    progress: Progress | None = None,
) -> list[VideoRecord]:
    """A copy of every video, in their order: the central share `crop` of each side, at `scale` of its size, H.264 at CRF 28.

    They are kept in `folder`, by the original's path and settings, and made once. Raises VideoError for a video that cannot be read.
    """
    settings = hashlib.sha256(repr((crop, scale, CRF)).encode()).hexdigest()[:8]
    place = folder / settings
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / copy_name(video.path, video.info.identity) for video in videos]
    for number, (video, path) in enumerate(zip(videos, paths, strict=True), 1):
        if not path.exists():
            write_copy(video, path, crop, scale)
        if progress:
            progress("copying", number, len(videos))
    index = Index(place / "index.sqlite", create=True)
    scan_videos(paths, index)
    found = {record.path: record for record in index.videos()}
    return [found[str(path.resolve())] for path in paths]


def write_copy(video: VideoRecord, path: Path, crop: float, scale: float) -> None:
    """Write one copy, with the original's times."""
    info = video.info
    height, width = (max(16, round(side * scale)) for side in (info.height, info.width))
    inner = [max(16, round(side * crop) // 2 * 2) for side in (height, width)]
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    reader = Video(info.path, info)
    frames = (
        frame[top : top + inner[0], left : left + inner[1]]
        for first in range(0, info.frames, AT_ONCE)
        for frame in reader.frames(np.arange(first, min(first + AT_ONCE, info.frames)), (height, width))
    )
    timing = {"times": info.times} if info.variable else {"fps": info.fps}
    write_video(path, frames, crf=CRF, options={"preset": "veryfast", "threads": "1"}, **timing)
