"""Dense optical flow between the frames of a clip, on the device and in batches, without weights.

Iterative Lucas and Kanade (IJCAI 1981) at every pixel, from coarse to fine (Bouguet 2000): the second frame is warped by what is known so
far, and the rest is the least-squares answer to brightness constancy in a window. It is less accurate than learnt flow, but needs neither
another library nor weights, and is right to about a tenth of a pixel where there is texture.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

COARSEST = 12  # px, least side of a level of the pyramid
BLUR = 0.8  # px, of the frames before all else, so that their gradients hold over a pixel
STIFFNESS = 2e-5  # squared grey on 0..1: where a window is flatter than this, the flow stays with the coarser level's
PART = 16  # clips whose flow is worked out at once on a CPU, where each takes longer among more
NEGLIGIBLE = 1e-12  # weights below it are 0, since a CPU is slow with floats as small as a Gaussian's tails (denormal)
LUMA = (0.299, 0.587, 0.114)


def optical_flow(clips: Tensor, levels: int = 3, rounds: int = 2, sigma: float = 2.0) -> Tensor:
    """Flow from each frame to the next, in px (x to the right, y down): colours (B,3,T,H,W) on 0..1 -> (B,2,T-1,H,W).

    A point at p in frame t is at p + flow[t](p) in frame t+1. Neither gradients nor mixed precision: it is input, not a layer.

    levels: of the pyramid, each half as large; as many as keep the side above 12 px. rounds: warps a level, each of 1 px at most.
    sigma: px, of the window in which the flow is taken as one: smaller sees finer detail, larger is surer.
    """
    with torch.no_grad(), full_precision(clips.device.type):
        grey = torch.einsum("bcthw,c->bthw", clips.float(), clips.new_tensor(LUMA, dtype=torch.float32))
        parts = grey.split(PART) if grey.device.type == "cpu" else (grey,)
        return torch.cat([_coarse_to_fine(part, levels, rounds, sigma) for part in parts])


def flow_pictures(clips: Tensor, estimator: Callable[[Tensor], Tensor] = optical_flow) -> Tensor:
    """Flow without the camera's motion as pictures, x, y and length in 32nds of the side: (B,3,T,H,W) on 0..1 -> (B,3,T-1,H,W).

    estimator: what works it out, as `optical_flow`.
    """
    return as_pictures(estimator(clips))


def as_pictures(flow: Tensor) -> Tensor:
    """Flow (B,2,T-1,H,W) in px as the pictures of `flow_pictures`, (B,3,T-1,H,W)."""
    flow = flow * 32 / flow.shape[-1]
    camera = flow.flatten(3).median(3).values[..., None, None]
    flow = F.softshrink(flow - camera, 0.1)  # smaller values are noise, and are lost in the 8 bits of published flow
    length = torch.hypot(flow[:, :1], flow[:, 1:])  # ten times as quick on a CPU as a norm over a dimension of two
    return torch.cat([flow, length], 1)


def warp(frames: Tensor, flow: Tensor) -> Tensor:
    """What lies at p + flow(p) in each frame, bilinear, the border repeated: (N,C,H,W) and (N,2,H,W) -> (N,C,H,W)."""
    H, W = frames.shape[2:]
    y, x = torch.meshgrid(torch.arange(H, device=flow.device), torch.arange(W, device=flow.device), indexing="ij")
    place = torch.stack([x, y]) + flow  # px
    scale = flow.new_tensor([W, H]).view(2, 1, 1)
    return F.grid_sample(
        frames, ((2 * place + 1) / scale - 1).movedim(1, -1), padding_mode="border", align_corners=False
    )


def full_precision(device: str) -> AbstractContextManager[None]:
    """No mixed precision on this kind of device. The meta device, on which networks are measured, has none to turn off."""
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def _coarse_to_fine(grey: Tensor, levels: int, rounds: int, sigma: float) -> Tensor:
    """`optical_flow` of grey frames (B,T,H,W) on 0..1: (B,2,T-1,H,W)."""
    B, T, H, W = grey.shape
    if min(H, W) < 2:  # in a line of pixels there are no gradients
        return grey.new_zeros(B, 2, T - 1, H, W)
    pyramid = [_smooth(grey.reshape(B * T, 1, H, W), BLUR)]
    while len(pyramid) < levels and min(pyramid[-1].shape[2:]) >= 2 * COARSEST:
        pyramid.append(F.avg_pool2d(pyramid[-1], 2, ceil_mode=True))
    flow = grey.new_zeros(B * (T - 1), 2, *pyramid[-1].shape[2:])
    for frames in reversed(pyramid):
        if flow.shape[2:] != frames.shape[2:]:
            flow = 2 * F.interpolate(flow, frames.shape[2:], mode="bilinear", align_corners=False)
        pairs = frames.view(B, T, *frames.shape[1:])
        first, second = pairs[:, :-1].flatten(0, 1), pairs[:, 1:].flatten(0, 1)
        for _ in range(rounds):
            flow = flow + _step(first, warp(second, flow), sigma)
    return flow.view(B, T - 1, 2, H, W).transpose(1, 2)


def _step(first: Tensor, second: Tensor, sigma: float) -> Tensor:
    """Lucas-Kanade's answer for what is left between two frames (N,1,H,W): (N,2,H,W), at most 1 px each way."""
    dy, dx = torch.gradient((first + second) / 2, dim=(2, 3))  # of both, so that neither frame is preferred
    dt = second - first
    products = torch.cat([dx * dx, dx * dy, dy * dy, dx * dt, dy * dt], 1)
    xx, xy, yy, xt, yt = _smooth(products, sigma).split(1, 1)
    xx, yy = xx + STIFFNESS, yy + STIFFNESS
    return torch.cat([xy * yt - yy * xt, xy * xt - xx * yt], 1).div_(xx * yy - xy * xy).clamp_(-1, 1)


def _smooth(images: Tensor, sigma: float) -> Tensor:
    """Gaussian average, of what lies inside the frame only: (N,C,H,W) -> (N,C,H,W)."""
    down, across = (_band(side, sigma, images) for side in images.shape[2:])
    return down @ images @ across.T  # as matrix products, many times quicker on a CPU than pooling or convolving


def _band(side: int, sigma: float, like: Tensor) -> Tensor:
    """Weights (side,side) with which each place takes every other; rows sum to 1."""
    place = torch.arange(side, device=like.device, dtype=like.dtype)
    weights = torch.softmax(-((place[:, None] - place) ** 2) / (2 * sigma**2), 1)
    return weights.where(weights > NEGLIGIBLE, 0)
