"""sRGB and CIE Lab, batched and differentiable.

Lab keeps lightness and colour apart, so a task can hide one from the network and ask for it: in RGB every channel tells the others.
The formulas are those of CIE 15 with the white of D65, as every library has them.
"""

from __future__ import annotations

import torch
from torch import Tensor

TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.950456, 1.0, 1.088754)  # XYZ of the RGB white (1, 1, 1)
EDGE = 6 / 29  # below its cube Lab is linear in XYZ


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """sRGB (...,3,T,H,W) on 0..1 -> Lab of the same shape: lightness L on 0..100, colours a (green to red), b (blue to yellow)."""
    linear = torch.where(rgb > 0.04045, ((rgb.clamp(min=0) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = _mix(linear, rgb.new_tensor(TO_XYZ) / rgb.new_tensor(WHITE)[:, None])
    x, y, z = torch.where(xyz > EDGE**3, xyz.clamp(min=EDGE**3) ** (1 / 3), xyz / (3 * EDGE**2) + 4 / 29).unbind(-4)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -4)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Lab (...,3,T,H,W) -> sRGB of the same shape, clamped to 0..1 where a screen cannot show the colour."""
    light, a, b = lab.unbind(-4)
    y = (light + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], -4)
    xyz = torch.where(f > EDGE, f**3, 3 * EDGE**2 * (f - 4 / 29))
    linear = _mix(xyz, torch.linalg.inv(lab.new_tensor(TO_XYZ)) * lab.new_tensor(WHITE)).clamp(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, linear * 12.92)


def _mix(channels: Tensor, matrix: Tensor) -> Tensor:
    """Every pixel times a 3 x 3 matrix: a sum and no matrix product, which mixed precision would round."""
    return (matrix.view(3, 3, 1, 1, 1) * channels.unsqueeze(-5)).sum(-4)
