"""Subtitles at their new times: carried over as they are where the container takes them, as another kind of text where it takes that."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np

from ssvid.speedup.plan import SpeedPlan
from ssvid.video.times import demux

# kinds a container takes as they are, and the kind of text that others become
PICTURES = ("hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle")
KEPT = {
    ".mp4": ("mov_text", "dvd_subtitle"),
    ".mov": ("mov_text",),
    ".mkv": ("subrip", "ass", "ssa", "webvtt", *PICTURES),
    ".webm": ("webvtt",),
}
TEXT = {".mp4": "mov_text", ".mov": "mov_text", ".mkv": "subrip", ".webm": "webvtt"}
READABLE = ("subrip", "ass", "ssa", "webvtt", "mov_text", "text")
PLAIN_HEADER = b"[Script Info]\n"  # of a stream that brings no styles
MILLISECOND = Fraction(1, 1000)

Moment = tuple[
    "av.Packet[Any]", float, float | None
]  # a packet, its seconds from the first frame, and its end where it says

logger = logging.getLogger(__name__)


class SubtitleTrack:
    """One subtitle stream of the source, read: its packets, and where they go.

    Attributes:
        stream: the source's stream.
        moments: its packets in order of time.
    """

    def __init__(self, stream: av.subtitles.stream.SubtitleStream, moments: Sequence[Moment]) -> None:
        self.stream, self.moments = stream, sorted(moments, key=lambda moment: moment[1])

    def packets(self, plan: SpeedPlan, out: av.container.OutputContainer, suffix: str) -> Iterator[av.Packet[Any]]:
        """Add the stream to a result; its packets at their new times, ready to be written."""
        kept = kind_of(self.stream) in KEPT[suffix]
        added = out.add_stream_from_template(self.stream) if kept else out.add_stream(TEXT[suffix])
        target = cast(av.subtitles.stream.SubtitleStream, added)
        if not kept:
            target.codec_context.subtitle_header = self.stream.codec_context.subtitle_header or PLAIN_HEADER
        target.metadata.update(described(self.stream))
        target.disposition = self.stream.disposition
        return self._moved(plan, target, kept)

    def _moved(
        self, plan: SpeedPlan, target: av.subtitles.stream.SubtitleStream, kept: bool
    ) -> Iterator[av.Packet[Any]]:
        unreadable = 0
        for packet, start, stop in self._times(plan):
            try:
                moved = packet if kept else self._as_text(packet, target)
            except (av.error.FFmpegError, ValueError):
                unreadable += 1
                if unreadable == 1:
                    logger.warning("%s: subtitles that cannot be read are left out", plan.source)
                continue
            if moved is not None:
                moved.stream, moved.time_base = target, MILLISECOND
                moved.pts, moved.dts, moved.duration = start, start, stop - start
                yield moved

    def _times(self, plan: SpeedPlan) -> Iterator[tuple[av.Packet[Any], int, int]]:
        """Packets with new start and end in milliseconds, without what nothing is left of.

        Pictures are taken away by a later packet, so each of them counts; a text that names no end stays until the next one.
        """
        if not self.moments:
            return
        pictures = kind_of(self.stream) in PICTURES
        starts = [start for _, start, _ in self.moments]
        nexts = [*starts[1:], float(plan.source_edges[-1])]
        stops = [
            (start if pictures else following) if stop is None else stop
            for (_, start, stop), following in zip(self.moments, nexts, strict=True)
        ]
        moved = np.rint(plan.to_result(np.array([starts, stops])) * 1000).astype(int)
        for (packet, _, _), start, stop in zip(self.moments, *moved.tolist(), strict=True):
            if pictures or stop > start:
                yield packet, start, max(start, stop)

    def _as_text(self, packet: av.Packet[Any], target: av.subtitles.stream.SubtitleStream) -> av.Packet[Any] | None:
        """The subtitle in the target's kind of text; None where nothing is said."""
        said = self.stream.codec_context.decode2(packet)
        return None if said is None or len(said) == 0 else target.codec_context.encode_subtitle(said)


def read_subtitles(source: av.container.InputContainer, name: str, suffix: str, origin: float) -> list[SubtitleTrack]:
    """The subtitle streams that a container can hold, read at once; each of the others gets a warning.

    source: at its beginning. name: of the file, for messages. origin: seconds, in the source's time, of the first frame of the video.
    """
    taken = [stream for stream in source.streams.subtitles if _fits(stream, name, suffix)]
    moments: dict[int, list[Moment]] = {stream.index: [] for stream in taken}
    try:
        for packet in demux(source, *taken) if taken else ():
            silent = 2 if kind_of(packet.stream) == "mov_text" else 0  # mov_text writes its pauses as two bytes
            if packet.size > silent and packet.pts is not None and packet.time_base is not None:
                start = float(packet.pts * packet.time_base) - origin
                stop = start + float(packet.duration * packet.time_base) if packet.duration else None
                moments[packet.stream_index].append((packet, start, stop))
    except av.error.FFmpegError as error:
        logger.warning("%s: subtitles end early: it is damaged (FFmpeg: %s)", name, error.strerror)
    return [SubtitleTrack(stream, moments[stream.index]) for stream in taken]


def described(stream: av.stream.Stream) -> dict[str, str]:
    """What people are told of a stream: its language and its title."""
    return {name: stream.metadata[name] for name in ("language", "title") if stream.metadata.get(name)}


def kind_of(stream: av.stream.Stream) -> str:
    """FFmpeg's name of a stream's codec."""
    context = stream.codec_context
    return "of an unknown kind" if context is None else str(context.codec.canonical_name)


def _fits(stream: av.subtitles.stream.SubtitleStream, name: str, suffix: str) -> bool:
    kind = kind_of(stream)
    if kind in KEPT[suffix] or kind in READABLE:
        return True
    advice = "" if suffix == ".mkv" else "; -o OUT.mkv keeps most kinds"
    logger.warning("%s: subtitles (%s) do not fit into %s and are left out%s", name, kind, suffix, advice)
    return False
