"""Cycles between the frames of two videos: there by nearest neighbour, softly, and back, and where that ends.

Temporal cycle-consistency, Dwibedi et al., CVPR 2019, with the scales of the authors' code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.ops.affinity import affinity_logits

PENALTY, SMOOTHING = 0.001, 0.1  # of the log variance; of the labels
EPSILON = 1e-4  # least variance of an end, (1 % of a video) squared: a sure but wrong cycle would cost without limit
LOSSES = ("regression", "mse", "classification")


def embedder(dim: int, width: int, out: int) -> nn.Sequential:
    """What makes one vector of the maps of a frame and its context: (N,dim,k,h,w) -> (N,out).

    Two 3x3x3 convolutions, the largest of all places, three linear layers: the paper's table 1. No bias at last: only distances count.
    """
    layers: list[nn.Module] = []
    for channels in (dim, width):
        layers += [nn.Conv3d(channels, width, 3, padding=1, bias=False), nn.BatchNorm3d(width), nn.ReLU()]
    layers += [nn.AdaptiveMaxPool3d(1), nn.Flatten()]
    layers += [nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, out, bias=False))


def cycle(own: Tensor, other: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """From the frames of one video to another and back: (B,T,D), (B,S,D) -> logits (B,T,S) there and (B,T,T) back.

    What goes back from frame i is the mean of the other's frames, weighted by the softmax of their similarity to i.
    """
    there = affinity_logits(own, other, similarity="euclidean", temperature=temperature)
    middle = there.softmax(2) @ other.float()
    return there, affinity_logits(middle, own, similarity="euclidean", temperature=temperature)


def cycle_loss(kind: str, back: Tensor, times: Tensor) -> Tensor:
    """How far from home cycles end: logits back (B,T,T), times of the frames (B,T) on 0..1 -> scalar.

    With b the softmax of row i, m = sum b t and s = sum b (t - m)^2 + EPSILON: "regression" is (t_i - m)^2 / s + PENALTY log s, "mse" is
    (t_i - m)^2, "classification" the cross-entropy of row i against i with smoothed labels.
    """
    if kind == "classification":
        home = torch.arange(back.shape[1], device=back.device).expand(back.shape[:2])
        return F.cross_entropy(back.flatten(0, 1), home.flatten(), label_smoothing=SMOOTHING)
    ends = back.softmax(2)
    mean = (ends * times[:, None]).sum(2)
    missed = (times - mean).square()
    if kind == "mse":
        return missed.mean()
    variance = (ends * (times[:, None] - mean[:, :, None]).square()).sum(2) + EPSILON
    return (missed / variance + PENALTY * variance.log()).mean()


def in_order(match: Tensor) -> Tensor:
    """Share of twos of frames whose matches stand in the same order, equal ones counting half: (B,T) -> (B,)."""
    rises = (match[:, None, :] - match[:, :, None]).sign().float()  # [i,j]: is the match of j behind that of i?
    first, second = torch.triu_indices(match.shape[1], match.shape[1], 1)
    return (1 + rises[:, first, second].mean(1)) / 2
