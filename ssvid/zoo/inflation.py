"""Weights of image networks for networks that convolve time as well (Carreira & Zisserman, CVPR 2017, arXiv:1705.07750)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Inflation = Literal["mean", "centre"]


def inflate(weight: Tensor, frames: int, how: Inflation) -> Tensor:
    """A kernel over space, (D,C,k,k), as one over `frames` frames too, (D,C,frames,k,k).

    how: "mean" puts an equal share on every frame, "centre" all on the middle one. Both sum to the kernel, so that a video that stands
    still is answered as its image is, wherever the kernel does not reach over the ends of the clip.
    """
    if how == "mean":
        return weight.unsqueeze(2).expand(-1, -1, frames, -1, -1) / frames
    kernel = torch.zeros(*weight.shape[:2], frames, *weight.shape[2:], dtype=weight.dtype)
    kernel[:, :, frames // 2] = weight
    return kernel


def fits_inflated(weight: Tensor, kernel: Tensor) -> bool:
    """Whether a kernel over space and time is the one over space with frames added."""
    return weight.ndim == 4 and kernel.ndim == 5 and weight.shape == kernel.shape[:2] + kernel.shape[3:]
