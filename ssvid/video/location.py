"""The one place that turns what an index calls a video's path into a file that decoders can open.

A path is a file on a disk; an address behind which a file is fetched (`ssvid.video.remote`); or a member of a tar, here or behind an
address (`ssvid.video.tars`). What is no file of its own is copied to the cache when it is read (`ssvid.video.fetched`); frames at random
from a tar on a disk need no copy (`local_range`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ssvid.errors import VideoError
from ssvid.video import fetched, remote, tars
from ssvid.video.remote import FileState, MissingError, RemoteError, is_address
from ssvid.video.tars import Range, local_range

__all__ = [
    "FileState",
    "Range",
    "as_path",
    "at_hand",
    "exists",
    "file_state_of",
    "is_address",
    "is_file_path",
    "local_file",
    "local_range",
]


def as_path(path: str | os.PathLike[str]) -> str:
    """A name as an index keeps it: a path in its plain form, an address as it is, since its two slashes are no mistake."""
    return path if isinstance(path, str) and is_address(path) else os.fspath(Path(path))


def is_file_path(path: str | os.PathLike[str]) -> bool:
    """Whether a name is that of a file, and not of one behind an address or within a tar."""
    name = os.fspath(path)
    return not is_address(name) and tars.split_member(name) is None


def file_state_of(path: str | os.PathLike[str]) -> FileState:
    """Size of a video and what tells a change: nanoseconds of the last one, or a number made of what its server tells.

    Raises OSError as os.stat does, VideoError for what is not in its tar, RemoteError for what cannot be had.
    """
    name = os.fspath(path)
    inside = tars.split_member(name)
    if inside is not None:
        tar = tars.tar_state(inside[0])
        start, length = tars.member_place(*inside)
        return FileState(length, int(hashlib.sha256(f"{tar.version} {start}".encode()).hexdigest()[:15], 16))
    if is_address(name):
        return remote.state(name)
    stat = os.stat(name)
    return FileState(stat.st_size, stat.st_mtime_ns)


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether a video is there. Raises RemoteError where its place cannot be reached, since it then may be."""
    if is_file_path(path):
        return os.path.exists(path)
    try:
        file_state_of(path)
    except MissingError:
        return False
    except RemoteError:
        raise
    except (OSError, VideoError):
        return False
    return True


def at_hand(path: str, identity: str) -> bool:
    """Whether a copy of what was identified is in the cache, so that its place need not be asked. Only for what is behind an address."""
    return is_address(path) and (fetched.folder() / _copy_name(path, _stated(identity))).exists()


@contextmanager
def local_file(path: str | os.PathLike[str], identity: str = "") -> Iterator[str]:
    """A file with the content of a video, which stays until the block ends; of a file itself.

    identity: what it is by its scan (see `ssvid.video.identity`); a copy of that in the cache is taken as it is, without asking its place.
    Raises VideoError, which names the video and not its copy; errors of the block come out so too.
    """
    name = os.fspath(path)
    if is_file_path(name):
        yield name
        return
    try:
        known = _stated(identity) if identity and at_hand(name, identity) else file_state_of(name)
    except OSError as error:
        raise VideoError(name, (error.strerror or str(error)).lower()) from None
    with fetched.held(_copy_name(name, known), _fetching(name, known)) as file:
        try:
            yield file
        except VideoError as error:
            raise VideoError(name, error.reason) from None if error.path == file else error


def _fetching(name: str, known: FileState) -> Callable[[Path], None]:
    inside = tars.split_member(name)
    if inside is not None:
        return lambda target: tars.copy_member(*inside, target)
    return lambda target: remote.fetch(name, target, known.size)


def _copy_name(name: str, known: FileState) -> str:
    return fetched.copy_name(name, *known, Path(name).suffix.lower())


def _stated(identity: str) -> FileState:
    size, version, _ = identity.split("-")
    return FileState(int(size), int(version))
