"""Local copies of what is not a file of its own here: a folder of bounded size, from which the least recently used go first.

A copy is written whole or not at all, by one process while others wait for it, and is not removed while a process reads it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ssvid.errors import ConfigError
from ssvid.files import atomic, cache_folder, remove_unless_held

SETTING = "SSVID_REMOTE_GB"  # the environment variable that bounds the folder, in units of 10^9 bytes
DEFAULT_GB = 50.0
LOCK = ".lock-"  # begins the names of the files that writers lock, 256 at most
LEFTOVER = 86400.0  # seconds after which a part of a file was left by a process that was killed


def limit() -> int:
    """Bytes that the folder may hold. Raises ConfigError where the setting is no number."""
    text = os.environ.get(SETTING) or str(DEFAULT_GB)
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = -1.0
    if not gigabytes >= 0:
        raise ConfigError(f"{SETTING}={text!r} is not a number of gigabytes; set it as {DEFAULT_GB:g}")
    return int(gigabytes * 1e9)


def folder() -> Path:
    """Where the copies lie."""
    return cache_folder() / "remote"


def copy_name(place: str, size: int, version: int, suffix: str) -> str:
    """File name of a copy, another for every place, size and version."""
    return hashlib.sha256(f"{place}\0{size}\0{version}".encode(errors="surrogateescape")).hexdigest()[:32] + suffix


@contextmanager
def held(name: str, fetch: Callable[[Path], None]) -> Iterator[str]:
    """The copy of this name, which `fetch` writes where it is not there; it stays until the block ends.

    The copy that is held may alone be larger than the bound; it then goes with the next one.
    """
    path = folder() / name
    opened = _hold(path)
    if opened is None:
        with _alone(name):
            opened = _hold(path)
            if opened is None:
                opened = _made(path, fetch)
    try:
        yield str(path)
    finally:
        os.close(opened)


def shrink(bound: int) -> None:
    """Remove the least recently used copies that nobody reads until no more than `bound` bytes are left."""
    found = []
    for entry in os.scandir(folder()):
        with suppress(FileNotFoundError):  # another process removes too
            stat = entry.stat()
            if not entry.name.startswith("."):
                found.append((stat.st_mtime_ns, stat.st_size, entry.path))
            elif not entry.name.startswith(LOCK) and stat.st_mtime < time.time() - LEFTOVER:
                os.unlink(entry.path)
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= bound:
            break
        if remove_unless_held(path):
            total -= size


def _made(path: Path, fetch: Callable[[Path], None]) -> int:
    """Write a copy and hold it from the moment on in which it has its name."""
    with atomic(path) as temporary:
        fetch(temporary)
        opened = os.open(temporary, os.O_RDONLY)
        fcntl.flock(opened, fcntl.LOCK_SH)
    os.utime(path)
    shrink(limit())
    return opened


def _hold(path: Path) -> int | None:
    """A descriptor that keeps a copy from being removed; None where there is no copy. It counts as used now."""
    try:
        opened = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    fcntl.flock(opened, fcntl.LOCK_SH)
    if os.fstat(opened).st_nlink == 0:  # removed between the two lines above
        os.close(opened)
        return None
    with suppress(OSError):  # on a read-only disk nothing is removed either
        os.utime(path)
    return opened


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """One process at a time for copies of this name."""
    folder().mkdir(parents=True, exist_ok=True)
    opened = os.open(folder() / f"{LOCK}{name[:2]}", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)
