"""Files that are written whole or not at all, JSON, and the folder for what can be computed again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path in the folder of `path`, made if missing; renamed to `path` when the block ends, removed when it fails.

    Readers see the old file or the new one, never a part. The name is the process's own, so that two that write the same file at once do
    no harm, and keeps the suffix, since some writers choose a format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
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
    """Where indexes of folders, features and all that can be computed again are kept: $SSVID_CACHE, else the user's cache folder."""
    named = os.environ.get("SSVID_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("ssvid", appauthor=False)
