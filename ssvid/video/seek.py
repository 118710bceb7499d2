"""The verdict on random access: which files decord may be asked for frames at random.

decord seeks to the key frame at or before a frame, by its own table of the packets, and counts the frames that come out from there on. So
a wrong frame comes from a seek that lands elsewhere (fragments, FLV, ASF, MPEG streams), from key frames before which frames are shown
that depend on them (open groups), from stamps that are not those of presentation (AVI with B-frames), and from frames that come out at
none or at two of them (edit lists, damage). A sample finds such places by luck. Here a file is first judged by its structure: only where
packets and frames stand one to one, every group is closed and the container has a true index, decord is asked at all. Then every frame is
compared, each reached by a seek to the key frame before it; of long files whose key frames are proven to clear the decoder, the frames at
every key frame, all of the first and all of the last group.
"""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import av
import numpy as np

from ssvid.errors import VideoError
from ssvid.video.boxes import is_fragmented
from ssvid.video.guard import Guard, heartbeat
from ssvid.video.random_access import DecordFile, agree
from ssvid.video.shots import grey

SEEK_LIMIT = 30.0  # seconds, beside four times what decoding in order took
CONTAINERS = ("mov,mp4", "matroska", "avi", "gif")  # with an index of key frames that decord seeks by
FULL = 300  # frames up to which every frame of a file is compared, whatever its structure
HEAD = 2  # frames that are compared behind every key frame of longer ones, the key frame included
CROSSING = 2  # frames that are compared behind a key frame that is reached without a seek
GRID = 16  # a frame is recognised by its checksum, or by its print: GRID x GRID of its small grey pixels
MARGIN = 0.3  # mean difference of two prints, in grey levels, from which they count as different
UNLIKE = 3.0  # mean difference of prints that no two decoders show on the same frame
NEAR = 256  # frames on either side that a frame may be mistaken for
H264_IDR = 5

logger = logging.getLogger(__name__)


@dataclass
class PacketTable:
    """The packets of a stream as they lie in the file.

    Attributes:
        stamps: ticks of presentation of every packet.
        keys: places of the packets that are marked as key frames.
        restarts: whether every one of these is known to clear the decoder, so that nothing behind it needs what lies before.
        reached: the latest time in seconds.
    """

    stamps: list[int | None] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    restarts: bool = True
    reached: float = 0.0

    def add(self, packet: av.Packet[Any]) -> None:
        """Take the next packet in the order of the file."""
        if not packet.size:
            return
        if packet.is_keyframe:
            self.keys.append(len(self.stamps))
            self.restarts = self.restarts and _restarts(packet)
        self.stamps.append(packet.pts)
        if packet.pts is not None and packet.time_base is not None:
            time = float((packet.pts - (packet.stream.start_time or 0)) * packet.time_base)
            self.reached = max(self.reached, time)

    @property
    def closed(self) -> bool:
        """Whether every group of pictures is shown before the next one begins."""
        stamps = np.array(self.stamps, np.int64)
        latest = np.maximum.accumulate(stamps)
        earliest = np.minimum.accumulate(stamps[::-1])[::-1]
        return all(earliest[key] == stamps[key] and (key == 0 or latest[key - 1] < stamps[key]) for key in self.keys)

    @property
    def reordered(self) -> bool:
        """Whether packets lie in another order than they are shown."""
        return bool((np.diff(np.array(self.stamps, np.int64)) < 0).any())


def _restarts(packet: av.Packet[Any]) -> bool:
    """Whether an H.264 packet holds an IDR picture. Other codecs are not looked into."""
    context = packet.stream.codec_context
    if context is None or context.name != "h264":
        return False
    data, extra = bytes(packet), context.extradata or b""
    if extra[:1] == b"\x01":  # as in mp4: units behind their lengths
        length = (extra[4] & 3) + 1
        at = 0
        while at + length < len(data):
            if data[at + length] & 31 == H264_IDR:
                return True
            at += length + int.from_bytes(data[at : at + length], "big")
        return False
    return any(unit[:1] and unit[0] & 31 == H264_IDR for unit in data.split(b"\x00\x00\x01"))


@dataclass
class InOrder:
    """What decoding in order showed, to compare with.

    Attributes:
        packets: the packets it came from.
        stamps: ticks of every frame.
        prints: uint8 (frames, GRID * GRID), small grey pixels.
        sums: uint32 (frames,), checksums of the small frames.
        size: (height, width) of the small frames.
        sound: whether every frame decoded without damage, and all have one size and no mirror.
        seconds: how long it took.
    """

    packets: PacketTable
    stamps: list[int | None]
    prints: np.ndarray
    sums: np.ndarray
    size: tuple[int, int]
    sound: bool
    seconds: float


def fingerprint(picture: np.ndarray) -> np.ndarray:
    """uint8 (GRID * GRID,) of a small picture (h,w,C)."""
    result: np.ndarray = grey(picture[_grid(*picture.shape[:2])]).round().astype(np.uint8).ravel()
    return result


@lru_cache(16)
def _grid(height: int, width: int) -> tuple[np.ndarray, ...]:
    return np.ix_(*(np.linspace(0, side - 1, GRID).round().astype(int) for side in (height, width)))


def seeks_right(
    guard: Guard, path: str, seen: InOrder, times: np.ndarray, fps: float, container: str, codec: str
) -> bool:
    """Whether decord gives every frame of the file right; a crash or a hang there is a no.

    Args:
        guard: the process in which decord is asked.
        path: the file.
        seen: what decoding in order showed.
        times: seconds of every frame.
        fps: frames a second, the mean.
        container: FFmpeg's name.
        codec: FFmpeg's name.
    """
    reason = why_in_order(path, seen, container, codec)
    if not reason:
        plain = seen.packets.restarts and not container.startswith(("avi", "gif"))
        requests = frames_to_ask(seen.packets.keys, len(seen.sums), plain)
        reason = _why_wrong(guard, path, seen, requests, times, fps)
    if reason:
        logger.info("%s: no random access, read in order instead: %s", path, reason)
    return not reason


def why_in_order(path: str, seen: InOrder, container: str, codec: str) -> str:
    """Why a file is not to be read at random, by its structure; empty where it may be."""
    packets = seen.packets
    if not container.startswith(CONTAINERS):
        return f"{container} has no index to seek by"
    if container.startswith("mov") and is_fragmented(path):
        return "it is fragmented"
    if not seen.sound:
        return "it has damage, mirrored pictures or several sizes"
    if None in seen.stamps or None in packets.stamps:
        return "stamps are missing"
    if sorted(packets.stamps) != seen.stamps or len(set(seen.stamps)) != len(seen.stamps):  # type: ignore[type-var]
        return "packets and frames do not stand one to one"
    if packets.keys[:1] != [0] or not packets.closed:
        return "frames are shown before the key frame that they depend on"
    if packets.reordered and container.startswith("avi"):
        return "its stamps are those of decoding"
    if packets.reordered and codec == "hevc" and len(packets.keys) > 1:
        return "decord loses reordered HEVC at key frames, by chance"
    return ""


def frames_to_ask(keys: list[int], count: int, plain: bool) -> list[list[int]]:
    """Sorted frames to ask for, each list with a fresh reader.

    Every other group of pictures, and then those between: so each key frame is reached by a seek once. The first frames of the group behind
    are asked for without one, when that leaves a frame out before the next seek.
    """
    groups = [range(start, stop) for start, stop in zip(keys, [*keys[1:], count], strict=True)]
    last = [[count - 1]]
    if plain and count > FULL:
        heads = [group[:HEAD] if group is not groups[0] and len(group) > HEAD else group for group in groups]
        return [[number for head in heads for number in head], list(groups[-1]), *last]
    lists = []
    for half in (0, 1):
        asked: list[int] = []
        for number in range(half, len(groups), 2):
            asked.extend(groups[number])
            for behind in groups[number + 1 : number + 2]:
                asked.extend(behind[: min(CROSSING, len(behind) - 1)])
        lists.append(asked)
    return [asked for asked in lists if asked] + last


def _why_wrong(guard: Guard, path: str, seen: InOrder, requests: list[list[int]], times: np.ndarray, fps: float) -> str:
    try:
        answers = guard.run(ask_decord, path, requests, seen.size, limit=SEEK_LIMIT + 4 * seen.seconds)
    except VideoError as error:
        return error.reason
    known = set(seen.sums.tolist())
    for request, (prints, sums, theirs, count) in zip(requests, answers, strict=True):
        if count != len(seen.sums):
            return f"decord counts {count} frames of {len(seen.sums)}"
        if not agree(theirs, times[[0, *request]], fps):
            return "decord knows other times"
        for index, print_, checksum in zip(request, prints, sums, strict=True):
            if not same_frame(seen, known, index, print_, checksum):
                return f"frame {index} came wrong"
    return ""


def ask_decord(
    path: str, requests: list[list[int]], size: tuple[int, int]
) -> list[tuple[np.ndarray, list[int], np.ndarray, int]]:
    """Prints, checksums and times (with that of frame 0 before them) of the frames asked for, and decord's count; runs in the child."""
    answers = []
    for request in requests:
        with DecordFile(path, *size) as file:
            prints, sums = [], []
            for frame in file.frames(request):
                prints.append(fingerprint(frame))
                sums.append(zlib.crc32(frame.tobytes()))
                heartbeat()
            answers.append((np.stack(prints), sums, file.times([0, *request]), len(file)))
    return answers


def same_frame(seen: InOrder, known: set[int], index: int, asked: np.ndarray, checksum: int) -> bool:
    """Whether decord's frame is frame `index` of the pass in order; exact duplicates count as the same.

    PyAV and decord bring an FFmpeg each. Where their decoders agree to the bit, and those of nearly all codecs do, the
    checksum decides; else the nearest print.
    """
    if checksum in known:
        return bool(seen.sums[index] == checksum)
    first = max(0, index - NEAR)
    near = seen.prints[first : index + NEAR + 1].astype(np.int16)
    distance = np.abs(near - asked.astype(np.int16)).mean(axis=1)
    return bool(distance[index - first] <= min(float(distance.min()) + MARGIN / 2, UNLIKE))
