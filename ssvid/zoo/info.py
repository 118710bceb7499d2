"""What a backbone says about itself, known before torch is imported and before a weight is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

POOLED = 10000  # the stride of a map with one cell, or one step, whatever the clip: larger than any frame or clip

Order = Literal["blind", "aware"]
Isolation = Literal["fold", "still", "motion"]


class Published(NamedTuple):
    """A published score of a backbone trained with labels: the bar a pretrained one is measured against."""

    dataset: str
    protocol: str
    metric: str
    value: float
    source: str


@dataclass(frozen=True)
class Geometry:
    """What is measured on a network as it is built, see `ssvid.zoo.measure`."""

    dim: int  # D, channels of the feature map
    temporal_stride: int  # input frames per feature step; POOLED where there is always one step
    spatial_stride: int  # input pixels per feature cell; POOLED where there is always one cell
    min_frames: int  # least T the network accepts
    min_size: int  # least H and W, pixels
    temporal_rf: int | None  # input frames one feature step can see; None: the whole clip
    order: Order  # "blind": the features averaged over time are those of the clip played backward; no direction can be learnt from them
    streams: bool  # can be run frame by frame with exactly the clip's result, see `ssvid.zoo.stream`


@dataclass(frozen=True)
class BackboneInfo(Geometry):
    """Geometry, input and origin of one backbone, with its options applied. The fields below are stated by a family's file."""

    name: str  # what `create_model` takes, weights aside
    family: str  # the file the encoder comes from
    description: str  # one line
    frames: int  # T of the clip the network was designed for
    size: int  # H = W of that clip, pixels
    mean: tuple[float, float, float]  # of RGB on a scale of 0 to 1
    std: tuple[float, float, float]
    source: str  # where the network's definition comes from
    licence: str
    learns: bool = True  # False: a fixed function of the pixels, without a weight to learn
    # how one frame is encoded alone, see `ssvid.zoo.views`: "fold" sums up the temporal kernels of Conv3d, "still" plays it `frames` times,
    # "motion" does as "fold" where a part of the network is shown motion alone: it has none to see then, and no such task can teach it
    isolation: Isolation = "fold"
    options: Mapping[str, Any] = field(default_factory=dict)  # the options and the values in force
    published: tuple[Published, ...] = ()

    def cells(self, side: int) -> int:
        """Cells of the map along a side of that many pixels, `min_size` at least. Of networks that take one size only, it is not known."""
        return 1 + (side - self.min_size) // self.spatial_stride

    @property
    def pairs(self) -> bool:
        """Whether the network is shown the change from each frame to the next, of which there is one fewer than frames."""
        return bool(self.options.get("input", "rgb") != "rgb")
