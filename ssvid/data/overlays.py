"""Overlays: pictures burned into all videos of a data set, such as a clock, a progress bar or a station's mark, and where they are.

A progress bar tells which frame comes first, so a task about time can read it and look at nothing else. An overlay is told from the scene
by other videos: at one place of the picture and one moment, scenes differ from video to video and an overlay does not. Moments are aligned
in two ways, by seconds from the start (clocks) and by the share of the video that has passed (progress bars). A clock that starts at any
time of day is alike at no moment; it is found as a place that has one and the same colour for half of the time in all videos.

Not found: what is half transparent, what stands at another place in every video, and overlays in part of the videos only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ssvid.data.video_record import VideoRecord
from ssvid.errors import DataError
from ssvid.video.reader import Video

VIDEOS, LEAST = 32, 8  # videos that are looked at, and fewer than which nothing can be said
MOMENTS = 16  # frames of each
GRID = 128  # cells a side, over the whole picture whatever its shape
TOLERANCE = 20  # grey levels within which coding noise leaves one colour, in each channel
ALIKE = (
    0.75  # share of the videos that show one colour at one moment where there is an overlay; scenes stay below a half
)
MOSTLY = 0.6  # share of all frames of all videos that show one colour at a place of a clock set to any time
UNLIKE = 0.4  # share of the videos below which a moment shows the scene
SPECK = 6  # cells; less is no overlay
EDGE = 0.1  # share of what was found up to which changes are those of the scene behind a soft edge
REACH = 3  # cells around what was found that are taken out too: soft edges, and traces of the codec
FILLED = 0.4  # share of its box from which a part is masked as a box; a frame around the picture is not
MOST = 0.25  # share of the picture; more is the scene itself, filmed by one fixed camera

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Overlay:
    """Where the overlays of a data set are.

    mask: bool (h,w), a grid over the whole picture as shown. changing: its part that changes, and changes alike in all videos.
    """

    mask: Array
    changing: Array

    @property
    def changes(self) -> bool:
        """Whether a part of it changes, from which time can be read."""
        return bool(self.changing.any())

    def describe(self) -> str:
        """Its share of the picture and its place, as words."""
        rows, columns = np.nonzero(self.mask)
        thirds = int(3 * rows.mean() / len(self.mask)), int(3 * columns.mean() / self.mask.shape[1])
        place = f"{('top', '', 'bottom')[thirds[0]]} {('left', '', 'right')[thirds[1]]}".strip() or "middle"
        return f"{self.mask.mean():.1%} of the picture, {place}, {'changing alike' if self.changes else 'the same'} in all videos"


def find_overlay(videos: Sequence[VideoRecord]) -> Overlay | None:
    """The overlays that all videos have in common, or None where there are none.

    Looks at 16 frames of up to 32 videos, drawn at random and of different groups where groups are known. Where more than a quarter of
    the picture is alike in all videos, a fixed camera films one scene, and only what changes alike counts.
    Raises DataError for fewer than 8 videos, and VideoError naming a file that cannot be read.
    """
    chosen = _choose(videos)
    if len(chosen) < LEAST:
        raise DataError(
            f"{len(chosen)} videos of different groups are too few to find overlays, it takes {LEAST}; name more data, or leave out "
            "overlays=mask"
        )
    frames, reached = _moments(chosen)
    alike, level = _alike(frames, reached)
    mostly = _agreeing(frames.reshape(-1, *frames.shape[2:]))[0] >= MOSTLY
    agreed = alike >= ALIKE
    swing = np.where(agreed, level, -np.inf).max(0) - np.where(agreed, level, np.inf).min(0)
    shown = agreed.any(0)
    swinging = shown & (swing > 2 * TOLERANCE)
    changing = swinging | shown & (alike.min(0) < UNLIKE) | ~shown & mostly
    mask = _without_specks(shown | mostly)
    if mask.mean() > MOST:
        mask = _without_specks(swinging)
    if not mask.any() or mask.mean() > MOST:
        return None
    changing &= mask
    inside = changing & ndimage.binary_erosion(mask, border_value=1)
    if changing.sum() < EDGE * mask.sum() and inside.sum() < SPECK:
        changing = np.zeros_like(mask)
    return Overlay(_whole(mask, alike.max(0) >= ALIKE / 1.5), changing)


def hide(videos: Sequence[VideoRecord], mask: Array | None) -> list[VideoRecord]:
    """The videos with a grid (h,w) of the picture masked wherever they are read; as they are where the mask is None."""
    return [video if mask is None else replace(video, hidden=mask) for video in videos]


def _choose(videos: Sequence[VideoRecord]) -> list[VideoRecord]:
    """Up to 32 videos, of different groups: the videos of one scene are alike without any overlay."""
    chosen: dict[object, VideoRecord] = {}
    for number in np.random.default_rng(0).permutation(len(videos)):
        video = videos[number]
        chosen.setdefault(number if video.group is None else video.group, video)
        if len(chosen) == VIDEOS:
            break
    return list(chosen.values())


def _moments(videos: Sequence[VideoRecord]) -> tuple[Array, Array]:
    """Frames (N,M,G,G,3) uint8 of N videos at M aligned moments, and which videos reach each moment, bool (N,M)."""
    durations = np.array([video.info.duration for video in videos])
    one_length = np.ptp(durations) < 0.05 * durations.max()
    steps = (np.arange(MOMENTS) + 0.5) / MOMENTS if one_length else (np.arange(MOMENTS // 2) + 0.5) / (MOMENTS // 2)
    seconds = durations[:, None] * steps
    if not one_length:  # seconds from the start too, as far as most videos reach
        clock = np.broadcast_to(np.quantile(durations, 0.2) * steps, seconds.shape)
        seconds = np.concatenate([seconds, clock], 1)
    frames = [_read(video, row) for video, row in zip(videos, seconds, strict=True)]
    return np.stack(frames), seconds < durations[:, None]


def _read(video: VideoRecord, seconds: Array) -> Array:
    """The whole picture at some moments: uint8 (M,G,G,3)."""
    at = np.searchsorted(video.info.times, seconds, "right") - 1
    unique, back = np.unique(at.clip(0, video.info.frames - 1), return_inverse=True)
    result: Array = Video(video.source.path, video.source).frames(unique, (GRID, GRID))[back]
    return result


def _alike(frames: Array, reached: Array) -> tuple[Array, Array]:
    """Share of the videos that agree on a colour at each moment, and its level 0..255: both (M,G,G)."""
    pairs = [_agreeing(moment[here]) for moment, here in zip(frames.swapaxes(0, 1), reached.T, strict=True)]
    shares = [share * (here.sum() >= LEAST) for (share, _), here in zip(pairs, reached.T, strict=True)]
    return np.stack(shares), np.stack([level for _, level in pairs])


def _agreeing(pictures: Array) -> tuple[Array, Array]:
    """Share of the pictures, uint8 (N,G,G,3), that show their median colour at a place, and the level of that colour: both (G,G)."""
    middle = len(pictures) // 2
    colour = np.partition(pictures, middle, 0)[middle].astype(np.int16)
    share: Array = (np.abs(pictures - colour).max(-1) <= TOLERANCE).mean(0)
    return share, colour.mean(-1)


def _whole(mask: Array, likely: Array) -> Array:
    """The boxes around what was found for certain and what is likely close to it: thin digits are found in pieces."""
    mask = mask | likely & ndimage.binary_dilation(mask, iterations=4 * REACH)
    # twice as far out as back in, so that gaps between digits close too
    mask = ndimage.binary_erosion(ndimage.binary_dilation(mask, iterations=2 * REACH), iterations=REACH, border_value=1)
    parts, _ = ndimage.label(mask)
    for box in ndimage.find_objects(parts):
        if mask[box].mean() > FILLED:
            mask[box] = True
    result: Array = mask
    return result


def _without_specks(mask: Array) -> Array:
    """A mask without its parts of fewer than 6 cells."""
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = ndimage.sum_labels(mask, parts, np.arange(count + 1))
    result: Array = (sizes >= SPECK)[parts] & mask
    return result
