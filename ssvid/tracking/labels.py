"""Soft labels on the cells of a feature map: made from masks, parts and points in pixels, and read out again.

Labels are (h,w,C): channel 0 is the background, each other channel an object, a part of one, or a point. Channels of masks and the
background sum to 1 in each cell; those of points are apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class FrameGrid(NamedTuple):
    """Where the cells of a map lie in a frame.

    frame: (H,W) px as it came. work: (H,W) px as it was resized to be encoded. stride: px of a cell in `work`. cells: (h,w), which reach
    beyond `work` to the right and below where it is no multiple of the stride.
    """

    frame: tuple[int, int]
    work: tuple[int, int]
    stride: int
    cells: tuple[int, int]

    def to_cells(self, points: Tensor) -> Tensor:
        """Pixels x, y of the frame, (...,2), as places in the map: a cell's middle is a whole number."""
        return (points + 0.5) * self._scale(points) / self.stride - 0.5

    def to_pixels(self, places: Tensor) -> Tensor:
        """Places x, y in the map, (...,2), as pixels of the frame."""
        return (places + 0.5) * self.stride / self._scale(places) - 0.5

    def middles(self) -> tuple[Tensor, Tensor]:
        """Rows and columns of the frame's pixels, as fractions, on which the middles of the cells lie: float (h,), (w,)."""
        scale = self._scale(torch.zeros(1)).flip(0)  # of rows, columns
        rows, columns = (
            (torch.arange(cells) + 0.5) * self.stride / scale[axis] - 0.5 for axis, cells in enumerate(self.cells)
        )
        return rows, columns

    def _scale(self, like: Tensor) -> Tensor:
        """Pixels of `work` a pixel of the frame, along x and y."""
        return like.new_tensor([self.work[1] / self.frame[1], self.work[0] / self.frame[0]])


def labels_from_mask(
    mask: Tensor, ids: Sequence[int], grid: FrameGrid, shrink: Literal["bilinear", "nearest"] = "bilinear"
) -> Tensor:
    """Soft labels (h,w,1+len(ids)) of a mask (H,W) that holds the ids of objects or parts; other ids count as background.

    shrink: "bilinear", the share of the four pixels around a cell's middle; "nearest", the pixel in which the middle lies.
    """
    rows, columns = (middle.to(mask.device) for middle in grid.middles())
    if shrink == "nearest":
        near = [
            (middle + 0.5).floor().long().clamp(0, side - 1)
            for middle, side in zip((rows, columns), mask.shape, strict=True)
        ]
        mask = mask[near[0]][:, near[1]]
    layers = (mask[..., None] == torch.tensor(list(ids), device=mask.device)).float()
    if shrink == "bilinear":
        layers = _between(_between(layers, rows, 0), columns, 1)
    return torch.cat([1 - layers.sum(-1, keepdim=True), layers], -1)


def labels_from_points(points: Tensor, grid: FrameGrid, sigma: float = 0.5) -> Tensor:
    """A Gaussian (h,w,P) around each point x, y (P,2) in pixels; zeros for a point that is NaN. sigma: cells."""
    x, y = grid.to_cells(points.float()).unbind(1)
    h, w = grid.cells
    rows, columns = (torch.arange(side, device=points.device) for side in (h, w))
    away = (rows[:, None, None] - y).square() + (columns[None, :, None] - x).square()
    return (-away / (2 * sigma**2)).exp().nan_to_num(0)


def mask_from_labels(
    labels: Tensor, grid: FrameGrid, enlarge: Literal["bilinear", "nearest"] = "bilinear", min_max: bool = False
) -> Tensor:
    """The channel that wins at each pixel, long (H,W), of soft labels (h,w,C) of masks.

    Labels are enlarged to the size at which the frame was encoded; the winner goes to the nearest pixel of the frame. min_max: each channel
    is first stretched to 0..1, where it is not 0 throughout.
    """
    padded = [side * grid.stride for side in grid.cells]
    options = {"align_corners": False} if enlarge == "bilinear" else {}
    large = F.interpolate(labels.permute(2, 0, 1)[None], padded, mode=enlarge, **options)[0]
    large = large[:, : grid.work[0], : grid.work[1]]
    if min_max:
        low, high = (getattr(large, end)((1, 2), keepdim=True) for end in ("amin", "amax"))
        large = torch.where(high > 0, (large - low) / (high - low).clamp(min=1e-12), large)
    winner = large.argmax(0)
    if grid.work == grid.frame:
        return winner
    return F.interpolate(winner[None, None].float(), grid.frame, mode="nearest-exact")[0, 0].long()


def points_from_labels(labels: Tensor, grid: FrameGrid, cells: int = 3) -> Tensor:
    """Where points are, x and y in pixels (P,2): the mean place of the cells with the largest labels (h,w,P), weighted by these.

    NaN for a point of which nothing is left.
    """
    h, w, _ = labels.shape
    values, places = labels.flatten(0, 1).topk(min(cells, h * w), 0)  # (cells,P)
    where = torch.stack([places % w, places // w], -1).to(labels.dtype)
    mean = (values[..., None] * where).sum(0) / values.sum(0)[:, None]
    return grid.to_pixels(mean)


def _between(layers: Tensor, places: Tensor, axis: int) -> Tensor:
    """Values at fractional places along an axis, interpolated linearly; beyond the ends, those at the ends."""
    places = places.clamp(0, layers.shape[axis] - 1)
    before = places.floor().long()
    after = (before + 1).clamp(max=layers.shape[axis] - 1)
    share = (places - before).view([-1 if dim == axis else 1 for dim in range(layers.dim())])
    return torch.lerp(layers.index_select(axis, before), layers.index_select(axis, after), share)
