"""From videos to vectors: which segments of a video get one, and whose weights made it.

A collection counts in seconds: its view has a clock in frames a second, so that clips of a 10 fps video and of a 60 fps video last
equally long. Queries pass through the same code as the videos of the collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import numpy as np

from ssvid.compute import resolve_device
from ssvid.data.sampling import clock, even_views
from ssvid.data.video_record import VideoRecord
from ssvid.errors import ConfigError, DataError
from ssvid.evaluation.features import View, encode
from ssvid.training.models import open_model
from ssvid.zoo.backbone import Backbone

Unit = Literal["video", "concat", "clip", "frame"]
UNITS: tuple[Unit, ...] = get_args(Unit)
WHOLE = ("video", "concat")  # units of which a video has one
Span = tuple[float, float]  # seconds

QUERY_CLIPS = 32  # most clips of a query
STILL = 0.3  # mean grey difference (0..255) a frame up to which nothing moves, as in `ssvid.video.shots`
UPRIGHT = 1.2  # height over width from which a video is portrait


class Segments(NamedTuple):
    """Segments of one video: frame indices int (V,T) of its clips; which of their vectors are rows, int (R,), None for the mean of
    all; and seconds from and to of every row, float (R,2)."""

    indices: np.ndarray
    rows: np.ndarray | None
    spans: np.ndarray


@dataclass(frozen=True)
class Encoder:
    """Turns videos into vectors. model: the run or name it was opened by. view: how clips are shown; its `fps` is a number.

    unit: what gets a vector: "video" (the mean of `view.clips` clips), "concat" (the vectors of these clips, concatenated in the order of
    time), "clip" (every clip; neighbours overlap by half) or "frame" (every frame). device: as PyTorch spells it, or auto.
    Raises ConfigError for an unknown unit.
    """

    backbone: Backbone
    model: str
    view: View
    unit: Unit = "video"
    device: str = "auto"
    workers: int = 0

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ConfigError(f"there is no unit {self.unit!r}; there are: {', '.join(UNITS)}")

    @cached_property
    def key(self) -> str:
        """Sixteen hex digits that change with the network, its weights, the view and the unit."""
        return self.backbone.digest(asdict(self.view), self.unit)[:16]

    def encode(self, videos: Sequence[VideoRecord]) -> Iterator[tuple[VideoRecord, np.ndarray, np.ndarray]]:
        """For every video in order: the video, vectors float32 (R,D), spans in seconds (R,2). Memory is that of one video.

        Raises VideoError naming a file that cannot be read.
        """
        segments = [video_segments(video, self.view, self.unit) for video in videos]
        for position, vectors in clip_vectors(self, videos, [one.indices for one in segments]):
            spans = segments[position].spans
            yield videos[position], (self._pooled(vectors) if self.unit in WHOLE else vectors[: len(spans)]), spans

    def query_vectors(self, video: VideoRecord, at: Span | None = None) -> np.ndarray:
        """Vectors (R,D) of a query: of its clips, at most `QUERY_CLIPS`; one of all of it, or of its middle frame, where that is the unit.

        at: seconds from and to, None for all of the video. Raises DataError for seconds outside the video.
        """
        indices = query_indices(video, self.view, self.unit, at)
        _, vectors = next(clip_vectors(replace(self, workers=0), [video], [indices]))
        if self.unit == "frame":
            result: np.ndarray = vectors[self.view.frames // 2][None]
            return result
        return self._pooled(vectors) if self.unit in WHOLE else vectors

    def _pooled(self, vectors: np.ndarray) -> np.ndarray:
        """The vector of a whole video (1,D) or (1,V*D), from those of its clips (V,D)."""
        return vectors.reshape(1, -1) if self.unit == "concat" else vectors.mean(0, keepdims=True)


def open_encoder(
    model: str, unit: Unit = "video", view: View | None = None, device: str = "auto", workers: int = 0
) -> Encoder:
    """The encoder of a run folder or of a backbone's name (random weights of seed 0).

    view: None for what the run was trained on. Raises ConfigError for an unknown name, DataError for a run that cannot be read.
    """
    loaded = open_model(model)
    return Encoder(loaded.backbone, model, view or View(**loaded.view), unit, device, workers)


def video_segments(video: VideoRecord, view: View, unit: Unit) -> Segments:
    """All segments of a video that get a vector."""
    if unit in WHOLE:
        return Segments(view.indices(video), None, np.array([[0.0, video.info.duration]]))
    ticks, times = clock(video, view.fps), video.info.times
    span = (view.frames - 1) * view.stride + 1
    indices = ticks[_windows(len(ticks), view, (span + 1) // 2 if unit == "clip" else view.frames * view.stride)]
    if unit == "clip":
        ends = np.append(times[1:], video.info.duration)
        return Segments(indices, np.arange(len(indices)), np.stack([times[indices[:, 0]], ends[indices[:, -1]]], 1))
    frames, rows = np.unique(indices, return_index=True)  # the last window overlaps the one before it
    seconds = times[frames]
    ends = np.minimum(seconds + view.stride / (view.fps or video.info.fps), video.info.duration)
    return Segments(indices, rows, np.stack([seconds, ends], 1))


def query_indices(video: VideoRecord, view: View, unit: Unit, at: Span | None) -> np.ndarray:
    """Frame indices (V,T) of the clips of a query."""
    ticks = clock(video, view.fps)
    start, end = resolve_span(video, view, at)
    seconds = video.info.times[ticks]
    inside = ticks[(seconds >= start - 1e-6) & (seconds < max(end, start + 1e-3))]
    if not len(inside):  # between two frames: the one on screen
        inside = ticks[[max(0, int(np.searchsorted(seconds, start, "right")) - 1)]]
    if unit == "frame":
        middle = int(np.searchsorted(ticks, inside[len(inside) // 2]))
        around = middle + (np.arange(view.frames) - view.frames // 2) * view.stride
        return ticks[np.clip(around, 0, len(ticks) - 1)][None]
    span = (view.frames - 1) * view.stride + 1
    clips = view.clips if unit in WHOLE else min(QUERY_CLIPS, 1 + max(0, len(inside) - span) // ((span + 1) // 2))
    result: np.ndarray = inside[even_views(len(inside), clips, view.frames, view.stride)]
    return result


def resolve_span(video: VideoRecord, view: View, at: Span | None) -> Span:
    """Seconds from and to of a query: all of the video where `at` is None; the clip around it where `at` is a moment (start == end).

    Raises DataError for seconds outside the video.
    """
    start, end = at or (0.0, video.info.duration)
    if not 0 <= start <= end or start >= video.info.duration:
        raise DataError(f"{video.path} lasts {video.info.duration:.2f} s; there is nothing at {start:g}-{end:g} s")
    if start == end:
        half = clip_seconds(video, view) / 2
        return max(0.0, start - half), start + half
    return start, end


def clip_seconds(video: VideoRecord, view: View) -> float:
    """Seconds that a clip of the view lasts in a video."""
    return ((view.frames - 1) * view.stride + 1) / (view.fps or video.info.fps)


def remarks(video: VideoRecord, view: View, at: Span | None = None) -> list[str]:
    """What makes a query hard and what is done about it, a sentence each; empty for an easy one."""
    start, end = resolve_span(video, view, at)
    found, rate, needed = [], view.fps or video.info.fps, clip_seconds(video, view)
    lasts = min(end, video.info.duration) - start
    if lasts < needed * 0.95:
        found.append(
            f"the query lasts {lasts:.2f} s and a clip {needed:.2f} s: its frames are shown more slowly or repeated evenly"
        )
    if video.info.fps < 0.95 * rate:
        found.append(
            f"the query has {video.info.fps:.3g} frames a second and the collection counts {rate:.3g}: frames are repeated"
        )
    if video.info.height > UPRIGHT * video.info.width:
        found.append("the query is portrait: only its central square is looked at")
    moved = video.shots.motion[(video.info.times >= start) & (video.info.times < max(end, start + 1e-3))][1:]
    if len(moved) and moved.mean() <= STILL:
        found.append("nothing moves in the query: what is found looks like it, and what it does cannot be searched for")
    return found


def clip_vectors(
    encoder: Encoder, videos: Sequence[VideoRecord], indices: Sequence[np.ndarray]
) -> Iterator[tuple[int, np.ndarray]]:
    """(position, vectors float32 (V,D)) of every video in order, for its clips of frame indices (V,T); (V*T,D) for the unit frame."""
    yield from encode(
        encoder.backbone,
        videos,
        indices,
        encoder.view,
        per="frame" if encoder.unit == "frame" else "clip",
        workers=encoder.workers,
        device=resolve_device(encoder.device),
    )


def _windows(count: int, view: View, hop: int) -> np.ndarray:
    """Places (V,T) on a clock of `count` ticks: a window every `hop`, the last one at the end; a short video gives a single one."""
    count = max(count, 1)
    offsets = np.arange(view.frames) * view.stride
    if count <= offsets[-1]:
        return even_views(count, 1, view.frames, view.stride)
    last = count - 1 - offsets[-1]
    starts = np.arange(0, last + 1, hop)
    if starts[-1] < last:
        starts = np.append(starts, last)
    return starts[:, None] + offsets
