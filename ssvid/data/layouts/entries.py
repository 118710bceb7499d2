"""What every layout makes: entries, one a video, in a listing that also says how the files on disk differ from the official release."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ssvid.errors import DataError

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov"}
    | {".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv", ".y4m"}
)
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "test": "test",
}
UNUSED = "unused"  # the split of a video that an official split leaves out


@dataclass(frozen=True)
class Entry:
    """One video as a data set names it.

    group: what must not be divided between train and test.
    missing: why the video cannot be used, where a list names a file that is not there; `path` is then where it is looked for.
    named: where the list would have it, where it was found elsewhere.
    """

    path: Path
    label: str | None = None
    split: str | None = None
    group: str | None = None
    missing: str | None = None
    named: Path | None = None


@dataclass(frozen=True)
class Listing:
    """The videos of one source, found and missing.

    title: the data set and its split as a table names them, "" for a user's own videos. flip: whether a video keeps its label when it is
    mirrored left to right. notes: sentences on how the files differ from the official release.
    """

    entries: list[Entry]
    title: str = ""
    flip: bool = True
    notes: tuple[str, ...] = ()


def missing_because(list_file: Path, folder: Path) -> str:
    """The reason in the row of a video that `list_file` names and `folder` does not hold."""
    return f"missing: named in {list_file.name} but not found under {folder}"


def read_text(path: Path) -> str:
    """The text of a list, with or without a byte order mark. Raises DataError where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text in UTF-8 ({error.reason}); save it as UTF-8") from error


def split_in_name(path: Path) -> str | None:
    """train, val or test where the name of a file says one of them (kinetics_train_list.txt), else None."""
    named = {SPLITS[word] for word in re.split(r"[^a-z]+", path.stem.lower()) if word in SPLITS}
    return named.pop() if len(named) == 1 else None


def videos_below(folder: Path) -> list[Path]:
    """Every video file below a folder, sorted; links are followed, each folder is entered once, hidden ones are passed over."""
    found: list[Path] = []
    entered: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        folders[:] = [] if real in entered else [name for name in folders if not name.startswith(".")]
        if real not in entered:
            found += [Path(parent, name) for name in files if os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES]
        entered.add(real)
    return sorted(found)
