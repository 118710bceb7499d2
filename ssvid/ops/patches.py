"""Pieces cut out of clips and frames: cuboids, lattices of patches, two crops of a frame and which of their cells show the same."""

from __future__ import annotations

import torch
from torch import Tensor

from ssvid.data.augment import crop_and_resize


def cut_cuboids(clips: Tensor, corners: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Cuboids of `shape` (t,h,w) out of clips (B,V,C,T,H,W) -> (B,N,C,t,h,w); corners int (B,N,4): clip, first frame, top, left."""
    frames, rows, columns = (torch.arange(length, device=clips.device) for length in shape)
    video = torch.arange(len(clips), device=clips.device).view(-1, 1, 1, 1, 1)
    clip, first, top, left = corners[..., None, None, None].unbind(2)  # (B,N,1,1,1) each
    pieces = clips[video, clip, :, first + frames.view(-1, 1, 1), top + rows.view(-1, 1), left + columns]
    return pieces.movedim(-1, 2)


def cut_patches(frames: Tensor, boxes: Tensor, patch: int, grid: int) -> Tensor:
    """A lattice of grid x grid patches over each frame, each then cut to its own box: (B,T,C,H,W) -> (B,T,N,C,patch,patch).

    boxes: (B,T,N,4), inside the patch, as Augment draws them. The lattice reaches from edge to edge; patches may overlap.
    """
    rows, columns = (torch.linspace(0, side - patch, grid).round().long().tolist() for side in frames.shape[3:])
    patches = torch.stack([frames[..., y : y + patch, x : x + patch] for y in rows for x in columns], 2)
    return crop_and_resize(patches.flatten(0, 2)[:, None], boxes.reshape(-1, 1, 4), patch).view_as(patches)


def cut_twice(frames: Tensor, boxes: Tensor) -> Tensor:
    """Every frame by two boxes (B,2,T,4), resized to the whole: (B,T,C,H,H) -> (B,2,T,C,H,H)."""
    return torch.stack([crop_and_resize(frames, way, frames.shape[-1]) for way in boxes.unbind(1)], 1)


def same_place(first: Tensor, second: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Which cell of one crop of a frame shows what lies at the centre of each cell of another crop of it, and whether any does.

    first, second: boxes (B,4) in one frame, each of cells x cells. Returns long and bool (B,N), row by row; where none does, a near one.
    """
    centres = (torch.arange(cells, device=first.device) + 0.5) / cells * 2 - 1
    x, y = (first[:, i, None] + first[:, i + 2, None] * centres for i in (0, 1))  # in the frame, (B,cells)
    x, y = (((place - second[:, i, None]) / second[:, i + 2, None] + 1) / 2 * cells for i, place in enumerate((x, y)))
    inside = ((y >= 0) & (y < cells))[:, :, None] & ((x >= 0) & (x < cells))[:, None]
    row, column = (place.floor().long().clamp(0, cells - 1) for place in (y, x))
    return (row[:, :, None] * cells + column[:, None]).flatten(1), inside.flatten(1)
