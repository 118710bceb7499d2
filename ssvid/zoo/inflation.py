"""Weights of image networks for networks that convolve time as well (Carreira & Zisserman, CVPR 2017, arXiv:1705.07750)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ssvid.zoo.weights import bare

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


class InflatesWeights(nn.Module):
    """A trunk that takes weights of an image network too: its kernels are inflated. A family may add it to its network's class."""

    inflation: Inflation = "mean"

    def renamed(self, name: str) -> str:
        """The name here of a tensor of the image network, bare as `ssvid.zoo.weights.bare` makes it."""
        return name

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of the image network by the names here, kernels inflated. A file of this network is left as it is."""
        own = {bare(name): tensor for name, tensor in self.state_dict().items()}
        adapted = {}
        for given, tensor in tensors.items():
            name = self.renamed(bare(given))
            fits = name in own and fits_inflated(tensor, own[name])
            adapted[given if name == bare(given) else name] = (
                inflate(tensor, own[name].shape[2], self.inflation) if fits else tensor
            )
        return adapted
