"""Label propagation as published codebases run it: what the context is, which affinities count, how labels are resized and read.

    crw         Contrastive Random Walk (Jabri et al., 2020, arXiv:2006.14613; code ajabri/videowalk)
    dino        DINO (Caron et al., 2021, arXiv:2104.14294; code facebookresearch/dino)
    dinov3      DINOv3 (Simeoni et al., 2025, arXiv:2508.10104; notebook of facebookresearch/dinov3)
    timecycle   TimeCycle (Wang et al., 2019, arXiv:1903.07593; code xiaolonw/TimeCycle)
    uvc         UVC (Li et al., 2019, arXiv:1909.11895; code Liusifei/UVC)

Scores depend on these settings as much as on the features: of TimeCycle's, the size of the frames alone moves J&F by 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from ssvid.errors import ConfigError
from ssvid.ops.affinity import Neighbourhood


@dataclass(frozen=True)
class Preset:
    """The settings of label propagation.

    Attributes:
        recent: frames before the one asked about that it is compared with, beside those kept for ever.
        repeat_first: before the video, the first frame is repeated, so that there are always `recent` frames; each repetition counts.
        normalize: features have length 1 before they are compared.
        temperature: what similarities are divided by.
        topk: cells of the context that count for a cell.
        ties: cells count too that are as similar as the last of these.
        radius: cells away that still count; None: all count.
        neighbourhood: "disc", up to the radius; "open_disc", less than it; "square", so many rows and columns.
        kept_everywhere: the radius does not hold for frames that are kept for ever.
        softmax: "after" top-k, over the cells that count; "before", over all cells, so that weights sum to less than 1.
        per_frame: top-k and softmax are those of each frame of the context alone, and the labels found in each are averaged.
        short_side: px that frames are resized to, their aspect kept; None: they stay as they are.
        rounding: "down": the long side then goes down to a multiple of `multiple` px; "up": both go up to a multiple of the stride.
        squash: px of both sides; the aspect is lost.
        shrink: how masks are brought to the map: "bilinear", or "nearest", the pixel in the middle of a cell.
        enlarge: how they are brought back: "bilinear" or "nearest".
        min_max: each object's soft mask is stretched to 0..1 before the largest wins, which raises small objects.
    """

    recent: int
    temperature: float
    topk: int
    radius: float | None
    neighbourhood: Neighbourhood = "disc"
    repeat_first: bool = False
    normalize: bool = True
    ties: bool = False
    kept_everywhere: bool = False
    softmax: Literal["after", "before"] = "after"
    per_frame: bool = False
    short_side: int | None = None
    multiple: int = 1
    rounding: Literal["down", "up"] = "down"
    squash: int | None = None
    shrink: Literal["bilinear", "nearest"] = "bilinear"
    enlarge: Literal["bilinear", "nearest"] = "bilinear"
    min_max: bool = False

    def frame_size(self, height: int, width: int, stride: int) -> tuple[int, int]:
        """Height and width at which a frame is encoded; stride: px of a cell."""
        if self.squash is not None:
            return self.squash, self.squash
        if self.short_side is None:
            return height, width
        scale = self.short_side / min(height, width)
        tall, wide = height * scale, width * scale
        if self.rounding == "up":
            return math.ceil(round(tall / stride, 6)) * stride, math.ceil(round(wide / stride, 6)) * stride
        step = self.multiple
        if tall < wide:
            return round(tall), max(step, int(wide / step) * step)
        return max(step, int(tall / step) * step), round(wide)


PRESETS = {
    "crw": Preset(
        recent=20,
        temperature=0.05,
        topk=10,
        radius=12,
        neighbourhood="open_disc",
        repeat_first=True,
        kept_everywhere=True,
    ),
    "dino": Preset(
        recent=7,
        temperature=0.1,
        topk=5,
        ties=True,
        radius=12,
        neighbourhood="square",
        short_side=480,
        multiple=64,
        shrink="nearest",
        min_max=True,
    ),
    "dinov3": Preset(
        recent=7,
        temperature=0.2,
        topk=5,
        ties=True,
        radius=12,
        short_side=960,
        rounding="up",
        shrink="nearest",
        enlarge="nearest",
        min_max=True,
    ),
    "timecycle": Preset(
        recent=7,
        temperature=512**-0.5,
        topk=5,
        radius=None,
        repeat_first=True,
        softmax="before",
        per_frame=True,
        squash=320,
        min_max=True,
    ),
    "uvc": Preset(
        recent=7,
        temperature=1.0,
        topk=5,
        radius=None,
        normalize=False,
        softmax="before",
        per_frame=True,
        short_side=480,
        min_max=True,
    ),
}


def find_preset(name: str, **changes: Any) -> Preset:
    """A preset by name, with some settings changed. Raises ConfigError for an unknown name, setting or value."""
    if name not in PRESETS:
        raise ConfigError(f"there is no preset {name!r}; there are: {', '.join(PRESETS)}")
    try:
        preset = replace(PRESETS[name], **changes)
    except TypeError as error:
        known = ", ".join(Preset.__dataclass_fields__)
        raise ConfigError(f"a preset has no such setting ({error}); it has: {known}") from error
    if (
        preset.recent < 0
        or preset.topk < 1
        or preset.temperature <= 0
        or (preset.radius is not None and preset.radius < 0)
    ):
        raise ConfigError("a preset needs recent >= 0, topk >= 1, temperature > 0 and radius >= 0")
    return preset
