"""What a log line is made of: means since the last one, speed, the share of time spent waiting for video, and signs of collapse."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TypeVar, cast

import torch
from lightly.utils.debug import std_of_l2_normalized
from lightning_fabric import Fabric
from torch import nn

T = TypeVar("T")


class Meter:
    """Means between two log lines, speed, and the share of time spent waiting for video."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self._reset()

    def _reset(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.steps = 0
        self.waited = 0.0
        self.since = time.perf_counter()

    def waiting(self, batches: Iterator[T]) -> Iterator[T]:
        """The same batches, with the time it takes to get each one counted."""
        while True:
            began = time.perf_counter()
            item = next(batches, None)
            self.waited += time.perf_counter() - began
            if item is None:
                return
            yield item

    def add(self, values: dict[str, torch.Tensor]) -> None:
        """Count one step's values; kept on the device, so that the step need not wait for it."""
        for name, value in values.items():
            value = value.detach().float().mean()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.steps += 1

    def line(self, fabric: Fabric) -> dict[str, float]:
        """The means since the last line, over all ranks."""
        means = {name: total / self.steps for name, total in self.sums.items()}
        if fabric.world_size > 1:
            means = cast(dict[str, torch.Tensor], fabric.all_reduce(means, reduce_op="mean"))
        line = {name: round(float(value), 6) for name, value in means.items()}
        took = time.perf_counter() - self.since
        line |= {"clips_per_second": round(self.batch * self.steps / took, 2), "wait": round(self.waited / took, 3)}
        self._reset()
        return line


class Spread:
    """How far apart the backbone's features lie: 0 when all clips get the same direction (collapse), about 1 when they fill the space.

    The standard deviation of the L2-normalised clip vectors over a batch, times sqrt(D) (SimSiam, arXiv 2011.10566).
    """

    def __init__(self, backbone: nn.Module) -> None:
        self.backbone = backbone
        self.vectors: torch.Tensor | None = None

    def __enter__(self) -> Spread:
        self.hook = self.backbone.register_forward_hook(self._keep)
        return self

    def __exit__(self, *_: object) -> None:
        self.hook.remove()

    def _keep(self, _module: nn.Module, _inputs: tuple[torch.Tensor, ...], features: torch.Tensor) -> None:
        self.vectors = features.detach().float().mean((2, 3, 4))

    def value(self) -> torch.Tensor:
        """Of the backbone's last batch; 0 where it had but one clip."""
        if self.vectors is None or len(self.vectors) < 2:
            return torch.zeros(())
        result: torch.Tensor = std_of_l2_normalized(self.vectors) * self.vectors.shape[1] ** 0.5
        return result
