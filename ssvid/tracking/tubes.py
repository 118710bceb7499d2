"""From maps of where a network looks to boxes over time: smoothed, thresholded, linked (Li et al., VideoLSTM, arXiv:1607.01794).

The network was told a class for a whole video and never a box. Its maps are coarse and flicker; so they are smoothed over time, the
stretch in which they are strong is kept, and there, frame by frame, what is above a share of the largest value is boxed. Boxes of
neighbouring frames that overlap are one tube.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import find_objects, gaussian_filter1d
from scipy.ndimage import label as connected

from ssvid.errors import ConfigError
from ssvid.evaluation.metrics.tubes import box_overlap


@dataclass(frozen=True)
class TubeOptions:
    """How maps become tubes.

    smooth: seconds, deviation of the Gaussian that maps are smoothed with over time. share: of a frame's largest value, from which a pixel
    belongs to a box. share_in_time: of the strongest moment's strength, from which a frame is part of the action. link:
    overlap with the box before, from which a box goes on with a tube. shortest: seconds that a tube lasts at least.
    """

    smooth: float = 0.2
    share: float = 0.2
    share_in_time: float = 0.5
    link: float = 0.2
    shortest: float = 0.2

    def __post_init__(self) -> None:
        if (
            self.smooth < 0
            or self.shortest < 0
            or not all(0 < s < 1 for s in (self.share, self.share_in_time, self.link))
        ):
            raise ConfigError(
                "smooth and shortest are seconds from 0 on, share, share_in_time and link lie between 0 and 1"
            )


@dataclass
class LocatedTube:
    """A tube: boxes (T,4) left, top, right, bottom in px, NaN in frames without one. score: sum of the strengths of its boxes."""

    boxes: np.ndarray
    score: float = 0.0
    last: int = field(default=-1, repr=False)  # frame of its latest box

    @property
    def frames(self) -> np.ndarray:
        """The frames in which it is."""
        return np.flatnonzero(~np.isnan(self.boxes[:, 0]))


def smoothed(maps: np.ndarray, fps: float, options: TubeOptions) -> np.ndarray:
    """Maps (T,h,w) smoothed over time."""
    result: np.ndarray = (
        gaussian_filter1d(maps, options.smooth * fps, axis=0, mode="nearest") if options.smooth else maps
    )
    return result


def active_stretches(strength: np.ndarray, options: TubeOptions) -> list[tuple[int, int]]:
    """Frames [start, end) in which a strength (T,), 0 for what says nothing, is at least a share of its largest value.

    So an action that lasts the whole video is found as long as it is, however its strength varies. The whole video where all say nothing.
    """
    high = float(strength.max())
    if high <= 1e-9:
        return [(0, len(strength))]
    active = strength >= options.share_in_time * high
    numbers, count = connected(active)
    return [
        (int(np.flatnonzero(numbers == n)[0]), int(np.flatnonzero(numbers == n)[-1]) + 1) for n in range(1, count + 1)
    ]


def find_tubes(
    maps: np.ndarray, size: tuple[int, int], stretches: list[tuple[int, int]], fps: float, options: TubeOptions
) -> list[LocatedTube]:
    """The tubes of smoothed maps (T,h,w) in frames of `size` (height, width), the strongest first; none beyond the stretches."""
    tubes: list[LocatedTube] = []
    for start, end in stretches:
        for t in range(start, end):
            boxes, strengths = boxes_of(maps[t], size, options.share)
            _extend(tubes, t, start, boxes, strengths, len(maps), options.link)
    kept = [tube for tube in tubes if len(tube.frames) >= options.shortest * fps]
    return sorted(kept, key=lambda tube: -tube.score)


def boxes_of(field: np.ndarray, size: tuple[int, int], share: float) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N,4) around the parts of a map (h,w) above a share of the way from its mean to its largest value, and the sum over each."""
    large = F.interpolate(torch.from_numpy(np.ascontiguousarray(field))[None, None].float(), size, mode="bilinear")[
        0, 0
    ].numpy()
    above = large - large.mean()
    if above.max() <= 1e-9:  # it looks everywhere alike
        return np.empty((0, 4)), np.empty(0)
    numbers, _ = connected(above >= share * above.max())
    places = find_objects(numbers)
    boxes = [(x.start, y.start, x.stop, y.stop) for y, x in places]
    strengths = [float(above[place][numbers[place] == n].sum()) for n, place in enumerate(places, 1)]
    return np.array(boxes, float).reshape(-1, 4), np.array(strengths)


def _extend(
    tubes: list[LocatedTube], t: int, start: int, boxes: np.ndarray, strengths: np.ndarray, frames: int, link: float
) -> None:
    """Give each box of frame t to the tube whose latest box, of the frame before, it overlaps most, or begin one with it; in place."""
    open_tubes = [tube for tube in tubes if tube.last == t - 1 and t > start]
    for number in np.argsort(-strengths):
        overlaps = [float(box_overlap(tube.boxes[t - 1], boxes[number])) for tube in open_tubes]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] >= link:
            tube = open_tubes.pop(best)
        else:
            tube = LocatedTube(np.full((frames, 4), np.nan))
            tubes.append(tube)
        tube.boxes[t], tube.last = boxes[number], t
        tube.score += float(strengths[number])
