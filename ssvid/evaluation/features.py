"""Frozen features of an index, decoded and computed once and then read from the cache.

The key of a cached file is made of the weights, the videos and the view, so that a changed weight or video is never served an old
feature. The backbone is in eval mode and without gradients throughout: not one batch-norm statistic moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from ssvid.data.augment import Augment
from ssvid.data.index import VideoRecord, fingerprint
from ssvid.data.loader import SamplePlan, load
from ssvid.data.sampling import clock, even_views
from ssvid.files import cache_folder
from ssvid.zoo.backbone import Backbone, to_device
from ssvid.zoo.views import Pool, clip_vector


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

    def indices(self, video: VideoRecord) -> np.ndarray:
        """Frame indices (clips, frames) of a video; a short one is shown more slowly or repeated evenly, never dropped."""
        ticks = clock(video, self.fps)
        if len(ticks) == 0:
            ticks = np.zeros(1, int)
        return ticks[even_views(len(ticks), self.clips, self.frames, self.stride)]


def extract(
    backbone: Backbone,
    videos: Sequence[VideoRecord],
    view: View,
    *,
    batch: int = 8,
    workers: int = 1,
    device: str | torch.device = "cpu",
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """One feature vector a clip: float32 (videos, clips, D), in the order of `videos`; read from the cache where it is there.

    batch: videos a forward pass. cache: folder of the cached features, by default below `cache_folder()`.
    progress: called with (videos done, videos in all) after every batch.
    Raises VideoError naming a file that cannot be read.
    """
    folder = cache or cache_folder() / "features"
    path = folder / f"{backbone.digest(fingerprint(videos), asdict(view))[:24]}.safetensors"
    if path.exists():
        return load_file(path)["features"]
    features = np.concatenate(list(_forward(backbone, videos, view, batch, workers, torch.device(device), progress)))
    folder.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".tmp")
    save_file({"features": features}, fresh)
    fresh.replace(path)
    return features


def _forward(
    backbone: Backbone,
    videos: Sequence[VideoRecord],
    view: View,
    batch: int,
    workers: int,
    device: torch.device,
    progress: Callable[[int, int], None] | None,
) -> Iterator[np.ndarray]:
    was_training = backbone.training
    backbone = to_device(backbone, device).eval()
    plans = [_plan(number, video, view) for number, video in enumerate(videos)]
    chunks = [plans[start : start + batch] for start in range(0, len(plans), batch)]
    done = 0
    for loaded in load(videos, chunks, view.size, workers, device, augment=True):
        clips = loaded.to(device).augmented().clips
        with torch.inference_mode():
            vectors = clip_vector(backbone(clips.flatten(0, 1)), view.pool)
        yield vectors.float().view(*clips.shape[:2], -1).cpu().numpy()
        done += len(clips)
        if progress:
            progress(done, len(videos))
    backbone.train(was_training)


def _plan(number: int, video: VideoRecord, view: View) -> SamplePlan:
    indices = view.indices(video)
    return SamplePlan(
        number, indices, np.zeros(0, np.float32), Augment(size=view.size).centre(*indices.shape), 0.5, view.size
    )
