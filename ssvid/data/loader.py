"""From plans to batches: what to read is decided in the main process, the workers only decode.

A plan holds everything that is random about a sample: frames, crop, colours. It depends on (seed, step, place in the global batch)
alone, so the batches are the same for any number of workers and of processes, and a resumed run goes on with the very next plan.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ssvid.data.augment import apply
from ssvid.data.video_record import VideoRecord
from ssvid.errors import DataError, VideoError
from ssvid.video.reader import Video

WORKER_LIMIT = 300.0  # seconds without a batch after which a worker counts as hung
Failure = VideoError | DataError  # of a file, or of the index that has its times
GREY = 128  # what stands in place of a masked part of the picture


@dataclass(frozen=True)
class SamplePlan:
    """One sample, decided: which frames (V,T) of which video, where the square lies (0..1 along the long side), how it is augmented.

    position: where the video stands among those that are planned for.
    """

    video: VideoRecord
    position: int
    indices: np.ndarray
    target: np.ndarray
    params: dict[str, np.ndarray]
    offset: float
    size: int


@dataclass
class Batch:
    """A decoded batch: clips uint8 (B,V,T,S,S,3), or float (B,V,C,T,N,N) on 0..1 once augmented; target (B,...), augmentation parameters
    (B,V,T,...), output side N, files."""

    clips: torch.Tensor
    target: torch.Tensor
    params: dict[str, torch.Tensor]
    size: int
    paths: list[str]

    def augmented(self) -> Batch:
        """The batch with its augmentation applied on the device of its clips; itself if that was done."""
        if self.clips.dtype != torch.uint8:
            return self
        return Batch(apply(self.clips, self.params, self.size), self.target, {}, self.size, self.paths)

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        params = {key: value.to(device, non_blocking=True) for key, value in self.params.items()}
        clips, target = self.clips.to(device, non_blocking=True), self.target.to(device, non_blocking=True)
        return Batch(clips, target, params, self.size, self.paths)

    def pin_memory(self) -> Batch:
        """Called by the loader on a GPU machine."""
        params = {key: value.pin_memory() for key, value in self.params.items()}
        return Batch(self.clips.pin_memory(), self.target.pin_memory(), params, self.size, self.paths)


def read_square(video: VideoRecord, indices: np.ndarray, side: int, offset: float = 0.5) -> np.ndarray:
    """Frames (V,T,side,side,3) uint8: black bars cut off, short side resized to `side` while decoding, one square cut out.

    What the record hides is one grey in all frames, in training and in tests alike.
    indices: int (V,T) of the video's frames, read in one go. offset: where the square lies along the long side, 0..1.
    """
    source = video.source
    (height, width), (y, x) = _square(video, side, offset)
    frames = Video(source.path, source).frames(indices.ravel(), (height, width))
    square = frames[:, y : y + side, x : x + side].reshape(*indices.shape, side, side, 3)
    if video.hidden is None:
        return square
    return np.where(hidden_square(video, side, offset)[..., None], np.uint8(GREY), square)


def hidden_square(video: VideoRecord, side: int, offset: float = 0.5) -> np.ndarray:
    """Which pixels (side,side) of the square of `read_square` are masked. Only for a record that hides something."""
    assert video.hidden is not None
    (height, width), (y, x) = _square(video, side, offset)
    rows, columns = np.arange(y, y + side) + 0.5, np.arange(x, x + side) + 0.5
    h, w = video.hidden.shape
    result: np.ndarray = video.hidden[np.ix_((rows * h / height).astype(int), (columns * w / width).astype(int))]
    return result


def _square(video: VideoRecord, side: int, offset: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width at which the whole picture is decoded, and the top left corner of the square in it."""
    top, bottom, left, right = video.shots.bars
    across, down = video.info.width - left - right, video.info.height - top - bottom
    scale = side / min(across, down)
    height, width = (
        max(side, 2 * round(length * scale / 2)) for length in (video.info.height, video.info.width)
    )  # even: scales faster
    y = round(top * scale + offset * (down * scale - side))
    x = round(left * scale + offset * (across * scale - side))
    return (height, width), (min(max(y, 0), height - side), min(max(x, 0), width - side))


class ClipReader(Dataset[Any]):
    """Decodes plans, which carry the records of their videos: a worker gets no other. Decoders are opened per sample, where it is read."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __getitem__(self, plan: SamplePlan) -> tuple[SamplePlan, str, np.ndarray | Failure]:
        path = plan.video.path
        try:
            return plan, path, read_square(plan.video, plan.indices, self.side, plan.offset)
        except (VideoError, DataError) as error:
            return plan, path, error


def collate(
    samples: list[tuple[SamplePlan, str, np.ndarray | Failure]],
    augment: bool = False,
) -> Batch | Failure:
    """Stack decoded plans, and augment them when `augment` is set.

    A failure is passed on as a value, since the loader would bury its message in a worker's traceback.
    """
    decoded: list[np.ndarray] = []
    for _, _, frames in samples:
        if isinstance(frames, Failure):
            return frames
        decoded.append(frames)
    plans = [plan for plan, _, _ in samples]
    params = {key: torch.from_numpy(np.stack([plan.params[key] for plan in plans])) for key in plans[0].params}
    clips = torch.from_numpy(np.stack(decoded))
    target = torch.from_numpy(np.stack([plan.target for plan in plans]))
    batch = Batch(clips, target, params, plans[0].size, [path for _, path, _ in samples])
    return batch.augmented() if augment else batch


def _leave_signals_to_parent(worker: int) -> None:
    """Ctrl-C reaches the whole process group; the loop finishes its step and needs its workers until then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(
        signal.SIGTERM, signal.SIG_DFL
    )  # the parent ends its workers with it, and its own handler was inherited


def load(
    plans: Iterable[list[SamplePlan]],
    side: int,
    workers: int = 0,
    device: torch.device | None = None,
    augment: bool = False,
) -> Iterable[Batch]:
    """Batches in the order of `plans` (one list of plans a batch), decoded by `workers` processes (0: in this one).

    device: where they are going. On a CPU, the workers augment too when `augment` is set, beside the training step;
    for a GPU they hand over uint8, a quarter of the bytes, and `Batch.augmented` does it there.
    Raises VideoError naming the file that could not be read, DataError where the index has changed.
    """
    on_gpu = device is not None and device.type != "cpu"
    options: dict[str, Any] = {"timeout": WORKER_LIMIT} if workers else {}
    batches = DataLoader(
        ClipReader(side),
        batch_sampler=plans,
        num_workers=workers,
        worker_init_fn=_leave_signals_to_parent,
        collate_fn=partial(collate, augment=augment and not on_gpu),
        pin_memory=on_gpu,
        **options,
    )
    for batch in batches:
        if isinstance(batch, Failure):
            raise batch
        yield batch
