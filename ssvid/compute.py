"""What work runs on within a process: the device by name, memory that is used again, and pools of threads."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ssvid.errors import ConfigError

if TYPE_CHECKING:
    import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST = 2**31 - 1  # bytes: as large as malloc's limits can be
LIMITS = {
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_MMAP_MAX_",
    "GLIBC_TUNABLES",
}  # a user's own, in the environment


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


def keep_freed_memory(largest: int = LARGEST) -> None:
    """Have glibc keep what this process frees, in blocks of up to `largest` bytes, instead of returning it to the system at once.

    A step on the CPU needs again what the step before has freed. Of itself glibc returns blocks over 32 MiB, and what comes from the
    system once more has to be mapped and cleared first, page by page (mallopt(3)); `ssvid bench step` tells what that costs. The process
    then stays as large as it was at its largest. Nothing is done without glibc, nor where the environment sets such limits.
    """
    if LIMITS & set(os.environ):
        return
    if set_limit := getattr(ctypes.pythonapi, "mallopt", None):
        set_limit(M_MMAP_THRESHOLD, largest)
        set_limit(M_TRIM_THRESHOLD, min(2 * largest, LARGEST))


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
