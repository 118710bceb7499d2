"""Atomic writes, JSON, and the cache folder."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from ssvid.errors import ConfigError

CACHE_KINDS = {  # sub-folders of the cache folder; `ssvid cache clear` touches no other
    "indexes": "scans of folders that were named as data",
    "features": "features of videos under one backbone and view",
    "frame_cache": "decoded frames of small data sets",
    "classifiers": "networks trained with labels, as rows to compare with",
    "cells": "results of single table cells, where no output was named",
    "controls": "videos made for the controls of an audit",
    "reencodings": "re-encoded videos for an audit",
    "geometry": "what was measured of networks from files outside the package",
    "copies": "cropped and re-scaled videos to search for near duplicates",
}


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path in the folder of `path`, made if missing; renamed to `path` when the block ends, removed when it fails.

    Readers see the old file or the new one, never a part. The temporary name is random, so that two writers of one file do not meet, and
    it keeps the suffix, because some writers choose a format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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

    Nothing but the sub-folders of `CACHE_KINDS` is touched, and a link is removed without following it.
    Raises ConfigError for an unknown kind, before anything is removed.
    """
    for kind in kinds:
        if kind not in CACHE_KINDS:
            raise ConfigError(f"the cache has no kind {kind!r}; kinds: {', '.join(CACHE_KINDS)}")
    removed = {}
    for kind in kinds or CACHE_KINDS:
        folder = cache_folder() / kind
        removed[kind] = _use(folder)
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
    return removed


def _use(folder: Path) -> CacheUse:
    if folder.is_symlink():
        return CacheUse(1, folder.lstat().st_size)
    sizes = [Path(parent, name).lstat().st_size for parent, _, names in os.walk(folder) for name in names]
    return CacheUse(len(sizes), sum(sizes))
