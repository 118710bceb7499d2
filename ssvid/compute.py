"""Processes for work that is done side by side: one thread each, and none that outlives the process that started it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

GRACE = 30  # seconds in which an orphan may end its step and save


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
