"""What is known of a video, as an index gives it, and how it is kept in a row of the index."""

from __future__ import annotations

import gc
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ssvid.data.frame_table import StoredFrames
from ssvid.data.layouts.entries import known_split
from ssvid.video.info import VideoInfo
from ssvid.video.shots import Shots

READ_AT_ONCE = 1000  # rows whose JSON is parsed in one go
_INFO = tuple(found.name for found in fields(VideoInfo) if found.name != "times")


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """One usable video of an index.

    info describes the original file; `source` is what to decode, the training copy where there is one: the copy has the same frames
    at the same times, only smaller and quicker to seek in. hidden: part of the picture that is masked wherever the video is read, bool
    (h,w), a grid over the whole picture as shown; None shows all. What is known of every frame (info.times, shots.motion) stays in the
    index until it is asked for; a process keeps that of the videos it asked for last.
    """

    id: int
    info: VideoInfo
    shots: Shots
    label: str | None = None
    split: str | None = None
    group: str | None = None
    copy: VideoInfo | None = None
    hidden: np.ndarray | None = field(default=None, compare=False)

    @property
    def path(self) -> str:
        """The original file."""
        return self.info.path

    @property
    def source(self) -> VideoInfo:
        """The file to decode."""
        return self.copy or self.info


@dataclass(frozen=True)
class BadVideo:
    """One file of an index that cannot be used, and why."""

    path: str
    reason: str

    @property
    def missing(self) -> bool:
        """Whether a list names the file and it is not there."""
        return self.reason.startswith("missing:")


def fingerprint(videos: Iterable[VideoRecord]) -> str:
    """Twelve hex digits that change when a video is added, removed, renamed, relabelled, overwritten, masked or decoded from a copy of
    another size."""
    digest = hashlib.sha256()
    for video in videos:
        info = video.info
        row = (video.path, video.label, video.split, video.group, info.frames, info.identity, video.source.width)
        digest.update(json.dumps(row).encode())
        if video.hidden is not None:
            digest.update(video.hidden.tobytes())
    return digest.hexdigest()[:12]


def records(index: Path, rows: Iterator[tuple[Any, ...]]) -> list[VideoRecord]:
    """Records of rows (id, label, split, group, info, shots, copy), made in bulk: there may be hundreds of thousands."""
    found: list[VideoRecord] = []
    place, known, spelled = os.path.abspath(index), _Known(), cache(known_split)
    with _without_collector():
        while some := list(islice(rows, READ_AT_ONCE)):
            infos, shots = (json.loads(f"[{','.join([row[column] for row in some])}]") for column in (4, 5))
            for (id, label, split, group, _, _, copy), info, shot in zip(some, infos, shots, strict=True):
                stored: Any = StoredFrames(place, id, info["path"], info["frames"], info["identity"])
                names = known[label], known[spelled(split)], known[group]
                held = Shots(stored, known[tuple(shot["cuts"])], known[tuple(shot["bars"])], shot["static"])
                small = _info(stored, json.loads(copy), known) if copy else None
                found.append(VideoRecord(id, _info(stored, info, known), held, *names, small))
    return found


class _Known(dict[Any, Any]):
    """Gives for equal values the one that came first, so that they are kept once."""

    def __missing__(self, value: Any) -> Any:
        self[value] = value
        return value


def _info(stored: Any, fields: dict[str, Any], known: _Known) -> VideoInfo:
    fields["codec"], fields["container"] = known[fields["codec"]], known[fields["container"]]
    return VideoInfo(times=stored, **fields)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Pause the garbage collector, which would look through objects that all stay, again and again."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


def info_to_json(info: VideoInfo) -> str:
    """What an index keeps of a file beside its times."""
    return json.dumps({name: getattr(info, name) for name in _INFO})


def shots_to_json(shots: Shots) -> str:
    """What an index keeps of cuts, bars and static share."""
    return json.dumps({"cuts": shots.cuts, "bars": shots.bars, "static": shots.static})
