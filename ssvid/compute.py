"""What work runs on within a process: the device by name, and pools of threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ssvid.errors import ConfigError

if TYPE_CHECKING:
    import torch


def resolve_device(name: str) -> torch.device:
    """The device of a name as PyTorch spells it (cpu, cuda, cuda:1, mps); "auto" is the first of cuda, mps and cpu that this machine has.

    Raises ConfigError for a name that is no device, and for a device that this machine does not have.
    """
    import torch  # a second that only those who need a device should pay

    if name == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"--device {name!r} is no device; use auto, cpu, cuda, cuda:1 or mps") from error
    found = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= found.get(device.type, 0):
        raise ConfigError(f"--device {name}: this machine has no such device; use auto or cpu")
    return device


@contextmanager
def thread_pool() -> Iterator[ThreadPoolExecutor]:
    """As many threads as torch uses, in each of which it then uses one, for many small operations that need not wait for each other.

    Torch's own threads meet after every operation; where other programs share the cores, each meeting can cost more than its work.
    """
    import torch

    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # part of what a thread sets holds for all
