"""Render a plan: the picture in parts, the sound, subtitles and chapters, joined in one file."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np

from ssvid.errors import ConfigError, DataError
from ssvid.files import atomic
from ssvid.progress import Progress, silent
from ssvid.speedup.plan import SpeedPlan, file_identity
from ssvid.speedup.schedule import schedule
from ssvid.speedup.segment_encoder import FORMATS, SegmentEncoder
from ssvid.speedup.sound import MODES, OPUS, AudioWriter, sound_streams
from ssvid.speedup.subtitles import MILLISECOND, subtitles
from ssvid.video.decode import decode_in_order, open_video

AUDIO = (*MODES, "mute")
OWN_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")


def parts_folder(out: Path) -> Path:
    """Where the parts of a result lie while it is made."""
    return out.with_name(f"{out.name}.parts")


def render_plan(
    plan: SpeedPlan,
    out: str | os.PathLike[str],
    *,
    fps: float | None = None,
    audio: str = "keep-pitch",
    progress: Progress | None = None,
) -> Path:
    """Render a plan; the file appears under its name when it is complete.

    Stopped half-way, what was encoded stays in OUT.parts, and the next call with the same plan goes on from there.

    Args:
        plan: the plan.
        out: result; .mp4, .mov and .mkv hold H.264 and AAC, .webm VP9 and Opus.
        fps: constant rate, frames a second; None: every frame of the source, at a variable rate.
        audio: keep-pitch, pitch (it rises with the speed) or mute. Sound lasts as long as the picture.
        progress: called with (what, done, of how many).

    Raises:
        ConfigError: an unknown container or sound mode, or the source itself as result.
        DataError: the source is another file than was planned, or the result cannot be written.
        VideoError: the source cannot be decoded.
    """
    out, progress = Path(out), progress or silent
    if audio not in AUDIO:
        raise ConfigError(f"there is no sound mode {audio!r}; there are {', '.join(AUDIO)}")
    if out.exists() and os.path.exists(plan.source) and out.samefile(plan.source):
        raise ConfigError(f"{out}: is the source itself; name another file with -o")
    suffix = out.suffix.lower()
    frames = schedule(plan, suffix, fps)
    if file_identity(plan.source) != plan.identity:
        raise DataError(f"{plan.source}: has changed since it was planned; plan it again, without --plan")
    try:
        parts = SegmentEncoder(parts_folder(out), plan.source, plan.identity, frames, suffix)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from error
    parts.encode(lambda done, total: progress("rendering", done, total))
    try:
        with atomic(out) as temporary:
            _join(plan, parts, temporary, suffix, audio, progress)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from error
    parts.remove()
    return out


def _join(plan: SpeedPlan, parts: SegmentEncoder, path: Path, suffix: str, audio: str, progress: Progress) -> None:
    options = {"movflags": "faststart"} if suffix in (".mp4", ".mov") else {}
    with (
        av.open(str(path), "w", format=FORMATS[suffix], options=options) as out,
        open_video(plan.source)[0] as source,
        av.open(str(parts.path(0))) as first,
    ):
        video = out.add_stream_from_template(first.streams.video[0])
        video.time_base = parts.plan.tick
        origin = _origin(plan.source)
        codec = OPUS if suffix == ".webm" else "aac"
        numbers = [] if audio == "mute" else sound_streams(plan.source)
        voices = [AudioWriter(plan, number, origin, audio, out, codec) for number in numbers]
        words = subtitles(plan, source, out, suffix, origin)
        _describe(plan, source, out, video, origin)
        pictures = _counted(parts, video, progress)
        for packet in heapq.merge(pictures, *(voice.packets() for voice in voices), *words, key=_moment):
            out.mux(packet)


def _counted(parts: SegmentEncoder, video: av.VideoStream, progress: Progress) -> Iterator[av.Packet[Any]]:
    total = len(parts.plan.frames)
    for done, packet in enumerate(parts.packets(video), start=1):
        yield packet
        progress("joining with sound", done, total)


def _moment(packet: av.Packet[Any]) -> Fraction:
    stamp = packet.dts if packet.dts is not None else packet.pts or 0
    return stamp * Fraction(packet.time_base or 1)


def _origin(path: str) -> float:
    """Seconds, in the container's time, of the first frame that decodes: zero of the plan."""
    container, stream = open_video(path)
    with container:
        frame = next(decode_in_order(container, stream), None)
        return 0.0 if frame is None or frame.time is None else frame.time


def _describe(
    plan: SpeedPlan,
    source: av.container.InputContainer,
    out: av.container.OutputContainer,
    video: av.VideoStream,
    origin: float,
) -> None:
    """Title, date and the like, languages, and chapters at their new times."""
    out.metadata.update({name: value for name, value in source.metadata.items() if name not in OWN_TAGS})
    best = source.streams.best("video")
    if best is not None and "language" in best.metadata:
        video.metadata["language"] = best.metadata["language"]
    chapters = []
    for number, chapter in enumerate(source.chapters()):
        ends = np.array([chapter["start"], chapter["end"]]) * float(chapter["time_base"] or 1) - origin
        start, end = (round(float(moment) * 1000) for moment in plan.to_result(ends))
        if start < end:
            chapters.append({**chapter, "id": number, "start": start, "end": end, "time_base": MILLISECOND})
    if chapters:
        out.set_chapters(cast("list[av.container.core.Chapter]", chapters))
