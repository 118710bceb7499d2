"""Being stopped politely: a signal lets the step finish, the loop save, and the process leave."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, cast

import torch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")  # where several came, the last of these counts


class Interrupts:
    """Turns SIGTERM, SIGUSR1 and Ctrl-C into a question asked once a step, on all ranks alike; fabric: None for a single process."""

    def __init__(self, fabric: Fabric | None = None) -> None:
        self.fabric = fabric
        self.rank = 0  # of the signal, one more than its place in NAMES; 0 for none
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        for name in NAMES:
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

    def _seen(self, number: int, _frame: object) -> None:
        self.rank = max(self.rank, 1 + NAMES.index(signal.Signals(number).name))

    def seen(self) -> int:
        """The number of the signal on every rank as soon as one of them got it; 0 for none."""
        rank = self.rank
        if self.fabric is not None and self.fabric.world_size > 1:
            ranks = self.fabric.all_reduce(torch.tensor(float(rank), device=self.fabric.device), reduce_op="max")
            rank = int(cast(torch.Tensor, ranks))
        return int(getattr(signal, NAMES[rank - 1])) if rank else 0
