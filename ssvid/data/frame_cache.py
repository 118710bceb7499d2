"""The frames of a small data set, decoded once into one file that is mapped into memory, for jobs that read every video many times."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch

from ssvid.data.loader import Batch, Failure, SamplePlan, collate, load
from ssvid.data.video_record import VideoRecord, fingerprint
from ssvid.files import atomic, cache_folder
from ssvid.progress import Progress

LIMIT = 2 << 30  # bytes of frames up to which a data set is kept; larger ones are decoded for every clip


class FrameCache:
    """Centre squares of the frames of some videos; `batches` gives what the loader would give, at once or by decoding.

    videos: in the order that `position` of a plan counts. side: of the squares, px. workers: decoding processes. limit: bytes of frames
    that are kept at most.
    progress: called with ("decoding", videos decoded, videos in all) while the frames are read for the first time.
    Raises VideoError naming a file that cannot be read.
    """

    def __init__(
        self,
        videos: Sequence[VideoRecord],
        side: int,
        *,
        workers: int = 0,
        limit: int = LIMIT,
        progress: Progress | None = None,
    ) -> None:
        self.videos, self.side, self.workers = videos, side, workers
        self.starts = list(accumulate((video.info.frames for video in videos), initial=0))
        shape = (self.starts[-1], side, side, 3)
        self.frames = self._open(shape, progress) if int(np.prod(shape, dtype=np.int64)) <= limit else None

    @property
    def kept(self) -> bool:
        """Whether the frames are kept; otherwise they are decoded for every clip."""
        return self.frames is not None

    def __getitem__(self, plan: SamplePlan) -> tuple[SamplePlan, str, np.ndarray | Failure]:
        """The frames of a plan, as `ClipReader` gives them. Only where they are kept."""
        assert self.frames is not None
        return plan, plan.video.path, np.asarray(self.frames[self.starts[plan.position] + plan.indices])

    def batches(
        self, plans: Iterable[list[SamplePlan]], device: torch.device, augment: bool = False
    ) -> Iterator[Batch]:
        """Batches in the order of `plans`; arguments as of `ssvid.data.loader.load`. Plans look at centre squares (offset 0.5)."""
        if self.frames is None:
            yield from load(plans, self.side, self.workers, device, augment)
            return
        for chosen in plans:
            batch = collate([self[plan] for plan in chosen], augment and device.type == "cpu")
            if isinstance(batch, Failure):
                raise batch
            yield batch

    def _open(self, shape: tuple[int, ...], progress: Progress | None) -> np.ndarray:
        name = hashlib.sha256(f"{fingerprint(self.videos)} {shape}".encode()).hexdigest()[:24]
        path = cache_folder() / "frame_cache" / f"{name}.npy"
        if not path.exists():
            with atomic(path) as temporary:
                self._decode(temporary, shape, progress)
        result: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return result

    def _decode(self, path: Path, shape: tuple[int, ...], progress: Progress | None) -> None:
        kept = mapped(path, np.uint8, shape)
        nothing = np.zeros(0, np.float32)
        plans = [
            [SamplePlan(video, number, np.arange(video.info.frames)[None], nothing, {}, 0.5, self.side)]
            for number, video in enumerate(self.videos)
        ]
        for number, batch in enumerate(load(plans, self.side, self.workers)):
            kept[self.starts[number] : self.starts[number + 1]] = batch.clips[0, 0].numpy()
            if progress:
                progress("decoding", number + 1, len(self.videos))
        kept.flush()


def mapped(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> np.memmap:
    """A new array on disk, mapped into memory. Raises OSError where the disk has no room for it."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):  # a disk that fills up under a memory map ends the process without a word
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
