"""Tasks for engines, in a module that imports little: every process that does one imports it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from ssvid.errors import VideoError


def product(a: int, b: int) -> tuple[int, str, str]:
    return a * b, os.environ["OMP_NUM_THREADS"], os.getcwd()


def broken(path: str) -> None:
    raise VideoError(path, "is broken")


def killed(marks: Path) -> int:
    """Kills its process the first time."""
    count = len(list(marks.iterdir()))
    (marks / str(count)).touch()
    if count == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return count


def always_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def waits_for(path: Path) -> str:
    """The machine it ran on, as soon as a file is there. A file beside it tells that it has begun: MACHINE-PROCESS."""
    import ray

    machine = str(ray.get_runtime_context().get_node_id())
    (path.parent / f"{machine}-{os.getpid()}").touch()
    while not path.exists():
        time.sleep(0.05)
    return machine
