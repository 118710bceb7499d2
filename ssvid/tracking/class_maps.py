"""Where a network looks in every frame of a video: the attention of its head, or the class activation map of a linear classifier.

Attention is what heads with a method `attention` weigh cells by; it is of no class. A class activation map (Zhou et al., CVPR 2016) is a
linear classifier applied to every cell of the feature map instead of to their mean; the mean of the map is the score, so the map says
exactly which cells spoke for the class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssvid.errors import ConfigError
from ssvid.evaluation.saved_head import SavedHead
from ssvid.progress import Progress
from ssvid.video.reader import Video
from ssvid.zoo.backbone import Backbone, WithHead


@dataclass(frozen=True)
class VideoMaps:
    """maps: (T,h,w) of every frame. strength: (T,), from 0 for what says nothing: how far a frame's probability of the class is above that
    of guessing, or how many times more than its share the strongest cell gets of the attention.

    label: the class, "" for attention. score: mean probability of the class over the windows, None for attention.
    """

    maps: np.ndarray
    strength: np.ndarray
    label: str = ""
    score: float | None = None


def attention_maps(video: Video, backbone: Backbone, view: Mapping[str, Any], progress: Progress) -> VideoMaps:
    """Where the head of a backbone looks, in every frame. Raises ConfigError for one whose head does not attend."""
    trunk = backbone.trunk
    if not isinstance(trunk, WithHead) or not hasattr(trunk.temporal, "attention"):
        raise ConfigError(
            f"{backbone.info.name} has no attention to show; take a head that attends (alstm, conv_alstm, videolstm), or give --classifier"
        )
    head: Any = trunk.temporal

    def attended(clip: Tensor) -> Tensor:
        result: Tensor = head.attention(trunk.encode(backbone.make_input(clip)))[0]
        return result

    maps = _over_windows(video, backbone, view, lambda clip: attended(clip)[None], progress)[0]
    if maps.shape[1:] == (1, 1):
        raise ConfigError(
            f"{backbone.info.name} has one cell a frame at this size, so it can look nowhere else; give a larger --size"
        )
    return VideoMaps(maps, maps.max((1, 2)) * maps[0].size - 1)


def class_maps(
    video: Video, backbone: Backbone, head: SavedHead, label: str, view: Mapping[str, Any], progress: Progress
) -> VideoMaps:
    """The class activation map of every frame, of a class by name, or where `label` is empty of the one with the best score.

    Raises ConfigError for an unknown class and a network with one cell a frame, DataError for the head of another network.
    """
    if label and label not in head.classes:
        raise ConfigError(f"the classifier has no class {label!r}; it has {', '.join(head.classes)}")
    head.fit_network(backbone)

    def evidence(clip: Tensor) -> Tensor:
        features = backbone(clip)[0]  # (D,t,h,w)
        if head.normalise:  # their mean is scaled to length one, and so the mean of the map stays the score
            features = features / features.mean((1, 2, 3)).norm().clamp_min(1e-12)
        return torch.einsum("kd,dthw->kthw", head.weight, features) + head.bias[:, None, None, None]

    maps = _over_windows(video, backbone, view, evidence, progress)
    if maps.shape[2:] == (1, 1):
        raise ConfigError(
            f"{backbone.info.name} gives one cell a frame, which does not tell where; take a network or a head that keeps a map, as "
            "r3d_18 or resnet18+convlstm, or a larger --size"
        )
    shares = torch.from_numpy(maps.mean((2, 3))).softmax(0).numpy()  # (K,T)
    number = head.classes.index(label) if label else int(shares.mean(1).argmax())
    strength = shares[number] - 1 / len(head.classes)
    return VideoMaps(maps[number], strength, head.classes[number], float(shares[number].mean()))


def _over_windows(
    video: Video, backbone: Backbone, view: Mapping[str, Any], see: Any, progress: Progress
) -> np.ndarray:
    """What `see` makes of half-overlapping windows, clip (1,3,T,h,w) -> (K,t,h',w'), as maps (K,N,h',w') of the N frames: means of the
    windows that a frame lies in."""
    count, stride, size = video.info.frames, max(1, int(view["stride"])), int(view["size"])
    total: np.ndarray | None = None
    hits = np.zeros(count)
    starts = list(_starts(count, int(view["frames"]), stride))
    for number, ticks in enumerate(starts, 1):
        frames = torch.from_numpy(video.frames(ticks, size)).permute(3, 0, 1, 2)[None].float() / 255
        with torch.inference_mode():
            seen = see(frames).float().cpu().numpy()
        if total is None:
            total = np.zeros((len(seen), count, *seen.shape[2:]))
        covered = np.arange(ticks[0], min(ticks[-1] + stride, count))
        step = np.minimum((covered - ticks[0]) * seen.shape[1] // (len(ticks) * stride), seen.shape[1] - 1)
        total[:, covered] += seen[:, step]
        hits[covered] += 1
        progress("looking", number, len(starts))
    assert total is not None  # a video has a frame at least
    result: np.ndarray = total / hits[:, None, None]
    return result


def _starts(count: int, length: int, stride: int) -> Iterator[np.ndarray]:
    """Frame numbers of windows that together cover a video; a video shorter than one is shown more slowly."""
    reach = length * stride
    if count <= reach:
        yield np.minimum(np.linspace(0, count - 1, length).round().astype(int), count - 1)
        return
    last = count - reach
    for start in [*range(0, last, max(1, reach // 2)), last]:
        yield start + np.arange(length) * stride
