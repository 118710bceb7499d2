"""Run code that may hang, crash or eat memory in a child process that can be killed.

Decoders are native code: on a bad file one may spin for ever with the interpreter's lock held, or end the process. A child
process is the only place where neither harms the caller. The child is started as a fresh interpreter rather than through
`multiprocessing`, so scripts of users need no `if __name__ == "__main__"` and no decoder state is forked.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from ssvid.errors import SsvidError, VideoError

GIB = 1 << 30
TIRED = 0.8  # share of its memory from which a child is replaced, before another file suffers for what earlier ones left behind
START_LIMIT = 120.0  # seconds for the interpreter and numpy to load, from a cold network disk at worst
BEAT_EVERY = 0.2
# the parent's sys.path makes the same modules importable whatever the working directory is
_BOOT = "import sys; fd = int(sys.argv[1]); sys.path[:] = sys.argv[3:]; from ssvid.video.guard import serve; "
_BOOT += "serve(fd, int(sys.argv[2]))"

_beat: Callable[[], None] | None = None


def heartbeat() -> None:
    """Tell the waiting parent that work goes on; does nothing outside a guard's child."""
    if _beat is not None:
        _beat()


class Guard:
    """A child process that runs one function at a time, killed and started anew when it hangs or crashes.

    Use it as `with Guard() as guard: guard.run(function, path, limit=60)`. One guard serves one thread.

    Args:
        memory: bytes of address space the child may take, where the system can limit it; loading decord alone takes 3.5 GiB of it.
    """

    def __init__(self, memory: int = 6 * GIB) -> None:
        self.memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def run(
        self,
        function: Callable[..., Any],
        path: str | os.PathLike[str],
        *args: object,
        limit: float = 600.0,
        stall: float | None = None,
    ) -> Any:
        """Return `function(absolute path, *args)` as computed in the child.

        Args:
            function: importable by name (top level of a module other than `__main__`).
            path: the file it works on, named in errors.
            args: further arguments; they and the result must pickle.
            limit: seconds it may take in all.
            stall: seconds it may take between two calls of `heartbeat`, once its module is imported. None: no such limit.

        Raises:
            VideoError: the function raised, ran out of time or memory, or the child died.
            SsvidError: the child cannot be started.
        """
        path = os.fspath(path)
        pipe = self._start()
        try:
            # absolute, for the child may have been started in another folder
            pipe.send((function.__module__, function.__qualname__, os.path.abspath(path), args, limit))
            kind, value = self._wait(pipe, path, limit, stall)
        except (EOFError, ConnectionError):
            raise VideoError(path, self._obituary()) from None
        except BaseException:  # an answer that comes later must not be taken for that of another file
            self.close()
            raise
        if self._tired():
            self.close()
        if kind == "error":
            raise VideoError(path, value)
        return value

    def _tired(self) -> bool:
        """Whether the child holds so much memory that the next file might lack it; never where the system does not tell."""
        try:
            pages = Path(f"/proc/{self._process.pid if self._process else 0}/statm").read_text().split()[0]
        except OSError:
            return False
        return int(pages) * os.sysconf("SC_PAGE_SIZE") > TIRED * self.memory

    def _wait(self, pipe: Connection, path: str, limit: float, stall: float | None) -> tuple[str, Any]:
        began = beat = time.monotonic()
        patience = None if stall is None else max(stall, START_LIMIT)  # a busy machine takes long to import a decoder
        while True:
            ends = began + limit if patience is None else min(began + limit, beat + patience)
            if not self._answered(pipe, ends - time.monotonic()):
                waited = time.monotonic() - began
                raise VideoError(path, f"gave no result in {waited:.0f} s (it hangs, or needs a higher limit)")
            kind, value = pipe.recv()
            if kind != "beat":
                return kind, value
            beat, patience = time.monotonic(), stall

    def close(self) -> None:
        """End the child; a later `run` starts another."""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._pipe = None

    def _start(self) -> Connection:
        if self._pipe is not None and self._process is not None and self._process.poll() is None:
            return self._pipe
        self.close()
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            command = [sys.executable, "-c", _BOOT, str(fd), str(self.memory), *sys.path]
            # many cores would each reserve buffers and count against the child's address space
            threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
            self._process = subprocess.Popen(
                command, pass_fds=[fd], stdin=subprocess.DEVNULL, env={**os.environ, **threads}
            )
        self._pipe = Connection(ours.detach())
        if not self._answered(self._pipe, START_LIMIT):
            self.close()
            raise SsvidError(f"the decoding process did not start in {START_LIMIT:.0f} s")
        try:
            self._pipe.recv()
        except (EOFError, ConnectionError):
            self.close()
            raise SsvidError("the decoding process could not start; its message stands above") from None
        return self._pipe

    @staticmethod
    def _answered(pipe: Connection, seconds: float) -> bool:
        return seconds > 0 and pipe.poll(seconds)

    def _obituary(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        self.close()
        if code == -signal.SIGKILL:
            return "its decoder was killed, probably for want of memory"
        what = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return f"crashed its decoder ({what})"


def serve(fd: int, memory: int) -> None:
    """Answer a parent's requests on the socket `fd` until it closes; the main loop of the child."""
    global _beat
    pipe = Connection(fd)
    _limit_resources(memory)
    # decoders write to these descriptors themselves, past Python's and FFmpeg's log levels
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    last = 0.0

    def beat() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > BEAT_EVERY:
            last = now
            pipe.send(("beat", None))

    _beat = beat
    pipe.send(("beat", None))
    with contextlib.suppress(EOFError, OSError):  # the parent has gone
        while True:
            module, name, path, args, limit = pipe.recv()
            # ends a child that spins after its parent was killed; works while native code holds the lock
            faulthandler.dump_traceback_later(limit + 10, exit=True, file=null)
            pipe.send(_answer(lambda: pipe.send(("beat", None)), module, name, path, args))
            faulthandler.cancel_dump_traceback_later()


def _answer(
    imported: Callable[[], None], module: str, name: str, path: str, args: tuple[object, ...]
) -> tuple[str, Any]:
    try:
        function: Any = importlib.import_module(module)
        imported()
        for part in name.split("."):
            function = getattr(function, part)
        return "result", function(path, *args)
    except VideoError as error:
        return "error", error.reason
    except MemoryError:
        return "error", "needs more memory than the decoding process may take"
    except Exception as error:
        return "error", f"decoding failed: {type(error).__name__}: {error}"


def _limit_resources(memory: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
