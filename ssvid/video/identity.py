"""Whether a file is still the one that was looked at: its size and time, and where only the time differs, its two ends.

Of a video behind an address, what its server tells stands in place of the time.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack

from ssvid.errors import VideoError
from ssvid.video.location import file_state_of, local_file, local_range
from ssvid.video.remote import MissingError, RemoteError

ENDS = 1 << 16  # bytes of the head and of the tail that are compared


def identify(path: str | os.PathLike[str]) -> str:
    """Size, time of the last change in nanoseconds, and a hash of both ends, as one word."""
    state = file_state_of(path)
    return f"{state.size}-{state.version}-{_ends(path, state.size)}"


def contents(identity: str) -> str:
    """What stays of an identity when the file is copied or moved: its size and the hash of its ends."""
    size, _, ends = identity.partition("-")
    return f"{size}-{ends.rpartition('-')[2]}"


def check_unchanged(path: str | os.PathLike[str], identity: str) -> None:
    """Raise VideoError unless the file is the one that was identified; one that was only copied or touched is."""
    try:
        state = file_state_of(path)
    except (OSError, VideoError) as error:
        if isinstance(error, RemoteError) and not isinstance(error, MissingError):
            raise
        raise VideoError(
            path, "no such file; it was moved or deleted since it was indexed: index it again (ssvid index)"
        ) from None
    size, modified, ends = identity.split("-")
    if f"{state.size}-{state.version}" == f"{size}-{modified}":
        return
    if str(state.size) != size or _ends(path, state.size) != ends:
        raise VideoError(path, "has changed since it was indexed; index it again (ssvid index)")


def _ends(path: str | os.PathLike[str], size: int) -> str:
    hashed = hashlib.blake2b(digest_size=8)
    place = local_range(os.fspath(path))
    start, length = place[1:] if place else (0, size)
    with ExitStack() as stack:
        file = stack.enter_context(open(place.file if place else stack.enter_context(local_file(path)), "rb"))
        for at in (start, start + max(0, length - ENDS)):
            file.seek(at)
            hashed.update(file.read(min(ENDS, length)))
    return hashed.hexdigest()
