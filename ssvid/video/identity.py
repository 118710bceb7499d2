"""Whether a file is still the one that was looked at: its size and time, and where only the time differs, its two ends."""

from __future__ import annotations

import hashlib
import os

from ssvid.errors import VideoError

ENDS = 1 << 16  # bytes of the head and of the tail that are compared


def identify(path: str | os.PathLike[str]) -> str:
    """Size, time of the last change in nanoseconds, and a hash of both ends, as one word."""
    stat = os.stat(path)
    return f"{stat.st_size}-{stat.st_mtime_ns}-{_ends(path, stat.st_size)}"


def contents(identity: str) -> str:
    """What stays of an identity when the file is copied or moved: its size and the hash of its ends."""
    size, _, ends = identity.partition("-")
    return f"{size}-{ends.rpartition('-')[2]}"


def check_unchanged(path: str | os.PathLike[str], identity: str) -> None:
    """Raise VideoError unless the file is the one that was identified; one that was only copied or touched is."""
    try:
        stat = os.stat(path)
    except OSError:
        raise VideoError(
            path, "no such file; it was moved or deleted since it was indexed: index it again (ssvid index)"
        ) from None
    size, modified, ends = identity.split("-")
    if f"{stat.st_size}-{stat.st_mtime_ns}" == f"{size}-{modified}":
        return
    if str(stat.st_size) != size or _ends(path, stat.st_size) != ends:
        raise VideoError(path, "has changed since it was indexed; index it again (ssvid index)")


def _ends(path: str | os.PathLike[str], size: int) -> str:
    hashed = hashlib.blake2b(digest_size=8)
    with open(path, "rb") as file:
        hashed.update(file.read(ENDS))
        file.seek(max(0, size - ENDS))
        hashed.update(file.read(ENDS))
    return hashed.hexdigest()
