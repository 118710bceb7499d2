"""One process at a time trains in a run folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssvid.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows has none, and nothing is locked there
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder, which is made where it is missing. The system lets it go when the process ends, however it ends.

    Raises ConfigError where another process holds it.
    """
    with locked_file(folder / NAME, f"another process is training in {folder}; wait for it, or name another -o"):
        yield


@contextmanager
def locked_file(path: Path, otherwise: str) -> Iterator[None]:
    """Hold a file that is there only for this; its folder is made where it is missing. Raises ConfigError(otherwise) where it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    file = _held(path, otherwise)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def _held(path: Path, otherwise: str) -> int:
    """The open and locked file. A lock of the process and not of the file, as loading processes that outlive it must not hold it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            os.close(file)
            raise ConfigError(otherwise) from error
        except OSError:  # a disk that knows no locks
            return file
        if path.exists() and os.path.samestat(os.stat(path), os.fstat(file)):
            return file
        os.close(file)  # the one who held it has removed it in between
