"""How one file is decoded: its stream, its frames in order (PyAV), and their scaler.

It runs FFmpeg's filters `transpose`, `scale` and `format=rgb24`, which decord has built in: both ways of reading give the same pixels, bit
for bit, whatever the rotation, colour matrix, range, bit depth and size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import av
import numpy as np

from ssvid.errors import VideoError
from ssvid.video.boxes import is_encrypted, top_boxes
from ssvid.video.location import local_file
from ssvid.video.orientation import Orientation
from ssvid.video.times import demux

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
    with local_file(path) as file:  # once it is open, it may lose its name
        return _opened(check_file(file))


def _opened(path: str) -> tuple[av.container.InputContainer, av.VideoStream]:
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
    boxes = top_boxes(path)
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
    if "mp4" in name and is_encrypted(path):
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


def decode_in_order(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    seen: Callable[[av.Packet[Any]], None] = lambda packet: None,
) -> Iterator[av.VideoFrame]:
    """Every frame in order of presentation, stamped on the clock that its sound shares; `seen` is called for every packet.

    What cannot be decoded before the first good frame (a recording that begins between key frames) is passed over; a
    later error is raised, because the frames after it depend on what was lost.

    Raises:
        av.error.FFmpegError: data in the middle of the file cannot be read or decoded.
    """
    started = False
    for packet in demux(container, stream):
        seen(packet)
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            if started:
                raise
            continue
        for frame in frames:
            started = True
            yield frame


def is_whole(path: str, container: str, stream: av.VideoStream, packets: int) -> bool:
    """Whether a file has all that its own tables speak of, whatever number of frames it states; `packets` were read from it."""
    size = os.path.getsize(path)
    entries = [entry for entry in stream.index_entries if entry.size]
    if len(entries) > packets or any(entry.pos + entry.size > size for entry in entries):
        return False
    if container == "avi":  # its table stands at the end and may be lost, so the outermost size decides
        with open(path, "rb") as file:
            return int.from_bytes(file.read(8)[4:], "little") + 8 <= size
    return len(entries) == packets


def shown_size(frame: av.VideoFrame) -> tuple[int, int]:
    """(height, width) of a frame as shown, turned upright."""
    return Orientation.of(frame).size(frame)


class Scaler:
    """Turns decoded frames upright and into uint8 (H,W,C) RGB, or grey (H,W), of one size.

    Args:
        height: pixels as shown.
        width: pixels as shown.
        orientation: what turns them upright.
        pix_fmt: rgb24 or gray.
    """

    def __init__(self, height: int, width: int, orientation: Orientation, pix_fmt: str = "rgb24") -> None:
        self.size, self.orientation, self.pix_fmt = (height, width), orientation, pix_fmt
        self._graph: av.filter.Graph | None = None
        self._takes: tuple[int, int, str] | None = None

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """Return the frame as uint8."""
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
        nodes += [graph.add(name, arguments) for name, arguments in self.orientation.filters]
        nodes += [graph.add("scale", f"{self.size[1]}:{self.size[0]}"), graph.add("format", self.pix_fmt)]
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()
        return graph
