"""Subtitles at their new times: carried over as they are where the container takes them, as another kind of text where it takes that."""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np

from ssvid.speedup.plan import SpeedPlan

# kinds a container takes as they are, and the kind of text that others become
KEPT = {
    ".mp4": ("mov_text",),
    ".mov": ("mov_text",),
    ".mkv": ("subrip", "ass", "ssa", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"),
    ".webm": ("webvtt",),
}
TEXT = {".mp4": "mov_text", ".mov": "mov_text", ".mkv": "subrip", ".webm": "webvtt"}
READABLE = ("subrip", "ass", "ssa", "webvtt", "mov_text", "text")
PLAIN_HEADER = b"[Script Info]\n"  # of a stream that brings no styles
MILLISECOND = Fraction(1, 1000)

logger = logging.getLogger(__name__)


def subtitles(
    plan: SpeedPlan,
    source: av.container.InputContainer,
    out: av.container.OutputContainer,
    suffix: str,
    origin: float,
) -> list[list[av.Packet[Any]]]:
    """Packets of every subtitle stream, ready to be written to `out`; streams that the container cannot hold are left out with a warning.

    origin: seconds, in the source container's time, of the first frame of the video.
    """
    found: list[list[av.Packet[Any]]] = []
    for stream in source.streams.subtitles:
        kind = stream.codec_context.codec.canonical_name if stream.codec_context is not None else "of an unknown kind"
        kept = kind in KEPT[suffix]
        if not kept and kind not in READABLE:
            logger.warning(
                "%s: subtitles (%s) do not fit into %s and are left out; -o OUT.mkv keeps most kinds",
                plan.source,
                kind,
                suffix,
            )
            continue
        source.seek(0)
        added = out.add_stream_from_template(stream) if kept else out.add_stream(TEXT[suffix])
        target = cast(av.subtitles.stream.SubtitleStream, added)
        if "language" in stream.metadata:
            target.metadata["language"] = stream.metadata["language"]
        packets = []
        for packet in source.demux(stream):
            times = _times(packet, plan, origin)
            if times is None:
                continue
            moved = packet if kept else _as_text(packet, stream, target)
            if moved is not None:
                start, stop = times
                moved.stream, moved.time_base = target, MILLISECOND
                moved.pts, moved.dts, moved.duration = start, start, stop - start
                packets.append(moved)
        found.append(packets)
    return found


def _times(packet: av.Packet[Any], plan: SpeedPlan, origin: float) -> tuple[int, int] | None:
    """New start and end in milliseconds; None where nothing is left of it, or nothing was said."""
    if packet.pts is None or packet.time_base is None or packet.size <= 2:  # mov_text writes its pauses as two bytes
        return None
    start = float(packet.pts * packet.time_base) - origin
    end = start + float((packet.duration or 0) * packet.time_base)
    begin, stop = (round(float(moment) * 1000) for moment in plan.to_result(np.array([start, end])))
    return (begin, stop) if stop > begin else None


def _as_text(
    packet: av.Packet[Any], stream: av.subtitles.stream.SubtitleStream, target: av.subtitles.stream.SubtitleStream
) -> av.Packet[Any] | None:
    """The subtitle in the target's kind of text; None where nothing is said."""
    said = stream.codec_context.decode2(packet)
    if said is None or len(said) == 0:
        return None
    if not target.codec_context.is_open:
        target.codec_context.subtitle_header = stream.codec_context.subtitle_header or PLAIN_HEADER
    return target.codec_context.encode_subtitle(said)
