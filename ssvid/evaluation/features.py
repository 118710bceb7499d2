"""Frozen features: the one place where videos are decoded, batched, encoded and pooled.

`encode` yields the vectors of one video after the other; a table, a collection and a query all go through it. `extract` keeps what it
yields in the cache, in shards of SHARD videos that are written whole or not at all, so that an extraction that was killed goes on with the
first missing shard, and memory does not grow with the number of videos. The key of a cached set is made of the weights, the videos and the
view, so that a changed weight or video is never served an old feature. The backbone is in eval mode and without gradients throughout: not
one batch-norm statistic moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ssvid.data.augment import Augment
from ssvid.data.loader import SamplePlan, load
from ssvid.data.sampling import clock, even_views
from ssvid.data.video_record import VideoRecord, fingerprint
from ssvid.errors import require
from ssvid.files import atomic, cache_folder
from ssvid.progress import Progress
from ssvid.zoo.backbone import Backbone, to_device
from ssvid.zoo.views import Pool, clip_vector, frame_vectors

SHARD = 64  # videos a file: what a kill loses at most. A multiple of the batch, so that batches do not depend on where a run went on
LONGEST = 32  # clips of one video that are encoded at once


@dataclass(frozen=True)
class View:
    """How a video is shown to a frozen backbone.

    clips: windows a video, evenly spread. frames: T of each; stride: ticks of the clock between them; size: side of the centre crop, px.
    fps: rate of the clock, None for the video's own frames. pool: how a feature map becomes a vector.
    """

    clips: int = 5
    frames: int = 16
    stride: int = 2
    size: int = 112
    fps: float | None = None
    pool: Pool = "mean"

    def __post_init__(self) -> None:
        require(1, clips=self.clips, frames=self.frames, stride=self.stride, size=self.size)
        require(0, above=True, fps=self.fps)

    def indices(self, video: VideoRecord) -> np.ndarray:
        """Frame indices (clips, frames) of a video; a short one is shown more slowly or repeated evenly, never dropped."""
        ticks = clock(video, self.fps)
        if len(ticks) == 0:
            ticks = np.zeros(1, int)
        result: np.ndarray = ticks[even_views(len(ticks), self.clips, self.frames, self.stride)]
        return result


def encode(
    backbone: Backbone,
    videos: Sequence[VideoRecord],
    indices: Sequence[np.ndarray],
    view: View,
    *,
    per: Literal["clip", "frame"] = "clip",
    batch: int = 8,
    workers: int = 0,
    device: str | torch.device = "cpu",
) -> Iterator[tuple[int, np.ndarray]]:
    """(position, vectors) of every video in order: float32 (V,D), or (V*T,D) per frame, for its clips of frame indices (V,T).

    view: size of the centre crop and how a map becomes a vector. batch: videos a forward pass, where they have equally many clips;
    videos with more clips than `view.clips` are taken fewer at a time. workers: decoding processes, 0 for none.
    Memory is that of batch * view.clips clips, however many and long the videos are.
    Raises VideoError naming a file that cannot be read.
    """
    device = torch.device(device)
    was_training = backbone.training
    backbone = to_device(backbone, device).eval()
    batches = load(_passes(videos, indices, view, batch), view.size, workers, device, augment=True)

    def parts() -> Iterator[tuple[int, np.ndarray]]:
        for plans, loaded in zip(_passes(videos, indices, view, batch), batches, strict=True):
            clips = loaded.to(device).augmented().clips
            with torch.inference_mode():
                if per == "frame":
                    vectors = frame_vectors(backbone, clips.flatten(0, 1)).flatten(0, 1)
                else:
                    vectors = clip_vector(backbone(clips.flatten(0, 1)), view.pool)
            rows = vectors.float().unflatten(0, (len(clips), -1)).cpu().numpy()
            yield from zip((plan.position for plan in plans), rows, strict=True)

    try:
        for position, found in groupby(parts(), lambda part: part[0]):
            yield position, np.concatenate([vectors for _, vectors in found])
    finally:
        backbone.train(was_training)


def _passes(
    videos: Sequence[VideoRecord], indices: Sequence[np.ndarray], view: View, batch: int
) -> Iterator[list[SamplePlan]]:
    """What each forward pass reads: pieces of equal shape, of at most batch * view.clips clips; a piece is clips of one video."""
    most = batch * view.clips
    longest = min(LONGEST, most)
    waiting: list[SamplePlan] = []
    for position, (video, clips) in enumerate(zip(videos, indices, strict=True)):
        for first in range(0, len(clips), longest):
            piece = clips[first : first + longest]
            full = (len(waiting) + 1) * len(piece) > most
            if waiting and (full or waiting[0].indices.shape != piece.shape):
                yield waiting
                waiting = []
            centre = Augment(size=view.size).centre(*piece.shape)
            waiting.append(SamplePlan(video, position, piece, np.zeros(0, np.float32), centre, 0.5, view.size))
    if waiting:
        yield waiting


@dataclass(frozen=True)
class Features:
    """Features of N videos on disk, float32 (N,V,D): shards are mapped or read when they are asked for.

    positions: which videos, of a larger set, these are; None for all of them. They are the numbers that indexing takes.
    """

    shards: tuple[Path, ...]
    count: int
    positions: np.ndarray | None = None

    def __len__(self) -> int:
        """N."""
        return self.count

    def __getitem__(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Features (n,V,D) of some videos. Raises KeyError for one that has none."""
        rows = self._rows(np.asarray(positions, int))
        mapped = {
            number: np.load(self.shards[number], mmap_mode="r", allow_pickle=False) for number in set(rows // SHARD)
        }
        return np.stack([np.asarray(mapped[row // SHARD][row % SHARD]) for row in rows])

    def clip_means(self, positions: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """The mean over the clips of some videos, (n,D), or of all of them in their order; read shard by shard.

        Raises KeyError for a video that has no features.
        """
        rows = np.arange(self.count) if positions is None else self._rows(np.asarray(positions, int))
        means: np.ndarray | None = None
        for number, path in enumerate(self.shards):
            wanted = np.flatnonzero(rows // SHARD == number)
            if len(wanted):
                vectors = np.load(path, allow_pickle=False).mean(1)
                if means is None:
                    means = np.empty((len(rows), vectors.shape[1]), vectors.dtype)
                means[wanted] = vectors[rows[wanted] % SHARD]
        assert means is not None  # at least one video is asked for
        return means

    def _rows(self, positions: np.ndarray) -> np.ndarray:
        if self.positions is None:
            return positions
        row_of = {int(position): row for row, position in enumerate(self.positions)}
        return np.array([row_of[int(position)] for position in positions], int)


def extract(
    backbone: Backbone,
    videos: Sequence[VideoRecord],
    view: View,
    *,
    batch: int = 8,
    workers: int = 1,
    device: str | torch.device = "cpu",
    cache: Path | None = None,
    positions: np.ndarray | None = None,
    progress: Progress | None = None,
    what: str = "features",
) -> Features:
    """Features of the clips of every video, in the order of `videos`; what lies in the cache is not computed again.

    batch: videos a forward pass, a divisor of SHARD. cache: folder of the cached features, by default below `cache_folder()`.
    positions: see `Features`. progress: called with (what, videos done, videos in all) after every video computed here.
    Raises VideoError naming a file that cannot be read.
    """
    folder = (cache or cache_folder() / "features") / backbone.digest(fingerprint(videos), asdict(view))[:24]
    starts = range(0, len(videos), SHARD)
    shards = tuple(folder / f"{start // SHARD:06d}.npy" for start in starts)
    for start, path in zip(starts, shards, strict=True):
        if path.exists():
            continue
        part = videos[start : start + SHARD]
        indices = [view.indices(video) for video in part]
        rows = []
        for number, vectors in encode(backbone, part, indices, view, batch=batch, workers=workers, device=device):
            rows.append(vectors)
            if progress:
                progress(what, start + number + 1, len(videos))
        with atomic(path) as temporary:
            np.save(temporary, np.stack(rows), allow_pickle=False)
    return Features(shards, len(videos), positions)
