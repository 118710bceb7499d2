"""From videos to vectors: which segments of a video get one, and whose weights made it.

A collection counts in seconds: its view has a clock in frames a second, so that a stretch of a 10 fps video and one of a 60 fps video
last equally long. A query passes through the same code as what is searched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from ssvid.data.index import VideoRecord
from ssvid.data.sampling import clock, even_views
from ssvid.errors import DataError
from ssvid.evaluation.features import View, encode
from ssvid.evaluation.tables.entries import model_rows, trained_view
from ssvid.zoo.backbone import Backbone

Unit = Literal["video", "sequence", "clip", "frame"]
WHOLE = ("video", "sequence")  # units of which a video has one
Span = tuple[float, float]  # seconds

ASKED = 32  # most clips of a query
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

    unit: what gets a vector: the video (mean of `view.clips` clips), the sequence of these clips (side by side, so that their order
    counts), each of its clips (half overlapping), each of its frames.
    """

    backbone: Backbone
    model: str
    view: View
    unit: Unit = "video"
    device: str = "cpu"
    workers: int = 0

    @cached_property
    def key(self) -> str:
        """Sixteen hex digits that change with the network, its weights, the view and the unit."""
        return self.backbone.digest(asdict(self.view), self.unit)[:16]

    def encode(self, videos: Sequence[VideoRecord]) -> Iterator[tuple[VideoRecord, np.ndarray, np.ndarray]]:
        """For every video in order: the video, vectors float32 (R,D), spans in seconds (R,2). Memory is that of one video.

        Raises VideoError naming a file that cannot be read.
        """
        segments = [whole(video, self.view, self.unit) for video in videos]
        for position, vectors in clip_vectors(self, videos, [one.indices for one in segments]):
            spans = segments[position].spans
            yield videos[position], (self._one(vectors) if self.unit in WHOLE else vectors[: len(spans)]), spans

    def ask(self, video: VideoRecord, at: Span | None = None) -> np.ndarray:
        """Vectors (R,D) of the clips of a query, at most `ASKED`; the one of the whole, or of the middle frame, by the unit.

        at: seconds from and to, None for the whole. Raises DataError for a stretch outside the video.
        """
        indices = asked(video, self.view, self.unit, at)
        _, vectors = next(clip_vectors(replace(self, workers=0), [video], [indices]))
        if self.unit == "frame":
            return vectors[self.view.frames // 2][None]
        return self._one(vectors) if self.unit in WHOLE else vectors

    def _one(self, vectors: np.ndarray) -> np.ndarray:
        """The vector of a whole video (1,D) or (1,V*D), from those of its clips (V,D)."""
        return vectors.reshape(1, -1) if self.unit == "sequence" else vectors.mean(0, keepdims=True)


def open_encoder(
    model: str, unit: Unit = "video", view: View | None = None, device: str = "cpu", workers: int = 0
) -> Encoder:
    """The encoder of a run folder or of a backbone's name (random weights of seed 0).

    view: None for what the run was trained on. Raises ConfigError for an unknown name, DataError for a run that cannot be read.
    """
    groups = model_rows([model], 1)
    group = groups[-1] if groups[-1].facts else groups[0]
    backbone = group.entries[0].make().eval()
    return Encoder(backbone, model, view or trained_view(groups), unit, device, workers)


def whole(video: VideoRecord, view: View, unit: Unit) -> Segments:
    """All segments of a video."""
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


def asked(video: VideoRecord, view: View, unit: Unit, at: Span | None) -> np.ndarray:
    """Frame indices (V,T) of the clips of a query."""
    ticks = clock(video, view.fps)
    start, end = stretch(video, view, at)
    seconds = video.info.times[ticks]
    inside = ticks[(seconds >= start - 1e-6) & (seconds < max(end, start + 1e-3))]
    if not len(inside):  # between two frames: the one on screen
        inside = ticks[[max(0, int(np.searchsorted(seconds, start, "right")) - 1)]]
    if unit == "frame":
        middle = int(np.searchsorted(ticks, inside[len(inside) // 2]))
        around = middle + (np.arange(view.frames) - view.frames // 2) * view.stride
        return ticks[np.clip(around, 0, len(ticks) - 1)][None]
    span = (view.frames - 1) * view.stride + 1
    clips = view.clips if unit in WHOLE else min(ASKED, 1 + max(0, len(inside) - span) // ((span + 1) // 2))
    return inside[even_views(len(inside), clips, view.frames, view.stride)]


def stretch(video: VideoRecord, view: View, at: Span | None) -> Span:
    """Seconds from and to that are asked; a moment means the clip around it. Raises DataError for one outside the video."""
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
    """What makes a query hard, in words, and what is done about it; empty for an easy one."""
    start, end = stretch(video, view, at)
    said, rate, needed = [], view.fps or video.info.fps, clip_seconds(video, view)
    lasts = min(end, video.info.duration) - start
    if lasts < needed * 0.95:
        said.append(
            f"the query lasts {lasts:.2f} s and a clip {needed:.2f} s: its frames are shown more slowly or repeated evenly"
        )
    if video.info.fps < 0.95 * rate:
        said.append(
            f"the query has {video.info.fps:.3g} frames a second and the collection counts {rate:.3g}: frames are repeated"
        )
    if video.info.height > UPRIGHT * video.info.width:
        said.append("the query is portrait: only its central square is looked at")
    moved = video.shots.motion[(video.info.times >= start) & (video.info.times < max(end, start + 1e-3))][1:]
    if len(moved) and moved.mean() <= STILL:
        said.append("nothing moves in the query: what is found looks like it, and what it does cannot be asked")
    return said


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
        device=encoder.device,
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
