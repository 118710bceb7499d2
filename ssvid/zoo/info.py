"""What a backbone says about itself, known before torch is imported and before a weight is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Published(NamedTuple):
    """A published score of a backbone trained with labels: the bar a pretrained one is measured against."""

    dataset: str
    protocol: str
    metric: str
    value: float
    source: str


@dataclass(frozen=True)
class BackboneInfo:
    """Geometry, input and origin of one backbone, with its options applied.

    A family's file states these in its literal `MODELS`; the contract test compares every one with the built network.
    """

    name: str  # what `create_model` takes
    family: str  # the file the backbone comes from
    description: str  # one line
    dim: int  # D, channels of the feature map
    temporal_stride: int  # input frames per feature step
    spatial_stride: int  # input pixels per feature cell
    frames: int  # T of the clip the network was designed for
    size: int  # H = W of that clip, pixels
    min_frames: int  # least T the network accepts
    min_size: int  # least H and W, pixels
    temporal_rf: int | None  # input frames one feature step can see; None: the whole clip
    sees_time: bool  # False: every frame is encoded alone, so no order, speed or direction can be learnt
    mean: tuple[float, float, float]  # of RGB on a scale of 0 to 1
    std: tuple[float, float, float]
    source: str  # where the network's definition comes from
    licence: str
    learns: bool = True  # False: a fixed function of the pixels, without a weight to learn
    streams: bool = False  # can be run frame by frame with exactly the clip's result
    options: Mapping[str, Any] = field(default_factory=dict)  # the options and the values in force
    published: tuple[Published, ...] = ()
