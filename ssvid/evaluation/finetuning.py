"""Training a whole network with labels, and predicting the classes of other videos.

The loop is separate from that of pretraining, which is made of a task, a run folder and Fabric: this one has a recipe with a rate for
every stage of the network, frames that are decoded once, one process, and no checkpoint, since a run is short. As there, it counts steps,
everything random is a function of (seed, step), and no batch is partial. Test clips go through the classifier's head and not through
`ssvid.evaluation.features.encode`, whose features would have no use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import tee

import numpy as np
import torch
import torch.nn.functional as F
from lightly.utils.scheduler import cosine_warmup_schedule
from torch import Tensor, nn

from ssvid.data.augment import Augment
from ssvid.data.flow_cache import FlowCache
from ssvid.data.frame_cache import FrameCache
from ssvid.data.loader import Batch, SamplePlan
from ssvid.data.sampling import clock, epoch_order
from ssvid.errors import ConfigError, SsvidError, some
from ssvid.evaluation.features import View
from ssvid.progress import Progress
from ssvid.zoo.backbone import Backbone, to_device
from ssvid.zoo.views import clip_vector

CHOICES = {
    "optimizer": ("adamw", "adam", "sgd"),
    "schedule": ("cosine", "constant", "drops"),
    "average": ("logits", "probabilities"),
}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained with labels.

    epochs: passes over the training videos, one clip a video in each. steps: optimiser steps at most, 0 for what the epochs make.
    batch: clips a step. lr: of the backbone; head_lr: how many times as large that of the head is; layer_decay: by how much each stage's
    is smaller than that of the next. optimizer: adamw, adam (weight decay in the gradient) or sgd (momentum 0.9). weight_decay: of weights
    that are no norm and no bias. schedule: cosine (to a thousandth, after a linear rise over the share `warmup` of the steps), constant, or
    drops (times `factor` at each of the shares `drops`). dropout: before the head.
    area, ratio, flip, jitter: augmentation, as `Augment` has it. clips: a test video's. average: of its clips, logits or probabilities.
    Raises ConfigError for a value out of range.
    """

    epochs: int
    steps: int
    batch: int
    lr: float
    head_lr: float
    layer_decay: float
    optimizer: str
    weight_decay: float
    schedule: str
    warmup: float
    drops: tuple[float, ...]
    factor: float
    dropout: float
    area: tuple[float, float]
    ratio: tuple[float, float]
    flip: float
    jitter: float
    clips: int
    average: str

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name}={getattr(self, name)!r} is not one of {', '.join(allowed)}")
        for name in ("epochs", "batch", "clips", "lr", "layer_decay"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be positive, not {getattr(self, name)}")
        if self.batch < 2:
            raise ConfigError("batch must be at least 2, since batch norm needs something to compare with")

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step (0 .. steps - 1) as a share of the highest."""
        if self.schedule == "constant":
            return 1.0
        if self.schedule == "drops":
            return self.factor ** sum(step >= round(share * steps) for share in self.drops)
        warmup = round(self.warmup * steps)
        result: float = cosine_warmup_schedule(step, steps, 1.0, 0.001, warmup, warmup_start_value=0.0)
        return result


@dataclass(frozen=True)
class ClipSource:
    """Clips of a data set: random augmented windows to train on, evenly spread ones to test on. `target` of a batch is the position of
    the video in `frame_cache.videos`. flow_cache: whose flow stands beside the colours; None for colours alone."""

    frame_cache: FrameCache
    view: View
    augment: Augment
    device: torch.device
    flow_cache: FlowCache | None = None

    def random(self, positions: np.ndarray, batch: int, steps: int, seed: int) -> Iterator[Batch]:
        """Batches (B,1,C,T,H,W) of `steps` steps over the videos at these positions; each epoch is its own permutation."""

        def plans() -> Iterator[list[SamplePlan]]:
            for step in range(steps):
                places = np.arange(step * batch, (step + 1) * batch)
                order = epoch_order(len(positions), seed, places)
                yield [
                    self._random(int(positions[o]), seed, int(place)) for o, place in zip(order, places, strict=True)
                ]

        return self._batches(plans())

    def even(self, positions: np.ndarray, batch: int = 4) -> Iterator[Batch]:
        """Batches (B,V,C,T,H,W) of the view's clips, centre crop, of the videos at these positions in their order."""
        plans = [self._even(int(position)) for position in positions]
        return self._batches(plans[start : start + batch] for start in range(0, len(plans), batch))

    def _batches(self, plans: Iterator[list[SamplePlan]]) -> Iterator[Batch]:
        if self.flow_cache is None:
            for batch in self.frame_cache.batches(plans, self.device, augment=True):
                yield batch.to(self.device).augmented()
            return
        read, planned = tee(plans)
        for chosen, batch in zip(planned, self.frame_cache.batches(read, self.device), strict=True):
            yield self.flow_cache.beside(chosen, batch.to(self.device))

    def _random(self, position: int, seed: int, place: int) -> SamplePlan:
        rng = np.random.default_rng([seed, place, 1])
        ticks = self._ticks(position)
        reach = min(
            (self.view.frames - 1) * self.view.stride, len(ticks) - 1
        )  # a short video repeats evenly, as in a test view
        offsets = np.linspace(0, reach, self.view.frames).round().astype(int)
        window = ticks[rng.integers(len(ticks) - reach) + offsets][None]
        return self._plan(position, window, self.augment.draw(rng, *window.shape))

    def _even(self, position: int) -> SamplePlan:
        indices = self.view.indices(self.frame_cache.videos[position])
        return self._plan(position, indices, self.augment.centre(*indices.shape))

    def _plan(self, position: int, indices: np.ndarray, params: dict[str, np.ndarray]) -> SamplePlan:
        return SamplePlan(
            self.frame_cache.videos[position], position, indices, np.array(position), params, 0.5, self.view.size
        )

    def _ticks(self, position: int) -> np.ndarray:
        ticks = clock(self.frame_cache.videos[position], self.view.fps)
        return ticks if len(ticks) else np.zeros(1, int)


class Classifier(nn.Module):
    """A backbone, its mean over space and time, dropout, and one linear layer: clips (B,C,T,H,W) -> logits (B,K).

    Clips are colours, C = 3, or have pictures of their flow beside them.
    """

    def __init__(self, backbone: Backbone, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(backbone.info.dim, classes)

    def forward(self, clips: Tensor) -> Tensor:
        """Logits."""
        result: Tensor = self.head(self.dropout(clip_vector(self.backbone(clips, made=clips.shape[1] > 3))))
        return result


def clip_source(frame_cache: FrameCache, view: View, recipe: Recipe, device: str, flip: bool = True) -> ClipSource:
    """The clips of `frame_cache` as the view and the recipe want them. flip: whether any may be mirrored."""
    seen = replace(view, clips=recipe.clips)
    return ClipSource(frame_cache, seen, augmentation(view.size, recipe, flip), torch.device(device))


def augmentation(size: int, recipe: Recipe, flip: bool = True) -> Augment:
    """The augmentation of a recipe; nothing is mirrored where `flip` is False."""
    return Augment(size, recipe.area, recipe.ratio, recipe.flip if flip else 0.0, recipe.jitter)


def train(
    backbone: Backbone,
    source: ClipSource,
    positions: np.ndarray,
    labels: np.ndarray,
    recipe: Recipe,
    seed: int = 0,
    progress: Progress | None = None,
    what: str = "training",
) -> Classifier:
    """Train a backbone and a fresh head on the videos at `positions`, whose classes are `labels` (n,), numbers from 0 on.

    The backbone is changed. progress: called with (what, steps done, steps in all). Raises SsvidError when the loss is not finite.
    """
    steps = -(-recipe.epochs * len(positions) // recipe.batch)
    steps = min(steps, recipe.steps) if recipe.steps else steps
    codes = torch.zeros(int(positions.max()) + 1, dtype=torch.long)
    codes[torch.from_numpy(positions)] = torch.from_numpy(labels)
    codes = codes.to(source.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = to_device(Classifier(backbone, int(labels.max()) + 1, recipe.dropout), source.device).train()
        optimizer = optimizer_for(model, recipe)
        for step, batch in enumerate(source.random(positions, recipe.batch, steps, seed)):
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * group["scale"] * recipe.rate(step, steps)
            loss = F.cross_entropy(model(batch.clips[:, 0]), codes[batch.target])
            if not torch.isfinite(loss):
                raise SsvidError(
                    f"the loss is {loss.item()} at step {step}; lower lr. Videos of the batch: {some(batch.paths)}"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if progress:
                progress(what, step + 1, steps)
    return model.eval()


def predict(model: Classifier, source: ClipSource, positions: np.ndarray, average: str) -> np.ndarray:
    """Mean logits or probabilities (n,K) over the clips of each video at these positions."""
    model.eval()
    found = []
    for batch in source.even(positions):
        with torch.inference_mode():
            logits = model(batch.clips.flatten(0, 1)).view(*batch.clips.shape[:2], -1)
            found.append((logits if average == "logits" else logits.softmax(-1)).mean(1).float().cpu().numpy())
    return np.concatenate(found)


def optimizer_for(model: Classifier, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser. Every group holds its `scale`: how many times the learning rate is its own."""
    parts = stages(model.backbone)
    scaled = [(part, recipe.layer_decay ** (len(parts) - number)) for number, part in enumerate(parts)]
    groups = []
    for parameters, scale in [*scaled, (list(model.head.parameters()), recipe.head_lr)]:
        for decayed in (True, False):
            chosen = [p for p in parameters if (p.ndim > 1) == decayed]
            decay = recipe.weight_decay if decayed else 0.0
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay, "scale": scale, "lr": recipe.lr * scale})
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9)
    return (torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam)(groups)


def stages(backbone: Backbone) -> list[list[nn.Parameter]]:
    """The parameters stage by stage, from the input on: those of the parts of the innermost module that has several."""
    module: nn.Module = backbone.trunk
    while len(children := list(module.children())) == 1 and not list(module.parameters(recurse=False)):
        module = children[0]
    parts = [list(module.parameters(recurse=False)), *(list(child.parameters()) for child in children)]
    return [part for part in parts if part]
