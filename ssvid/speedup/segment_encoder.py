"""The picture of a result, encoded in parts that stay on disk, so that a rendering that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, cast

import av
import numpy as np

from ssvid.errors import DataError, VideoError
from ssvid.files import atomic, write_text
from ssvid.speedup.frame_format import FrameFormat
from ssvid.speedup.schedule import Schedule
from ssvid.video.decode import decode_in_order, open_video
from ssvid.video.encoders import start_encoding

PART = 20.0  # seconds of a part: little is lost when one is broken off, and little to key frames between them
QUALITY = {
    "libx264": {"crf": "18", "preset": "medium"},
    "libvpx-vp9": {"crf": "28", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
}
REORDERED = {"libx264": 2}  # frames by which B-frames that others lean on are decoded ahead
FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}


class SegmentEncoder:
    """The parts of one result in a folder, each a file of whole groups of pictures.

    Args:
        folder: where they lie; what is there for another source, plan or encoder is thrown away.
        source: the source video.
        identity: tells the source from other files.
        plan: when which frame is shown.
        suffix: container of the parts, that of the result.
        size: (height, width) of the result in pixels, for a source whose pictures change size; None: that of the first frame.
    """

    def __init__(
        self,
        folder: Path,
        source: str,
        identity: str,
        plan: Schedule,
        suffix: str,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.folder, self.source, self.plan, self.suffix, self.size = folder, source, plan, suffix, size
        starts = np.flatnonzero(np.diff(plan.ticks[:-1] // max(1, int(PART / plan.tick)), prepend=-1))
        self.ranges = list(zip(starts.tolist(), [*starts[1:].tolist(), len(plan.frames)], strict=True))
        made_of = (identity, plan.frames.tobytes(), plan.ticks.tobytes(), plan.tick, plan.codec, size)
        key = _key(*made_of, QUALITY[plan.codec], av.__version__)
        mark = folder / "made-for"
        if folder.exists() and not (mark.exists() and mark.read_text() == key):
            self.remove()
        folder.mkdir(parents=True, exist_ok=True)
        write_text(mark, key)

    def path(self, number: int) -> Path:
        """File of a part."""
        return self.folder / f"{number:05d}{self.suffix}"

    def remove(self) -> None:
        """Throw the parts away; only what they are named is touched."""
        for path in self.folder.glob("*"):
            if path.name == "made-for" or path.suffix in (".mp4", ".mov", ".mkv", ".webm"):
                path.unlink()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def encode(self, progress: Callable[[int, int], None]) -> None:
        """Encode what is missing, decoding the source once. progress: called with the frames done, and of how many.

        Raises VideoError where the source gives fewer frames than planned, DataError where a part cannot be written.
        """
        done = next((number for number in range(len(self.ranges)) if not self.path(number).exists()), len(self.ranges))
        if done == len(self.ranges):
            return
        frames = self._frames(self.ranges[done][0], progress)
        for number, (first, last) in enumerate(self.ranges[done:], start=done):
            self._encode(self.path(number), first, itertools.islice(frames, last - first))
        frames.close()

    def sample(self) -> Path:
        """A file with the first frame of the result, encoded as all will be: the first part, where it is there.

        Raises what `encode` does.
        """
        if self.path(0).exists():
            return self.path(0)
        path = self.folder / f"first{self.suffix}"
        frames = self._frames(0, lambda done, total: None)
        self._encode(path, 0, itertools.islice(frames, 1))
        frames.close()
        return path

    def _frames(self, first: int, progress: Callable[[int, int], None]) -> Generator[tuple[FrameFormat, av.VideoFrame]]:
        """The frames of the schedule from a place on, with the look of all."""
        wanted, place, source = self.plan.frames, first, -1
        container, stream = open_video(self.source)
        look: FrameFormat | None = None
        with container:
            try:
                for source, frame in enumerate(decode_in_order(container, stream)):
                    look = look or FrameFormat.of(frame, stream, self.size)
                    while place < len(wanted) and wanted[place] == source:
                        yield look, frame
                        place += 1
                        progress(place, len(wanted))
            except av.error.FFmpegError as error:
                reason = f"frame {source + 1} cannot be decoded (FFmpeg: {error.strerror})"
                if place < len(wanted):
                    raise VideoError(self.source, reason) from None
        if place < len(wanted):
            reason = f"ends after {source + 1} frames, but {int(wanted[-1]) + 1} were planned; plan it again"
            raise VideoError(self.source, reason)

    def _encode(self, path: Path, first: int, frames: Iterator[tuple[FrameFormat, av.VideoFrame]]) -> None:
        ticks, tick, codec = self.plan.ticks, self.plan.tick, self.plan.codec
        try:
            with atomic(path) as temporary, av.open(str(temporary), "w", format=FORMATS[self.suffix]) as out:
                stream = cast(av.VideoStream, out.add_stream(codec, rate=self.plan.rate))
                context = stream.codec_context
                context.time_base, context.options = tick, dict(QUALITY[codec])
                for place, (look, frame) in enumerate(frames, start=first):
                    if place == first:
                        look.put_on(context)
                        start_encoding(out)
                    picture = look.apply(frame)
                    picture.pts, picture.time_base = int(ticks[place] - ticks[first]), tick
                    picture.duration = int(ticks[place + 1] - ticks[place])
                    out.mux(stream.encode(picture))
                out.mux(stream.encode(None))
        except (OSError, av.error.FFmpegError) as error:  # a full disk, or pixels that cannot be converted
            raise DataError(f"{path}: cannot be written: {error.strerror}") from error

    def packets(self, stream: av.VideoStream) -> Iterator[av.Packet[Any]]:
        """Encoded frames of all parts in decoding order, stamped anew: the parts know the order, the schedule the times."""
        ticks, delay, total = self.plan.ticks, REORDERED.get(self.plan.codec, 0), len(self.plan.frames)
        # Times of decoding are those of showing, late by the frames that B-frames wait for; before the first they go on as
        # they end, for a container takes the sum of their distances for the length.
        before = ticks[-1 - delay : -1] - ticks[-1] if total > delay else np.arange(-delay, 0)
        stamps = np.concatenate([before, ticks])
        for number, (first, last) in enumerate(self.ranges):
            with av.open(str(self.path(number))) as container:
                packets = [packet for packet in container.demux(video=0) if packet.size]
            if len(packets) != last - first:
                raise DataError(f"{self.path(number)}: is damaged; delete {self.folder} and render again")
            ranks = np.argsort(np.argsort([packet.pts for packet in packets], kind="stable"), kind="stable")
            for count, (packet, rank) in enumerate(zip(packets, ranks.tolist(), strict=True), start=first):
                place = first + rank
                packet.stream, packet.time_base = stream, self.plan.tick
                packet.pts, packet.duration = int(ticks[place]), int(ticks[place + 1] - ticks[place])
                packet.dts = int(stamps[count])
                yield packet


def _key(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()
