"""How one file is decoded: its stream, its frames in order (PyAV), its frames at random (decord), one scaler for both.

Both ways run FFmpeg's filters `transpose`, `scale` and `format=rgb24`, which decord has built in: they give the same
pixels, bit for bit, whatever the rotation, colour matrix, range, bit depth and size.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import av
import numpy as np

from ssvid.errors import VideoError

MAX_SIDE = 16384
MAX_PIXELS = 1 << 26  # twice an 8K frame; a header that claims more is damaged or hostile
# FFmpeg draws text as ANSI art, playlists lead to other files, and pictures are no videos
REFUSED = ("tty", "image2", "_pipe", "hls", "dash", "concat", "ffmetadata", "lavfi", "rtsp", "sdp")


def check_file(path: str | os.PathLike[str]) -> str:
    """Return the path as a string; raise VideoError unless it is a readable file with something in it."""
    path = os.fspath(path)
    if not os.path.exists(path):
        raise VideoError(path, "no such file")
    if os.path.isdir(path):
        raise VideoError(path, "is a folder, not a video file")
    if not os.path.isfile(path):
        raise VideoError(path, "is not a regular file")
    if not os.access(path, os.R_OK):
        raise VideoError(path, "may not be read; check its permissions")
    if os.path.getsize(path) == 0:
        raise VideoError(path, "is empty (0 bytes); fetch it again")
    return path


def open_video(path: str) -> tuple[av.container.InputContainer, av.VideoStream]:
    """Open a file and choose the video stream that FFmpeg holds best, as decord does; checked before a frame is decoded.

    Raises:
        VideoError: not a video, no video stream, cover art only, encrypted, absurd dimensions, no decoder.
    """
    check_file(path)
    try:
        # an absolute path, because FFmpeg reads `a:b.mp4` as protocol a
        container = av.open(os.path.abspath(path), options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(path, _why_not_open(path, error)) from None
    try:
        return container, _stream(path, container)
    except BaseException:
        container.close()
        raise


def _why_not_open(path: str, error: Exception) -> str:
    boxes = dict(_boxes(path))
    if "ftyp" in boxes and "moov" not in boxes:
        return "is truncated: its index (the moov box) is missing; fetch or record it again"
    reason = getattr(error, "strerror", None) or str(error)
    return f"is not a video, or is damaged from its beginning (FFmpeg: {reason})"


def _stream(path: str, container: av.container.InputContainer) -> av.VideoStream:
    name = container.format.name
    if any(refused in name for refused in REFUSED):
        raise VideoError(path, f"is not a video file (FFmpeg takes it for {name})")
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream):
        raise VideoError(path, "has sound but no video" if container.streams.audio else "holds no video stream")
    if stream.disposition & av.stream.Disposition.attached_pic:
        raise VideoError(path, "has a cover picture but no video")
    if "mp4" in name and _encrypted(path):
        raise VideoError(path, "is encrypted; decrypt it first")
    context = stream.codec_context
    if context is None:
        raise VideoError(path, "has a codec that this FFmpeg cannot decode; convert it to H.264")
    if context.width < 1 or context.height < 1:
        raise VideoError(path, "states no usable frame size; it is damaged, or not a video")
    if max(context.width, context.height) > MAX_SIDE or context.width * context.height > MAX_PIXELS:
        raise VideoError(
            path, f"claims frames of {context.width}x{context.height} pixels; it is damaged, or scale it down"
        )
    context.options = {"max_pixels": str(MAX_PIXELS)}  # holds for sizes that change later too
    context.thread_count = 1  # workers run side by side; and one thread has one outcome on damaged data
    return stream


def _boxes(path: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """(type, (start, end)) of the top boxes of an mp4."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        at = 0
        while at + 8 <= size:
            file.seek(at)
            length, kind = struct.unpack(">I4s", file.read(8))
            if length == 1:
                large = file.read(8)
                length = int.from_bytes(large, "big") if len(large) == 8 else 0
            length = length or size - at
            if length < 8:
                return
            yield kind.decode("latin-1"), (at, min(at + length, size))
            at += length


def _encrypted(path: str) -> bool:
    """Whether an mp4 declares common encryption of video; its samples may decode, into noise."""
    for kind, (start, end) in _boxes(path):
        if kind == "moov":
            with open(path, "rb") as file:
                file.seek(start)
                return b"encv" in file.read(end - start)
    return False


@dataclass
class Demuxed:
    """How far a file was read: packets so far (one a frame, hidden frames included), and their latest time in seconds."""

    packets: int = 0
    reached: float = 0.0


def decode_in_order(
    container: av.container.InputContainer, stream: av.VideoStream, demuxed: Demuxed | None = None
) -> Iterator[av.VideoFrame]:
    """Every frame in order of presentation; `demuxed` is kept up to date on the way.

    What cannot be decoded before the first good frame (a recording that begins between key frames) is passed over; a
    later error is raised, because the frames after it depend on what was lost.

    Raises:
        av.error.FFmpegError: data in the middle of the file cannot be read or decoded.
    """
    demuxed = demuxed or Demuxed()
    started = False
    for packet in container.demux(stream):
        demuxed.packets += packet.size > 0
        if packet.pts is not None and packet.time_base is not None:
            time = float((packet.pts - (stream.start_time or 0)) * packet.time_base)
            demuxed.reached = max(demuxed.reached, time)
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            if started:
                raise
            continue
        for frame in frames:
            started = True
            yield frame


def rotation_of(frame: av.VideoFrame) -> int:
    """Degrees clockwise to turn the frame for showing; angles between the quarter turns count as 0, as in decord."""
    turn = -frame.rotation % 360
    return turn if turn in (90, 180, 270) else 0


def shown_size(frame: av.VideoFrame) -> tuple[int, int]:
    """(height, width) of a frame as shown, turned by its rotation."""
    return (frame.width, frame.height) if rotation_of(frame) % 180 else (frame.height, frame.width)


def rotate(picture: np.ndarray, rotation: int) -> np.ndarray:
    """Turn an array (H,W,...) by degrees clockwise."""
    return np.rot90(picture, -rotation // 90)


class Scaler:
    """Turns decoded frames upright and into uint8 (H,W,C) RGB of one size.

    Args:
        height: pixels as shown.
        width: pixels as shown.
        rotation: degrees clockwise.
    """

    def __init__(self, height: int, width: int, rotation: int) -> None:
        self.size, self.rotation = (height, width), rotation
        self._graph: av.filter.Graph | None = None
        self._takes: tuple[int, int, str] | None = None

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """Return the frame as uint8 (H,W,C)."""
        if self._graph is None or self._takes != (frame.width, frame.height, frame.format.name):
            self._graph = self._build(frame)
            self._takes = (frame.width, frame.height, frame.format.name)
        self._graph.vpush(frame)
        return self._graph.vpull().to_ndarray()

    def _build(self, frame: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        nodes = [
            graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
        ]
        turns = {0: [], 90: ["clock"], 180: ["clock", "clock"], 270: ["cclock"]}[self.rotation]
        nodes += [graph.add("transpose", turn) for turn in turns]
        nodes += [graph.add("scale", f"{self.size[1]}:{self.size[0]}"), graph.add("format", "rgb24")]
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()
        return graph


def at_random(path: str, indices: Sequence[int], height: int, width: int) -> tuple[np.ndarray, int]:
    """Frames by decord's random access, with a fresh reader: uint8 (T,H,W,C), and the number of frames decord counts.

    Right only for files on which it was verified (`VideoInfo.seek`).

    Args:
        path: the file.
        indices: frames, sorted and unique, so that the reader only goes forward.
        height: pixels as shown.
        width: pixels as shown.

    Raises:
        VideoError: decord cannot decode a frame; names it.
    """
    import decord  # loads in half a second, and reading in order never needs it

    decord.logging.set_level(decord.logging.QUIET)
    out = np.empty((len(indices), height, width, 3), np.uint8)
    number = -1
    try:
        reader = decord.VideoReader(os.path.abspath(path), num_threads=1, height=height, width=width)
        for slot, number in enumerate(indices):
            # get_batch does the same, but fails at widths whose padded rows decord takes for more channels: 48 and 72
            # with FFmpeg built for AVX2, 48, 96 and 144 with AVX-512 (a row of 4 x width bytes). One by one the
            # padding can be cut off; where there is none, this is a plain copy.
            out[slot] = reader[number].asnumpy().reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)
    except (decord.DECORDError, RuntimeError, IndexError, ValueError, StopIteration) as error:
        what = "cannot be opened" if number < 0 else f"frame {number} cannot be decoded"
        raise VideoError(path, f"{what} by decord ({_first_line(error)}); index the file again") from None
    return out, len(reader)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
