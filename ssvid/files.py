"""Names of files, atomic writes, JSON, and the cache folder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from ssvid.errors import ConfigError, DataError

CACHE_KINDS = {  # sub-folders of the cache folder; `ssvid cache clear` touches no other
    "indexes": "scans of folders that were named as data",
    "features": "features of videos under one backbone and view",
    "frame_cache": "decoded frames of small data sets",
    "flow_cache": "flow between the frames of small data sets",
    "classifiers": "networks trained with labels, as rows to compare with",
    "cells": "results of single table cells, where no output was named",
    "controls": "videos made for the controls of an audit",
    "reencodings": "re-encoded videos for an audit",
    "geometry": "what was measured of networks from files outside the package",
    "remote": "videos fetched from other places or taken out of tars, up to a bound",
    "copies": "cropped and re-scaled videos to search for near duplicates",
}


UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(text: str) -> str:
    """A name or a message as people and terminals can take it, on one line: what is no UTF-8 and control characters become \\xff, \\n.

    Names keep their bytes wherever they are read again: Python holds them as `os.fsdecode` does, SQLite as bytes, JSON as escapes.
    """
    return UNPRINTABLE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    byte = 0xDC80 <= code <= 0xDCFF  # a byte that os.fsdecode could not make a letter of
    return f"\\x{code - 0xDC00:02x}" if byte else found[0].encode("unicode_escape").decode()


ROOM, RIGHT = "make room on that disk, or name a place on another one", "see to its permissions, or name another place"
REMEDIES = {"ENOSPC": ROOM, "EDQUOT": ROOM, "EFBIG": ROOM, "EROFS": RIGHT, "EACCES": RIGHT, "EPERM": RIGHT}


def from_system(error: OSError) -> DataError:
    """What the operating system refuses, as a full or a read-only disk does: the file, the reason, and what may help."""
    reason = error.strerror or str(error) or type(error).__name__
    remedy = REMEDIES.get(errno.errorcode.get(error.errno or 0, ""), "")
    if not isinstance(error.filename, str | bytes):
        return DataError("; ".join(filter(None, (reason, remedy))))
    path = os.fsdecode(error.filename)
    return DataError("; ".join(filter(None, (f"{path}: {reason}", remedy, cache_remedy(path)))))


def cache_remedy(path: str | os.PathLike[str]) -> str:
    """How to have the cache elsewhere, for an error about a file in it; else nothing."""
    inside = Path(path).absolute().is_relative_to(cache_folder().absolute())
    return "the cache can be kept elsewhere: set SSVID_CACHE" if inside else ""


@contextmanager
def writing(
    path: str | os.PathLike[str], *kinds: type[Exception], temporary: str | os.PathLike[str] = ""
) -> Iterator[None]:
    """Around what writes `path`: an OSError says which file it was, also that of a full disk, which names none.

    kinds: what the library that writes raises in place of an OSError; they become a DataError. temporary: a name that means `path`.
    """
    try:
        yield
    except OSError as error:
        if error.filename in (None, os.fspath(temporary)):
            error.filename, error.filename2 = os.fspath(path), None
        raise
    except kinds as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"{path} cannot be written ({reason}); see that its disk has room") from error


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path in the folder of `path`, made if missing; renamed to `path` when the block ends, removed when it fails.

    Readers see the old file or the new one, never a part. The temporary name is random, so that two writers of one file do not meet, and
    it keeps the suffix, because some writers choose a format by it. It is absolute: FFmpeg takes `a:b/c.mp4` for an address.
    Raises as `writing` does.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.absolute().with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        with writing(path, temporary=temporary):
            yield temporary
            temporary.replace(path)
    finally:
        with suppress(OSError):  # on a read-only disk there is none, and the first error is the one to tell
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8 atomically; bytes of a name that are none are written as escapes."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value in a JSON file. Raises FileNotFoundError, or ValueError for what is not JSON."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def cache_folder() -> Path:
    """Where indexes, features and everything else that can be computed again are kept: $SSVID_CACHE, else the user's cache folder."""
    named = os.environ.get("SSVID_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("ssvid", appauthor=False)


@dataclass(frozen=True)
class CacheUse:
    """How many files of one kind lie in the cache folder, and their size in bytes."""

    files: int
    bytes: int


def cache_use() -> dict[str, CacheUse]:
    """What lies in the cache folder, by kind; links count as themselves, not as what they lead to."""
    return {kind: _use(cache_folder() / kind) for kind in CACHE_KINDS}


def clear_cache(kinds: Sequence[str] = ()) -> dict[str, CacheUse]:
    """Remove some kinds of files from the cache folder, all kinds where none is named; returns what was removed.

    Nothing but the sub-folders of `CACHE_KINDS` is touched, a link is removed without following it, and a fetched video stays while a
    process reads it.
    Raises ConfigError for an unknown kind, before anything is removed.
    """
    for kind in kinds:
        if kind not in CACHE_KINDS:
            raise ConfigError(f"the cache has no kind {kind!r}; kinds: {', '.join(CACHE_KINDS)}")
    removed = {}
    for kind in kinds or CACHE_KINDS:
        folder = cache_folder() / kind
        before = _use(folder)
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            _empty(folder)
        left = _use(folder)
        removed[kind] = CacheUse(before.files - left.files, before.bytes - left.bytes)
    return removed


def remove_unless_held(path: str | os.PathLike[str]) -> bool:
    """Remove a file unless a process holds a lock on it, as readers of fetched videos do; whether it is gone."""
    try:
        opened = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    finally:
        os.close(opened)
    return True


def _empty(folder: Path) -> None:
    """Remove what is in a folder and nobody holds, and the folders that are then empty."""
    for parent, folders, names in os.walk(folder, topdown=False):
        for name in (*names, *folders):
            path = Path(parent, name)
            if path.is_dir() and not path.is_symlink():
                continue  # removed below, when it was the parent
            if not path.is_file() or path.is_symlink() or not os.access(path, os.R_OK):
                path.unlink(missing_ok=True)
            else:
                remove_unless_held(path)
        with suppress(OSError):  # what is held keeps its folder
            os.rmdir(parent)


def _use(folder: Path) -> CacheUse:
    if folder.is_symlink():
        return CacheUse(1, folder.lstat().st_size)
    sizes = [Path(parent, name).lstat().st_size for parent, _, names in os.walk(folder) for name in names]
    return CacheUse(len(sizes), sum(sizes))
