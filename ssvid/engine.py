"""Where independent tasks run: in processes of this machine, or on the machines of a Ray cluster; nothing else knows of Ray.

An engine is a word that every command with `--engine` takes:

- `local:N`: N processes of this machine, of one thread each; `local` is one a core;
- `ray`: the Ray cluster that this machine belongs to, or, where there is none, one that is started for the call on this machine;
- `ray://HOST:PORT`: a Ray cluster elsewhere, through its client port (10001 by default).

A task is a function that can be imported, with arguments that can be pickled. What it returns is kept by the caller, who is the only one
that writes a command's results, so that a task may run twice: Ray does so where a worker or a machine was lost.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from ssvid.errors import ConfigError, SsvidError

Item = TypeVar("Item")

GRACE = 30  # seconds in which an orphan may end its step and save
RETRIES = 3  # times that a task is tried again after its worker or machine was lost
FORMS = "use local:N, ray, or ray://HOST:PORT"


def check_engine(engine: str) -> str:
    """The engine's name again. Raises ConfigError for one that does not exist, or that is not installed."""
    if not re.fullmatch(r"local(:[1-9]\d*)?|ray|ray://[^\s/]+:\d+", engine):
        raise ConfigError(f"--engine {engine!r} is no engine; {FORMS}")
    if engine.startswith("ray"):
        _ray()
    return engine


def local_processes(engine: str) -> int | None:
    """How many processes of this machine an engine means; None for one that is elsewhere."""
    if not engine.startswith("local"):
        return None
    return int(engine.partition(":")[2] or os.cpu_count() or 1)


@contextmanager
def executor(engine: str) -> Iterator[Executor]:
    """The executor of an engine; on the way out, what has not begun is dropped and what has is waited for.

    Its tasks have one thread each, since several that wait for each other's threads on the same cores stand still. Where a process is
    lost and trying again does not help, the task's future raises BrokenExecutor, which leaves this context as SsvidError with the remedy.
    Raises ConfigError for an engine that does not exist or is not installed, SsvidError for a cluster that does not answer.
    """
    processes = local_processes(check_engine(engine))
    with _process_pool(processes) if processes else _ray_tasks(engine) as pool:
        try:
            yield pool
        except BrokenExecutor as error:
            raise SsvidError(
                "a process was ended from outside, as happens where memory runs out; the same command goes on, with fewer at once, as "
                "--engine local:1"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def map_tasks(work: Callable[[Item], None], items: Sequence[Item], engine: str) -> Iterator[None]:
    """Do the work on every item, and yield after each. Of processes there is no more than one for 24 items, and for few items none but this
    one: a process takes a second to begin."""
    if processes := local_processes(check_engine(engine)):
        processes = min(processes, -(-len(items) // 24))
        engine = f"local:{processes}"
        if processes <= 1:
            yield from map(work, items)
            return
    with executor(engine) as pool:
        yield from pool.map(work, items)


@contextmanager
def _process_pool(processes: int) -> Iterator[Executor]:
    """Fresh processes. Ctrl-C reaches the whole group: each ends without a traceback of its own, unless its work has a handler. Where the
    starting process is killed, they are asked to end too."""
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # torch reads it as it is imported there
    try:
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin) as pool:
            yield pool
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


class RayExecutor(Executor):
    """Tasks of Ray Core as futures. Made by `executor`, which opens and closes the connection."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._task = ray.remote(num_cpus=1, max_retries=RETRIES)(_outcome)
        self._waiting: dict[Future[Any], Any] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function somewhere. What it raises, its future raises; the loss of its worker is BrokenExecutor."""
        future: Future[Any] = Future()
        reference = self._task.remote(os.getcwd(), fn, args, kwargs)
        self._waiting[future] = reference
        future.set_running_or_notify_cancel()
        reference.future().add_done_callback(lambda done: self._settle(future, done))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Drop what has not begun; Ray interrupts what has."""
        for reference in list(self._waiting.values()) if cancel_futures else []:
            self._ray.cancel(reference)
        for future in list(self._waiting) if wait else []:
            future.exception()

    def _settle(self, future: Future[Any], done: Future[Any]) -> None:
        self._waiting.pop(future, None)
        if error := done.exception():
            future.set_exception(BrokenExecutor(f"Ray lost a task: {error}"))
            return
        value, raised = done.result()
        future.set_result(value) if raised is None else future.set_exception(raised)


def _outcome(folder: str, fn: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, BaseException | None]:
    """What a task gives, or raises: as a value, since Ray would put an exception of its own in its place.

    folder: in which the command was typed, so that a relative path means the same everywhere.
    """
    try:
        os.chdir(folder)
        return fn(*args, **kwargs), None
    except Exception as error:
        return None, error


@contextmanager
def _ray_tasks(engine: str) -> Iterator[Executor]:
    ray = _ray()
    address = engine if "://" in engine else None
    alone = {"include_dashboard": False}  # of a cluster that is started here
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        ray.init(address, runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}}, **settings, **({} if address else alone))
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise SsvidError(f"the Ray cluster of {engine} does not answer ({error}); see: ray status") from error
    try:
        yield RayExecutor(ray)
    finally:
        ray.shutdown()


@contextmanager
def ray_cluster(workers: int) -> Iterator[None]:
    """A Ray cluster on this machine with so many workers, which is what `ray` means meanwhile: to measure what an engine costs."""
    _ray()
    from ray.cluster_utils import Cluster

    before = os.environ.get("RAY_ADDRESS")
    made: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": workers, "include_dashboard": False})
    os.environ["RAY_ADDRESS"] = made.address
    try:
        yield
    finally:
        os.environ.pop("RAY_ADDRESS")
        os.environ |= {} if before is None else {"RAY_ADDRESS": before}
        made.shutdown()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a toolkit should not call home
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # tasks on a CPU keep the machine's GPUs visible
    try:
        import ray
    except ImportError as error:
        raise ConfigError("--engine ray needs Ray: pip install 'ssvid[ray]'") from error
    return ray
