"""The file of a result: picture, sound, subtitles, fonts, chapters and tags in one container, as far as that can hold them."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, cast

import av
import numpy as np

from ssvid.errors import DataError
from ssvid.speedup.plan import SpeedPlan
from ssvid.speedup.segment_encoder import FORMATS, SegmentEncoder
from ssvid.speedup.sound import OPUS, AudioWriter, encoder_layout, encoder_rate
from ssvid.speedup.subtitles import MILLISECOND, SubtitleTrack, described, read_subtitles
from ssvid.video.decode import decode_in_order, open_video
from ssvid.video.sound import GuardedAudio, SoundInfo, sound_streams
from ssvid.video.times import shown_as_decoded

OWN_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")
# tags that a container takes for more than words: of a timecode these make a track that counts frames at the source's rate
REFUSED_TAGS = {".mp4": ("timecode",), ".mov": ("timecode",)}
ATTACHMENTS = (".mkv",)
BEGINNING = 3  # packets of each stream that prove a file can be written

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Luggage:
    """What goes along with the picture: sound streams, subtitles, attached files, tags and chapters."""

    sounds: Sequence[SoundInfo]
    subtitles: Sequence[SubtitleTrack]
    attachments: Sequence[av.stream.AttachmentStream]
    tags: dict[str, str]
    chapters: Sequence[Any]

    def lighter(self) -> Iterator[tuple[str, Luggage]]:
        """The same without one kind of thing, in words, and at last without any."""
        kinds: dict[str, Any] = {"tags": {}, "chapters": (), "attachments": (), "subtitles": (), "sounds": ()}
        for name, nothing in kinds.items():
            if getattr(self, name):
                yield name, replace(self, **{name: nothing})
        yield "sound, subtitles, attachments, chapters and tags", Luggage((), (), (), {}, ())


class ResultFile:
    """Writes a result, once for a moment to learn what its container takes, and then whole.

    Args:
        plan: the plan.
        source: the source, opened, at its beginning; it stays open.
        parts: its encoded picture.
        suffix: names the container.
        audio: keep-pitch, pitch or mute.
    """

    def __init__(
        self,
        plan: SpeedPlan,
        source: av.container.InputContainer,
        parts: SegmentEncoder,
        suffix: str,
        audio: str,
    ) -> None:
        self._plan, self._source, self._parts, self._suffix, self._audio = plan, source, parts, suffix, audio
        self._codec = OPUS if suffix == ".webm" else "aac"
        self._tracks: dict[int, GuardedAudio] = {}
        self._origin = _origin(plan.source)
        self._luggage = self._packed()

    def close(self) -> None:
        """End the decoders of sound."""
        for track in self._tracks.values():
            track.close()

    def rehearse(self) -> None:
        """Write the beginning of the result among the parts, and throw it away; what the container refuses is left out, with a warning.

        Raises DataError where it cannot even be written without all that goes along, VideoError where the first frame cannot be encoded.
        """
        refusal = self._refusal(self._luggage)
        if refusal is None:
            return
        for what, lighter in self._luggage.lighter():
            if self._refusal(lighter) is None:
                logger.warning(
                    "%s: %s do not go into %s (FFmpeg: %s) and are left out",
                    self._plan.source,
                    what,
                    self._suffix,
                    refusal,
                )
                self._luggage = lighter
                return
        raise DataError(f"{self._plan.source}: cannot be written as {self._suffix} (FFmpeg: {refusal})")

    def write(self, path: Path) -> Iterator[None]:
        """Write the whole, when all parts are encoded; yields after every frame."""
        with self._opened(path, self._luggage, self._parts.path(0)) as (out, video, others):
            for packet in heapq.merge(self._parts.packets(video), *others, key=_moment):
                out.mux(packet)
                if packet.stream_index == video.index:
                    yield

    def _packed(self) -> Luggage:
        """All that can go along; what cannot gets a warning."""
        plan, source, suffix = self._plan, self._source, self._suffix
        sounds = [] if self._audio == "mute" else sound_streams(plan.source)
        subtitles = read_subtitles(source, plan.source, suffix, self._origin)
        attachments = [stream for stream in source.streams if isinstance(stream, av.stream.AttachmentStream)]
        tags = {name: value for name, value in source.metadata.items() if name.lower() not in OWN_TAGS}
        refused = sorted(name for name in tags if name.lower() in REFUSED_TAGS.get(suffix, ()))
        left = [f"the tag {name}" for name in refused]
        if attachments and suffix not in ATTACHMENTS:
            left.append(_count(len(attachments), "attached file"))
            attachments = []
        left += _other_streams(source)
        if left:
            logger.warning("%s: left out of %s: %s", plan.source, suffix, ", ".join(left))
        tags = {name: value for name, value in tags.items() if name not in refused}
        return Luggage(sounds, subtitles, attachments, tags, self._chapters())

    def _chapters(self) -> list[dict[str, Any]]:
        """Chapters at their new times, without those of which nothing is left."""
        chapters = []
        for number, chapter in enumerate(self._source.chapters()):
            ends = np.array([chapter["start"], chapter["end"]]) * float(chapter["time_base"] or 1) - self._origin
            start, end = (round(float(moment) * 1000) for moment in self._plan.to_result(ends))
            if start < end:
                chapters.append({**chapter, "id": number, "start": start, "end": end, "time_base": MILLISECOND})
        return chapters

    def _refusal(self, luggage: Luggage) -> str | None:
        """Why a result with this luggage cannot be begun; None where it can."""
        sample, path = self._parts.sample(), self._parts.folder / f"rehearsal{self._suffix}"
        try:
            with self._opened(path, luggage, sample) as (out, video, others):
                with av.open(str(sample)) as container:
                    first = next(packet for packet in container.demux(video=0) if packet.size)
                first.stream, first.pts, first.dts = video, 0, 0
                beginnings = [islice(packets, BEGINNING) for packets in others]
                for packet in heapq.merge([first], *beginnings, key=_moment):
                    out.mux(packet)
        except (av.error.FFmpegError, ValueError) as error:
            return getattr(error, "strerror", None) or str(error)
        finally:
            path.unlink(missing_ok=True)
        return None

    @contextmanager
    def _opened(
        self, path: Path, luggage: Luggage, sample: Path
    ) -> Iterator[tuple[av.container.OutputContainer, av.VideoStream, list[Iterator[av.Packet[Any]]]]]:
        """The file, its picture's stream, and the packets of all its other streams."""
        plan = self._plan
        options = {"movflags": "faststart"} if self._suffix in (".mp4", ".mov") else {}
        with (
            av.open(str(path), "w", format=FORMATS[self._suffix], options=options) as out,
            av.open(str(sample)) as first,
        ):
            video = self._picture(out, first.streams.video[0])
            others: list[Iterator[av.Packet[Any]]] = []
            for sound in luggage.sounds:
                writer = AudioWriter(plan, sound, self._track(sound), self._audio, out, self._codec)
                _describe(writer.stream, self._source.streams.audio[sound.number])
                others.append(writer.packets())
            others += [track.packets(plan, out, self._suffix) for track in luggage.subtitles]
            for attached in luggage.attachments:
                kind = attached.mimetype or "application/octet-stream"
                out.add_attachment(attached.name or "attachment", kind, attached.data)
            out.metadata.update(luggage.tags)
            if luggage.chapters:
                out.set_chapters(cast("list[av.container.core.Chapter]", luggage.chapters))
            yield out, video, others

    def _track(self, sound: SoundInfo) -> GuardedAudio:
        """The samples of a sound stream, opened once for the rehearsal and the whole."""
        if sound.number not in self._tracks:
            rate, layout = encoder_rate(sound.rate, self._codec), encoder_layout(sound.positions, self._codec)
            self._tracks[sound.number] = GuardedAudio(self._plan.source, sound.number, self._origin, rate, layout)
        return self._tracks[sound.number]

    def _picture(self, out: av.container.OutputContainer, encoded: av.VideoStream) -> av.VideoStream:
        video = out.add_stream_from_template(encoded)
        video.time_base = self._parts.plan.tick
        # Matroska writes the duration of a frame from it, which is an exact one only at a constant rate
        video.codec_context.framerate = self._parts.plan.constant or Fraction(0)
        best = self._source.streams.best("video")
        if best is not None:
            _describe(video, best)
        return video


def _describe(stream: av.stream.Stream, source: av.stream.Stream) -> None:
    stream.metadata.update(described(source))
    stream.disposition = source.disposition


def _other_streams(source: av.container.InputContainer) -> list[str]:
    """Words for the streams that no result holds."""
    best = source.streams.best("video")
    names = {"video": "further picture", "data": "data stream", "unknown": "unknown stream"}
    others = [stream.type for stream in source.streams if stream is not best]
    return [_count(others.count(kind), word) for kind, word in names.items() if kind in others]


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _moment(packet: av.Packet[Any]) -> Fraction:
    stamp = packet.dts if packet.dts is not None else packet.pts or 0
    return stamp * Fraction(packet.time_base or 1)


def _origin(path: str) -> float:
    """Seconds, in the container's time, of the first frame that decodes: zero of the plan."""
    container, stream = open_video(path)
    with container:
        frame = next(decode_in_order(container, stream), None)
        if frame is None:
            return 0.0
        stamp = frame.dts if shown_as_decoded(container, stream) else frame.pts
        return 0.0 if stamp is None or not stream.time_base else float(stamp * stream.time_base)
