"""Where work runs: the device by name, pools of threads, and pools of processes of one thread each, none of which outlives the process
that started it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from ssvid.errors import ConfigError

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")

GRACE = 30  # seconds in which an orphan may end its step and save


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


@contextmanager
def process_pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of `jobs` fresh processes; on the way out, what has not begun is dropped and what has is waited for.

    One thread each, since several that wait for each other's threads on the same cores stand still. Ctrl-C reaches the whole group: each
    ends without a traceback of its own, unless its work has a handler. Where the starting process is killed, they are asked to end too.
    """
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # torch reads it as it is imported there
    try:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin) as pool:
            try:
                yield pool
            finally:
                pool.shutdown(cancel_futures=True)
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        os.environ |= {} if threads is None else {"OMP_NUM_THREADS": threads}


def map_processes(work: Callable[[Item], None], items: Sequence[Item], workers: int) -> Iterator[None]:
    """Do the work on every item, and yield after each. workers: processes; 0: one per 24 items, at most one per core; 1: this one."""
    workers = workers or min(os.cpu_count() or 1, -(-len(items) // 24))
    if workers <= 1:
        yield from map(work, items)
        return
    with process_pool(workers) as pool:
        yield from pool.map(work, items)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)
