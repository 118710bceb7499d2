"""What keeps a network from reading the order of frames off something else than motion: noise, bars, level frames, one channel for all."""

from __future__ import annotations

import torch
from torch import Tensor

WIDEST = 0.35  # share of the side that a bar covers at most


def remove_order_cues(clips: Tensor, mean: Tensor, std: Tensor, training: bool) -> Tensor:
    """Frames to be compared, without three cues of their order: (B,V,C,T,H,W) -> the same shape.

    In training, noise up to a tenth of the spread of colours and bars on half of the frames; then, always, all frames on one level.
    mean, std: of the colours of usual videos on 0..1, (3,1,1,1).
    """
    standard = (clips - mean) / std
    return level(bars(noise(standard, 0.1, frame=True), 0.5) if training else standard) * std + mean


def noise(clips: Tensor, most: float | Tensor, frame: bool = False) -> Tensor:
    """Adds normal noise of a standard deviation drawn from 0 to `most` for every clip, or every frame: (B,V,C,T,H,W) -> the same shape.

    most: a number, or one a channel (C,1,1,1).

    Compression leaves a file less noise, picture by picture, from one key frame to the next; the order of frames shows in it.
    """
    strength = most * torch.rand_like(clips[:, :, :1, :, :1, :1] if frame else clips[:, :, :1, :1, :1, :1])
    return clips + strength * torch.randn_like(clips)


def bars(clips: Tensor, share: float) -> Tensor:
    """Covers a share of the frames by bars at the sides, at top and bottom, or at both, of widths drawn for every frame, up to WIDEST.

    clips (B,V,C,T,H,W) of standardised colours; the bars are two standard deviations below their mean. Bars that close or open in the
    video, as a title does, tell the order no more.
    """
    draw = torch.rand(3, *clips[:, :, :1, :, :1, :1].shape, device=clips.device)
    width = WIDEST * draw[0] * (draw[1] < share)
    down, across = (_from_edge(length, clips) for length in clips.shape[-2:])
    open_ = ((down[:, None] >= width) | (draw[2] < 1 / 3)) & ((across >= width) | (draw[2] > 2 / 3))
    return clips.where(open_, torch.full_like(clips, -2.0))


def level(clips: Tensor) -> Tensor:
    """Every channel of every frame brought to mean 0 and spread 1, so that no fade is left: (B,V,C,T,H,W) -> the same shape."""
    mean, spread = clips.mean((-2, -1), keepdim=True), clips.std((-2, -1), keepdim=True)
    return (clips - mean) / (spread + 0.05)  # 0.05: a frame of one colour stays so


def _from_edge(length: int, like: Tensor) -> Tensor:
    """Distance of each row or column from the nearer edge, as a share of the side: (length,)."""
    middle = (torch.arange(length, device=like.device) + 0.5) / length
    return torch.minimum(middle, 1 - middle)


def replicate_channel(clips: Tensor, share: float) -> Tensor:
    """In a share of the clips (N,C,T,H,W), one channel drawn for each clip stands for all: no colour and no fringe of a lens is left."""
    one = clips[torch.arange(len(clips)), torch.randint(clips.shape[1], (len(clips),)).tolist()][:, None]
    chosen = torch.rand(len(clips)) < share
    return torch.where(chosen.to(clips.device).view(-1, 1, 1, 1, 1), one, clips)
