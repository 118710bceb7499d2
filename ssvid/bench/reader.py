"""Right and wrong frames: every frame of many files, read at random, beside the same by bare decord."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from ssvid.bench.reader_files import make_files
from ssvid.errors import VideoError
from ssvid.video.decode import Scaler, decode_in_order, open_video
from ssvid.video.guard import Guard
from ssvid.video.info import VideoInfo, short_side
from ssvid.video.random_access import DecordFile
from ssvid.video.reader import Video
from ssvid.video.scan import scan
from ssvid.video.seek import InOrder, PacketTable, fingerprint, same_frame
from ssvid.video.times import shown_as_decoded

WINDOW = 16  # frames that are read with one fresh reader
SIDE = 64  # px
SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".flv", ".wmv", ".asf", ".ts", ".mpg", ".mpeg", ".gif")
DECORD_LIMIT = 120.0  # seconds


@dataclass
class _Tally:
    """What was found on files of one kind."""

    files: int = 0
    refused: int = 0
    at_random: int = 0
    frames: int = 0
    wrong: int = 0
    bare: int = 0
    timed: int = 0
    times: int = 0
    files_wrong: list[str] = field(default_factory=list)


def bench_reader(folder: Path, rounds: int, videos: Path | None = None) -> list[dict[str, Any]]:
    """Frames that differ from decoding in order, over files made here and those of a folder.

    Every frame is read once at random, in windows of 16 with a fresh reader each; of the files made here, each is also read alone. Times
    count as wrong when they miss those of the container's packets by more than half a frame.
    """
    kinds = {f"made: {kind}": paths for kind, paths in make_files(folder / "made").items()}
    for path in sorted(videos.rglob("*")) if videos else ():
        if path.suffix.lower() in SUFFIXES and path.is_file() and videos:
            kinds.setdefault(path.relative_to(videos).parts[0], []).append(path)
    tallies = {}
    with Guard() as guard:
        for kind, paths in kinds.items():
            tallies[kind] = _Tally()
            for path in paths:
                _compare(guard, path, tallies[kind], alone=kind.startswith("made"))
    rows = [_row(kind, tally) for kind, tally in tallies.items()]
    names = [name for name, value in rows[0].items() if isinstance(value, int)]
    return [*rows, {"kind": "all", **{name: sum(row[name] for row in rows) for name in names}, "wrong files": ""}]


def _row(kind: str, tally: _Tally) -> dict[str, Any]:
    return {
        "kind": kind,
        "files": tally.files,
        "refused": tally.refused,
        "read at random": tally.at_random,
        "frames": tally.frames,
        "wrong": tally.wrong,
        "wrong by bare decord": tally.bare,
        "times compared": tally.timed,
        "wrong times": tally.times,
        "wrong files": " ".join(tally.files_wrong),
    }


def _compare(guard: Guard, path: Path, tally: _Tally, alone: bool) -> None:
    tally.files += 1
    try:
        info, _ = scan(path, guard=guard)
    except VideoError:
        tally.refused += 1
        return
    truth = whole_in_order(info)
    requests = [list(range(start, min(start + WINDOW, info.frames))) for start in range(0, info.frames, WINDOW)]
    if alone:
        requests += [[number] for number in range(0, info.frames, 1 if info.seek else WINDOW)]
    video = Video(path, info)
    reads = (
        requests if info.seek or alone else [list(range(info.frames))]
    )  # in order: one read, or it would take for ever
    wrong = sum(wrong_frames(truth, request, video.frames(request, truth.size)) for request in reads)
    asked = sum(map(len, requests))
    try:
        bare = guard.run(_bare, str(path), requests, truth, limit=DECORD_LIMIT)
    except VideoError:
        bare = asked
    tally.at_random += info.seek
    tally.frames += asked
    tally.wrong += wrong
    tally.bare += bare
    timed, off = _times_off(info)
    tally.timed += timed
    tally.times += off
    if wrong or off:
        tally.files_wrong.append(path.name)


def whole_in_order(info: VideoInfo) -> InOrder:
    """The file as it decodes in order."""
    size = short_side(info.height, info.width, SIDE)
    scaler = Scaler(*size, info.orientation)
    container, stream = open_video(info.path)
    prints, sums = [], []
    with container:
        for _, frame in zip(range(info.frames), decode_in_order(container, stream), strict=False):
            small = scaler(frame)
            prints.append(fingerprint(small))
            sums.append(zlib.crc32(small.tobytes()))
    return InOrder(PacketTable(), [], np.stack(prints), np.array(sums, np.uint32), size, True, 0.0)


def wrong_frames(truth: InOrder, request: list[int], frames: Iterator[np.ndarray] | np.ndarray) -> int:
    """How many of the small frames (T,h,w,C) are not those asked for."""
    known = set(truth.sums.tolist())
    right = (
        same_frame(truth, known, index, fingerprint(frame), zlib.crc32(frame.tobytes()))
        for index, frame in zip(request, frames, strict=True)
    )
    return sum(not one for one in right)


def _bare(path: str, requests: list[list[int]], truth: InOrder) -> int:
    """Frames that decord gives wrong, or not at all; runs in the child."""
    wrong = 0
    for request in requests:
        try:
            with DecordFile(path, *truth.size) as file:
                wrong += wrong_frames(truth, request, file.frames(request))
        except VideoError:
            wrong += len(request)
    return wrong


def _times_off(info: VideoInfo) -> tuple[int, int]:
    """Frames whose time is compared, which are those of files whose packets tell every frame's; those more than half a frame off."""
    container, stream = open_video(info.path)
    with container:
        try:
            packets = [packet for packet in container.demux(stream) if packet.size and not packet.is_discard]
        except av.error.FFmpegError:
            return 0, 0
        if shown_as_decoded(container, stream):
            return 0, 0
        stamps = [packet.pts for packet in packets]
        tick = float(stream.time_base or 0)
    known = [stamp for stamp in stamps if stamp is not None]
    if len(known) != info.frames or len(set(known)) != len(known):
        return 0, 0
    theirs = np.sort(np.array(known)) * tick
    return len(known), int((np.abs(theirs - theirs[0] - info.times) > 0.5 / info.fps).sum())
