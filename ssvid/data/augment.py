"""Batched clip augmentation on the device, with its scope explicit.

The parameters of an augmentation are drawn per sample beside the frame indices (numpy, from the sample's own generator), travel with
the sample and are applied to the whole batch at once on the device. A sample therefore depends on its seed alone, not on the
worker, the process or its place in the batch.

The scope is what shares one draw: "video" (all clips of the sample), "clip" (every clip its own), "frame" (every frame its own).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ssvid.errors import require

Scope = Literal["video", "clip", "frame"]
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


@dataclass(frozen=True)
class Augment:
    """Random resized crop, flip and photometric jitter.

    size: output side N in px, or (least, most): one N per step, drawn from the multiples of 16 between them.
    area: share of the square frame that a crop covers; ratio: its width over height.
    flip: probability of a horizontal flip.
    jitter: amplitude of brightness and contrast and saturation (0.4 means factors in 0.6..1.4).
    grey: probability of a grey clip.
    crop_scope, color_scope: what shares one draw.
    drift: box and colours of a clip pass evenly from one draw to another, by a share of the way drawn from 0 to this; 0 holds them
        still. It makes pans, zooms and fades that mean nothing, each as likely as its reverse. For scopes video and clip.
    """

    size: int | tuple[int, int] = 112
    area: tuple[float, float] = (0.5, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: float = 0.0
    grey: float = 0.0
    crop_scope: Scope = "video"
    color_scope: Scope = "video"
    drift: float = 0.0

    def __post_init__(self) -> None:
        least, most = (self.size, self.size) if isinstance(self.size, int) else self.size
        require(1, size=least)
        require(least, size=most)

    @property
    def decode_size(self) -> int:
        """Side in px at which frames are decoded: a little more than the largest output, as crops are enlarged."""
        largest = self.size if isinstance(self.size, int) else self.size[1]
        return int(np.ceil(largest * 1.15 / 8) * 8)

    def draw_size(self, rng: np.random.Generator) -> int:
        """Output side N for one step."""
        if isinstance(self.size, int):
            return self.size
        least, most = self.size
        choices = np.unique(np.append(np.arange(least, most + 1, 16), most))
        return int(rng.choice(choices))

    def draw(self, rng: np.random.Generator, clips: int, frames: int) -> dict[str, np.ndarray]:
        """Parameters of one sample: box (V,T,4) as centre x, y and half width, height in -1..1 and color (V,T,4)."""
        count = {"video": (1, 1), "clip": (clips, 1), "frame": (clips, frames)}
        whole = (clips, frames, 4)
        box = np.broadcast_to(self._drifting(self._draw_box, rng, count[self.crop_scope], frames), whole)
        if rng.random() < self.flip:
            box = box * np.array([1, 1, -1, 1])
        color = np.broadcast_to(self._drifting(self._draw_color, rng, count[self.color_scope], frames), whole)
        return {"box": box.astype(np.float32), "color": color.astype(np.float32)}

    def centre(self, clips: int, frames: int) -> dict[str, np.ndarray]:
        """Parameters of the test view: the whole square frame, colours as they are."""
        box = np.broadcast_to(np.array([0, 0, 1, 1], np.float32), (clips, frames, 4))
        color = np.broadcast_to(np.array([1, 1, 1, 0], np.float32), (clips, frames, 4))
        return {"box": box.copy(), "color": color.copy()}

    def _drifting(self, draw: Draw, rng: np.random.Generator, shape: tuple[int, int], frames: int) -> np.ndarray:
        """A draw for `shape`; with drift, a row of `frames` steps from one draw towards another."""
        full = draw(rng, shape)
        if not self.drift:
            return full
        partial = full + rng.uniform(0, self.drift, (*shape, 1)) * (draw(rng, shape) - full)
        # a coin decides which comes first: the two are spread differently, which would tell backward from forward
        swap = rng.random((*shape, 1)) < 0.5
        start, end = np.where(swap, partial, full), np.where(swap, full, partial)
        result: np.ndarray = start + np.linspace(0, 1, frames)[:, None] * (end - start)
        return result

    def _draw_box(self, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        area = rng.uniform(*self.area, shape)
        aspect = np.exp(rng.uniform(np.log(self.ratio[0]), np.log(self.ratio[1]), shape))
        half_w = np.minimum(np.sqrt(area * aspect), 1)
        half_h = np.minimum(np.sqrt(area / aspect), 1)
        x = rng.uniform(-1, 1, shape) * (1 - half_w)
        y = rng.uniform(-1, 1, shape) * (1 - half_h)
        return np.stack([x, y, half_w, half_h], -1)

    def _draw_color(self, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        factors = rng.uniform(1 - self.jitter, 1 + self.jitter, (*shape, 3))
        grey = (rng.random(shape) < self.grey).astype(float)[..., None]
        return np.concatenate([factors, grey], -1)


def apply(clips: Tensor, params: dict[str, Tensor], size: int) -> Tensor:
    """Augment a batch: uint8 (B,V,T,H,W,C) -> colours, float (B,V,C,T,size,size) on 0..1.

    params as `Augment.draw` made them, stacked to (B,V,T,4).
    """
    B, V, T = clips.shape[:3]
    frames = clips.movedim(-1, -3).flatten(0, 1).float().div_(255)  # (B*V,T,C,H,W)
    frames = crop_and_resize(frames, params["box"].flatten(0, 1), size)
    frames = recolor(frames.flatten(0, 1), params["color"].flatten(0, 2))
    return frames.view(B, V, T, 3, size, size).transpose(2, 3).contiguous()


def crop_and_resize(frames: Tensor, box: Tensor, size: int) -> Tensor:
    """Cut the box out of every frame and resize it to size x size, bilinear: float (N,T,C,H,W) -> (N,T,C,size,size).

    box: (N,T,4) centre x, y and half width, height in -1..1; a negative half width flips.
    Frames more than twice too large are averaged down first, since bilinear sampling alone would alias.
    """
    N, T, C, H, _ = frames.shape
    if bool((box == box[:, :1]).all()):  # one box a clip: its frames are sampled together, as channels
        frames, box = frames.flatten(1, 2), box[:, 0]
    else:
        frames, box = frames.flatten(0, 1), box.flatten(0, 1)
    shrink = int(H * float(box[:, 3].min()) // size)
    if shrink >= 2:
        frames = F.avg_pool2d(frames, shrink)
    theta = torch.zeros(len(box), 2, 3, device=frames.device)
    theta[:, 0, 0], theta[:, 0, 2] = box[:, 2], box[:, 0]
    theta[:, 1, 1], theta[:, 1, 2] = box[:, 3], box[:, 1]
    grid = F.affine_grid(theta, [len(box), frames.shape[1], size, size], align_corners=False)
    return F.grid_sample(frames, grid, padding_mode="border", align_corners=False).view(N, T, C, size, size)


def recolor(frames: Tensor, color: Tensor) -> Tensor:
    """Brightness, contrast, saturation factors and a grey switch for every frame; float (N,3,H,W) on 0..1, color (N,4).

    Contrast is about the frame's mean, saturation about its luma: together one 3x3 matrix and one offset a frame.
    """
    if bool((color[:, :3] == 1).all()) and bool((color[:, 3] == 0).all()):
        return frames
    brightness, contrast, saturation, grey = color.unbind(1)
    saturation = saturation * (1 - grey)
    luma = frames.new_tensor([0.299, 0.587, 0.114]).expand(3, 3)
    mix = saturation.view(-1, 1, 1) * torch.eye(3, device=frames.device) + (1 - saturation).view(-1, 1, 1) * luma
    offset = frames.mean((1, 2, 3)) * brightness * (1 - contrast)
    pixels = torch.baddbmm(offset.view(-1, 1, 1), mix * (brightness * contrast).view(-1, 1, 1), frames.flatten(2))
    return pixels.clamp_(0, 1).view_as(frames)
