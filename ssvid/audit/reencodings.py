"""Real videos written again: at another quality, at another frame rate with another codec, or backwards.

Re-encoding keeps the content and replaces the traces of the encoder. An answer that rests on the content stays the same.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ssvid.data.video_record import VideoRecord
from ssvid.files import cache_folder
from ssvid.training.task import PretextTask
from ssvid.video.info import VideoInfo, short_side
from ssvid.video.reader import Video
from ssvid.video.shots import Shots
from ssvid.video.writer import write_video

RECIPES = zlib.crc32(Path(__file__).read_bytes())  # part of the cache key: after a change here the videos are made anew
MARGIN = 12  # frames kept before and after those the task needs
RATES = (0.8, 1.25)  # factors of the frame rate; the first that leaves the task enough frames is used


@dataclass(frozen=True)
class Reencoding:
    """One way to write a video again.

    description: what the videos show. rate: whether the frame rate changes. backwards: whether the last frame comes first.
    general: whether every task gets it; otherwise only tasks that declare it. encoding: arguments of `write_video`.
    """

    description: str
    rate: bool = False
    backwards: bool = False
    general: bool = True
    encoding: Mapping[str, str | int] = field(default_factory=dict)


REENCODINGS = {
    "recode": Reencoding(
        "the held-out videos, all compressed again, harder and without B-frames",
        encoding={"codec": "libx264", "crf": 30, "gop": 9, "bframes": 0},
    ),
    "frame_rate": Reencoding(
        "the held-out videos at another frame rate and with another codec (MPEG-4)",
        rate=True,
        encoding={"codec": "mpeg4", "crf": 30},
    ),
    "reversed": Reencoding(
        "the held-out videos played backwards, then all compressed again: the content runs backward, the file forward",
        backwards=True,
        general=False,
        encoding={"codec": "libx264", "crf": 30, "gop": 12},
    ),
}


def make_reencodings(
    name: str, task: PretextTask, videos: Sequence[VideoRecord], advance: Callable[[], None] = lambda: None
) -> list[VideoRecord | None]:
    """The part of each video that the task's test sample needs, written again. Videos are kept in the cache folder.

    None stands for a video that would be too short for the task. advance: called after every video.
    """
    made: list[VideoRecord | None] = []
    for video in videos:
        made.append(_make(REENCODINGS[name], task, video))
        advance()
    return made


def _make(recipe: Reencoding, task: PretextTask, video: VideoRecord) -> VideoRecord | None:
    """One video written again, or None where it would be too short."""
    first, last = excerpt(task, video)
    for rate in RATES if recipe.rate else (1.0,):
        fresh, picks = _record(video, first, last, rate, recipe.backwards)
        if task.why_unusable(fresh) is None:
            break
    else:
        return None
    side = min(2 * round(task.augment.decode_size / 2), min(video.source.width, video.source.height) // 2 * 2)
    height, width = (length + length % 2 for length in short_side(video.info.height, video.info.width, side))
    key = [
        RECIPES,
        video.path,
        video.info.identity,
        video.info.frames,
        picks.tolist(),
        height,
        width,
        dict(recipe.encoding),
    ]
    path = cache_folder() / "reencodings" / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]}.mp4"
    if not path.exists():
        _write(path, video, picks, (height, width), fresh.info, recipe.encoding)
    copy = replace(fresh.info, path=str(path), width=width, height=height, rotation=0, mirror=False, seek=False)
    copy = replace(copy, audio=False, identity="")
    return replace(fresh, copy=copy)


def excerpt(task: PretextTask, video: VideoRecord) -> tuple[int, int]:
    """First frame, and one after the last, of the part of a video that the task's test sample needs, with a margin."""
    indices = task.sample(video, np.random.default_rng(0), training=False).indices
    needed = int(np.ceil((task.test_window.length - 1) * (video.info.fps / task.fps if task.fps else 1))) + 1
    needed = int(np.ceil(max(needed, int(np.ptp(indices)) + 1) / min(RATES)))
    middle = (int(indices.min()) + int(indices.max())) // 2
    first = max(0, min(middle - needed // 2, video.info.frames - needed) - MARGIN)
    return first, min(video.info.frames, first + needed + 2 * MARGIN)


def _record(video: VideoRecord, first: int, last: int, rate: float, backwards: bool) -> tuple[VideoRecord, np.ndarray]:
    """The record of frames first .. last - 1 at `rate` times their frame rate, and the indices of the frames of the video it shows."""
    times = video.info.times[first:last] - video.info.times[first]
    picks = np.arange(first, last)
    if rate != 1:
        fps = video.info.fps * rate
        times = np.arange(0, times[-1] + 1e-6, 1 / fps)
        picks = (
            first + np.searchsorted(video.info.times[first:last] - video.info.times[first], times + 1e-6, "right") - 1
        )
    elif backwards:
        picks, times = picks[::-1], times[-1] - times[::-1]
    info = replace(
        video.info,
        frames=len(picks),
        fps=video.info.fps * rate,
        duration=float(times[-1]) + 1 / (video.info.fps * rate),
        variable=video.info.variable and rate == 1,
        times=times,
    )
    return replace(video, info=info, shots=_shots(video.shots, picks), copy=None), picks


def _shots(shots: Shots, picks: np.ndarray) -> Shots:
    """Motion and cuts of a video made of the frames `picks`, in that order."""
    moved, cuts_before = np.cumsum(shots.motion), np.searchsorted(shots.cuts, picks, "right")
    motion = np.abs(np.diff(moved[picks], prepend=moved[picks[0]])).astype(np.float32)
    cuts = tuple((np.flatnonzero(np.diff(cuts_before)) + 1).tolist())
    return replace(shots, motion=motion, cuts=cuts)


def _write(
    path: Path,
    video: VideoRecord,
    picks: np.ndarray,
    size: tuple[int, int],
    info: VideoInfo,
    encoding: Mapping[str, str | int],
) -> None:
    frames = Video(video.source.path, video.source).frames(picks, size)
    timing = {"times": info.times} if info.variable else {"fps": info.fps}
    options = {"threads": "1"} | ({"preset": "veryfast"} if encoding["codec"] == "libx264" else {})
    write_video(path, frames, options=options, **timing, **encoding)  # type: ignore[arg-type]
