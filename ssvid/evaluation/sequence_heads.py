"""Temporal heads trained on frozen features of segments: what a head makes of minutes, without decoding them again.

A video is a row of vectors, one a segment of a few frames, as `ssvid.evaluation.features` gives them. A head of `ssvid.zoo` takes them as
a map with one cell, and a linear layer on the mean of what it gives tells the class. Trained on random windows of one length; tested on
windows of that length, evenly spread, each answered alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.errors import require
from ssvid.zoo.registry import HEADS, find

TESTED = 5  # windows of a video, where it is longer than one


@dataclass(frozen=True)
class HeadTraining:
    """How a head is trained. steps: of AdamW with a one-cycle rate that peaks at `lr`; batch: windows a step."""

    steps: int = 300
    batch: int = 32
    lr: float = 2e-3
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        require(1, steps=self.steps, batch=self.batch)


class SequenceClassifier(nn.Module):
    """A temporal head and a linear layer: features (B,T,D) -> logits (B,K)."""

    def __init__(self, head: str, dim: int, classes: int) -> None:
        super().__init__()
        self.head = find(HEADS, head).build(dim)
        with torch.no_grad():  # a head may give more channels than it takes
            self.head.eval()
            width = self.head(torch.zeros(1, dim, 16, 1, 1)).shape[1]
        self.linear = nn.Linear(width, classes)
        self.train()

    def forward(self, features: Tensor) -> Tensor:
        """Logits."""
        maps = self.head(features.transpose(1, 2)[..., None, None])
        logits: Tensor = self.linear(maps.mean((2, 3, 4)))
        return logits


def train_head(
    head: str, features: Tensor, target: Tensor, steps: int, seed: int, training: HeadTraining
) -> SequenceClassifier:
    """A head trained on random windows of `steps` segments of videos (N,T,D) with classes (N,), in eval mode."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = SequenceClassifier(head, features.shape[2], int(target.max()) + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=training.lr, weight_decay=training.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.lr, total_steps=training.steps)
    for _ in range(training.steps):
        chosen = torch.from_numpy(rng.choice(len(features), min(training.batch, len(features)), replace=False))
        starts = rng.integers(features.shape[1] - steps + 1, size=len(chosen))
        windows = torch.stack([features[n, s : s + steps] for n, s in zip(chosen, starts, strict=True)])
        loss = F.cross_entropy(model(windows), target[chosen])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def head_accuracy(model: SequenceClassifier, features: Tensor, target: Tensor, steps: int) -> float:
    """Accuracy 0..1 over `TESTED` evenly spread windows of `steps` segments of every video (N,T,D), one where they have no more."""
    last = features.shape[1] - steps
    starts = sorted(set(np.linspace(0, last, TESTED).round().astype(int).tolist()))
    with torch.inference_mode():
        right = [(model(features[:, s : s + steps]).argmax(1) == target).float().mean() for s in starts]
    return float(torch.stack(right).mean())


def training_time(model: SequenceClassifier, dim: int, steps: int, batch: int = 8, repeats: int = 5) -> float:
    """Seconds that one window of `steps` segments takes forward and backward: the quickest of some passes of `batch` windows."""
    windows = torch.randn(batch, steps, dim)
    taken = []
    for _ in range(repeats + 1):  # the first warms up
        began = time.perf_counter()
        model(windows).sum().backward()
        taken.append(time.perf_counter() - began)
    model.zero_grad()
    return min(taken[1:]) / batch


def training_memory(model: SequenceClassifier, dim: int, steps: int, batch: int = 8) -> int:
    """Bytes that training keeps of one window of `steps` segments until the gradient has passed, parameters aside: counted, not
    measured."""
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = model(torch.randn(batch, steps, dim))
    model.eval()
    del result
    return sum(kept.values()) // batch
