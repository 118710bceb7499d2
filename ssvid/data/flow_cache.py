"""Flow between the frames of a small data set, worked out once a video and mapped into memory, for jobs that read every video many times.

Flow is taken of whole squares, before they are cropped and mirrored, and is then cropped and mirrored with them, as published flow is.
It stands beside the frames of `ssvid.data.frame_cache`. Every pair of frames is worked out alone and kept in half precision, so that what
is kept and what is worked out anew, as for pairs of frames that lie further apart, are the same bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssvid.data.augment import crop_and_resize
from ssvid.data.flow import as_pictures
from ssvid.data.flow_estimators import ESTIMATORS
from ssvid.data.frame_cache import LIMIT, FrameCache, mapped
from ssvid.data.loader import Batch, SamplePlan
from ssvid.data.video_record import fingerprint
from ssvid.files import atomic, cache_folder
from ssvid.progress import Progress


class FlowCache:
    """Flow of clips of the videos of a `FrameCache`.

    estimator: a key of `ESTIMATORS`. gaps: of each video, frames from the first to the second of the pairs that are kept; see `usual_gap`.
    device: where flow is worked out. limit: bytes of flow that are kept at most; nothing is kept where the frames are not.
    progress: called with ("flow", videos done, videos in all) while it is worked out for the first time.
    """

    def __init__(
        self,
        frame_cache: FrameCache,
        estimator: str,
        gaps: Sequence[int],
        *,
        device: torch.device | None = None,
        limit: int = LIMIT,
        progress: Progress | None = None,
    ) -> None:
        self.frame_cache, self.estimator, self.gaps = frame_cache, estimator, list(gaps)
        self.device = device or torch.device("cpu")
        shape = (frame_cache.starts[-1], 2, frame_cache.side, frame_cache.side)
        fits = frame_cache.kept and 2 * int(np.prod(shape, dtype=np.int64)) <= limit
        self.kept = self._open(shape, progress) if fits else None

    def beside(self, plans: list[SamplePlan], batch: Batch) -> Batch:
        """The batch of these plans, not yet augmented, with pictures of its flow beside its colours: augmented, clips (B,V,6,T,N,N).

        The last frame's are those of the one before. One box a clip is taken, its first frame's.
        """
        flow = [
            self._between(plan.position, indices, frames)
            for plan, clips in zip(plans, batch.clips, strict=True)
            for indices, frames in zip(plan.indices, clips, strict=True)
        ]
        box, size, colours = batch.params["box"].flatten(0, 1), batch.size, batch.augmented()
        moved = as_pictures(cropped(torch.stack(flow).to(box.device).float(), box[:, 0], size))
        pictures = torch.cat([moved, moved[:, :, -1:]], 2).unflatten(0, colours.clips.shape[:2])
        return Batch(torch.cat([colours.clips, pictures], 2), colours.target, {}, size, colours.paths)

    def _between(self, position: int, indices: np.ndarray, frames: Tensor) -> Tensor:
        """Flow (T-1,2,S,S) between the frames of a clip, uint8 (T,S,S,3)."""
        found = []
        for number, (first, second) in enumerate(pairwise(indices)):
            if self.kept is not None and second - first == self.gaps[position]:
                found.append(torch.from_numpy(self.kept[self.frame_cache.starts[position] + first].copy()))
            else:
                found.append(self._of_pair(frames[number : number + 2]))
        return torch.stack(found)

    def _of_pair(self, frames: Tensor) -> Tensor:
        """Flow (2,S,S), half precision, between two frames, uint8 (2,S,S,3)."""
        clip = frames.to(self.device).movedim(3, 0).float().div_(255)  # (3,2,S,S)
        flow: Tensor = ESTIMATORS[self.estimator](clip[None])[0, :, 0]
        return flow.half().cpu()

    def _open(self, shape: tuple[int, ...], progress: Progress | None) -> np.ndarray:
        about = (fingerprint(self.frame_cache.videos), shape, self.estimator, self.gaps, self.device.type)
        path = cache_folder() / "flow_cache" / f"{hashlib.sha256(repr(about).encode()).hexdigest()[:24]}.npy"
        if not path.exists():
            with atomic(path) as temporary:
                self._fill(temporary, shape, progress)
        result: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return result

    def _fill(self, path: Path, shape: tuple[int, ...], progress: Progress | None) -> None:
        assert self.frame_cache.frames is not None
        kept = mapped(path, np.float16, shape)
        starts = self.frame_cache.starts
        for number, gap in enumerate(self.gaps):
            for first in range(starts[number], starts[number + 1] - gap):
                pair = np.array(self.frame_cache.frames[[first, first + gap]])
                kept[first] = self._of_pair(torch.from_numpy(pair)).numpy()
            if progress:
                progress("flow", number + 1, len(self.gaps))
        kept.flush()


def usual_gap(indices: np.ndarray) -> int:
    """How many frames lie from one frame of most clips (V,T) to the next, one at least."""
    return max(1, int(np.bincount(np.diff(indices, axis=-1).ravel()).argmax())) if indices.shape[-1] > 1 else 1


def cropped(flow: Tensor, box: Tensor, size: int) -> Tensor:
    """Flow (N,T,2,S,S) in px, cut and mirrored as the frames that it lies between: (N,2,T,size,size), in px of these.

    box: (N,4), see `ssvid.data.augment.crop_and_resize`.
    """
    boxes = box[:, None].expand(-1, flow.shape[1], -1)
    scale = size / (flow.shape[-1] * box[:, 2:])  # px that one becomes; negative across a mirrored frame
    return (crop_and_resize(flow, boxes, size) * scale[:, None, :, None, None]).transpose(1, 2)
