"""Files behind an address, as s3://, gs://, https:// and whatever else fsspec knows; the only file that knows fsspec.

Credentials and other options are those of fsspec's libraries: their environment variables (AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS),
or fsspec's own configuration (FSSPEC_S3_ENDPOINT_URL and so on).
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ssvid.errors import DataError, VideoError

ATTEMPTS = 3
WAIT = 0.5  # seconds before the second attempt, twice as many before the next
SILENCE = 60.0  # seconds without a byte after which a server of http counts as lost
CHUNK = 1 << 24  # bytes of a range that are held in memory
WINDOW = 1 << 16  # bytes that are fetched at once where a file is looked at here and there
# what tells that a file is another one, the surest first
VERSIONS = ("ETag", "etag", "md5Hash", "content_md5", "Content-MD5", "mtime", "LastModified", "last_modified")
TIMES = ("Last-Modified", "updated", "modified", "created")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class RemoteError(VideoError):
    """A file behind an address cannot be had now: not there, not allowed, or not reached. It may be had later."""


class MissingError(RemoteError):
    """There is nothing behind an address."""


class UnreachableError(RemoteError):
    """The network or the server failed."""


class FileState(NamedTuple):
    """Size in bytes, and a number that is another one when the file has changed; 0 where the server tells nothing of that."""

    size: int
    version: int


def is_address(path: str | os.PathLike[str]) -> bool:
    """Whether a name is an address, as s3://bucket/a.mp4, and not a path."""
    return isinstance(path, str) and _ADDRESS.match(path) is not None


def state(address: str) -> FileState:
    """Ask how a file stands, without fetching it. Raises RemoteError."""
    with _told(address):
        files, path = _open(address)
        files.invalidate_cache(path)
        info = files.info(path)
    if info.get("type") == "directory":
        raise RemoteError(address, "is a folder, not a video file")
    if info.get("size") is None:
        raise RemoteError(address, "has no size that its server tells; fetch it to a disk")
    return FileState(int(info["size"]), _version(info))


def find(address: str) -> dict[str, FileState | None]:
    """Addresses of all files below a folder, or that a pattern with * names, sorted; with their state where listing tells it.

    Raises RemoteError.
    """
    with _told(address):
        files, path = _open(address)
        files.invalidate_cache()
        found = files.glob(path, detail=True) if "*" in path else files.find(path, detail=True)
        named = {files.unstrip_protocol(name): info for name, info in sorted(found.items())}
    return {name: _listed(info) for name, info in named.items() if info.get("type") != "directory"}


def fetch(address: str, target: Path, size: int) -> None:
    """Write a whole file to `target`. Raises RemoteError, also where other than `size` bytes come."""
    for attempt in range(ATTEMPTS):
        try:
            with _told(address):
                files, path = _open(address)
                files.get_file(path, os.fspath(target))
                if target.stat().st_size != size:
                    raise ConnectionError(f"{target.stat().st_size} bytes came instead of {size}")
                return
        except UnreachableError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(WAIT * 2**attempt)


def fetch_range(address: str, start: int, length: int, target: Path) -> None:
    """Write some bytes of a file to `target`. Raises RemoteError, also where the server does not send just these."""
    with _told(address), open(target, "wb") as file:
        files, path = _open(address)
        for first in range(start, start + length, CHUNK):
            stop = min(first + CHUNK, start + length)
            data = files.cat_file(path, start=first, end=stop)
            if len(data) != stop - first:
                raise ConnectionError(f"{len(data)} bytes came instead of {stop - first}")
            file.write(data)


@contextmanager
def opened(address: str) -> Iterator[Any]:
    """A file object that reads here and there, by ranges of bytes. Raises RemoteError, also where the server knows no ranges."""
    with _told(address):
        files, path = _open(address)
        with files.open(path, "rb", block_size=WINDOW) as file:
            if not file.seekable():
                raise ConnectionError("its server sends whole files only")
            yield file
        if len(files.cat_file(path, start=0, end=1)) != 1:  # a small file comes whole without an error
            raise ConnectionError("its server sends whole files only")


def _open(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise DataError(f"{address} is not on a disk of this machine; install: pip install 'ssvid[remote]'") from error
    options: dict[str, Any] = {}
    if address.lower().startswith(("http://", "https://")):
        import aiohttp

        # by default aiohttp gives up after five minutes, however well a large file comes
        limits = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
        options["client_kwargs"] = {"timeout": limits}
    found: tuple[Any, str] = url_to_fs(address, **options)
    return found


def _version(info: Mapping[str, Any]) -> int:
    told = next((info[key] for key in (*VERSIONS, *TIMES) if info.get(key)), None)
    return 0 if told is None else int(hashlib.sha256(str(told).encode()).hexdigest()[:15], 16)


def _listed(info: Mapping[str, Any]) -> FileState | None:
    if info.get("size") is None or not _version(info):
        return None
    return FileState(int(info["size"]), _version(info))


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Turn what a library of fsspec raises, each its own, into a RemoteError that says what to do."""
    try:
        yield
    except DataError:
        raise
    except ImportError as error:
        raise DataError(
            f"{address} needs a package that is not installed ({error}); install: pip install 'ssvid[remote]'"
        ) from error
    except Exception as error:
        raise _refusal(address, error) from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _refusal(address: str, error: Exception) -> RemoteError:
    """Why a file was not to be had, and what to do. HTTP's errors stand behind others, so all that led to this one are looked at."""
    chain = list(_chain(error))
    states = {getattr(one, "status", None) for one in chain}
    texts = (str(one).strip().partition("\n")[0] for one in reversed(chain))
    told = next(filter(None, texts), type(error).__name__)
    refused = any(isinstance(one, PermissionError) or "redential" in f"{type(one).__name__} {one}" for one in chain)
    if states & {401, 403} or refused:
        remedy = "give credentials as its library takes them, or see to the permissions there"
        return RemoteError(address, f"may not be read ({told}); {remedy}")
    if any("Protocol not known" in str(one) for one in chain):
        return RemoteError(address, "has an unknown protocol; known are s3://, gs://, https:// and those of fsspec")
    if any(_is_lost(one) for one in chain):
        return UnreachableError(
            address, f"cannot be reached ({told}); check the address and the network, then call again"
        )
    if states & {404, 410} or any(isinstance(one, FileNotFoundError) for one in chain):
        return MissingError(address, "no such file; check the address")
    return RemoteError(address, f"cannot be read ({told}); check the address, then call again")


def _is_lost(error: BaseException) -> bool:
    """Whether an error is one of the network; the libraries' own are known by their names."""
    if isinstance(error, OSError):
        return not isinstance(error, FileNotFoundError | PermissionError)
    return any(word in type(error).__name__ for word in ("Connect", "Payload", "Timeout"))
