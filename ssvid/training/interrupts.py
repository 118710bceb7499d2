"""Being stopped politely: a signal lets the step finish, the loop save, and the process leave."""

from __future__ import annotations

import signal
from typing import Any, cast

import torch
from lightning_fabric import Fabric


class Interrupts:
    """Turns SIGTERM, SIGUSR1 and Ctrl-C into a question asked once a step, on all ranks alike; fabric: None for a single process."""

    def __init__(self, fabric: Fabric | None = None) -> None:
        self.fabric = fabric
        self.flag = False
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
            number = getattr(signal, name, None)
            if number is not None:
                try:
                    self.before[number] = signal.signal(number, self._seen)
                except ValueError:  # not in the main thread: the caller's own signals stay as they are
                    return self
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _seen(self, *_: object) -> None:
        self.flag = True

    def seen(self) -> bool:
        """True on every rank as soon as one of them got a signal."""
        if self.fabric is None or self.fabric.world_size == 1:
            return self.flag
        flags = self.fabric.all_reduce(torch.tensor(float(self.flag), device=self.fabric.device), reduce_op="sum")
        return float(cast(torch.Tensor, flags)) > 0
