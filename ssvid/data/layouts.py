"""How data sets lie on disk: from what a user names to a list of entries (path, label, split, group).

A folder (one sub-folder a class, train/val/test above them if there are any), a `path label` list, a CSV with a header, a single
file, or LAYOUT:FOLDER for a data set with a rule of its own. `LAYOUTS` names those rules.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ssvid.errors import ConfigError, DataError

VIDEO_SUFFIXES = frozenset(
    {
        ".3gp",
        ".asf",
        ".avi",
        ".flv",
        ".gif",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".ogv",
        ".ts",
    }
    | {".webm", ".wmv", ".y4m"}
)
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True)
class Entry:
    """One video as a data set names it; group holds what must not be divided between train and test."""

    path: Path
    label: str | None = None
    split: str | None = None
    group: str | None = None


def read_layout(source: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> list[Entry]:
    """Entries of one source, sorted by path.

    source: a folder, a video, a .txt list, a .csv, or "layout:folder".
    root: the folder that paths in a list or CSV start from (default: the list's own folder); they may not leave it.
    Raises ConfigError for an unknown layout, DataError for a source that is missing or holds no video.
    """
    name, _, rest = os.fspath(source).partition(":")
    if rest and name in LAYOUTS:
        return _required(list(LAYOUTS[name](_folder(Path(rest)))), rest)
    path = Path(source)
    if rest and not path.exists():
        raise ConfigError(f"unknown layout {name!r} in {source}; known layouts: {', '.join(sorted(LAYOUTS))}")
    if path.is_dir():
        return _required(list(folder_per_class(path)), source)
    if not path.exists():
        raise DataError(f"{path} does not exist; give a folder of videos, a video, a 'path label' list or a CSV file")
    if path.suffix == ".txt":
        return _required(list(path_label_list(path, root)), source)
    if path.suffix == ".csv":
        return _required(list(csv_list(path, root)), source)
    return [Entry(path.resolve())]


def folder_per_class(folder: Path) -> Iterator[Entry]:
    """Every video below `folder`; its parent folder is its label, a train/val/test folder on the way its split."""
    for path in _videos_below(folder):
        parents = path.relative_to(folder).parts[:-1]
        split = next((SPLIT_FOLDERS[part.lower()] for part in parents if part.lower() in SPLIT_FOLDERS), None)
        classes = [part for part in parents if part.lower() not in SPLIT_FOLDERS]
        yield Entry(path.resolve(), classes[-1] if classes else None, split)


def ut_interaction(folder: Path) -> Iterator[Entry]:
    """UT-Interaction, segmented: <class>/<number>_<sequence>_<class number>.avi; the group is the sequence.

    The protocol is leave-one-sequence-out. https://cvrc.ece.utexas.edu/SDHA2010/Human_Interaction.html
    """
    for path in _videos_below(folder):
        parts = path.stem.split("_")
        if len(parts) != 3 or not all(part.isdigit() for part in parts):
            raise DataError(f"{path}: not a UT-Interaction name (<number>_<sequence>_<class number>.avi)")
        yield Entry(path.resolve(), path.parent.name, None, f"sequence {int(parts[1])}")


def path_label_list(path: Path, root: str | os.PathLike[str] | None) -> Iterator[Entry]:
    """Lines of `path label`; the label is the last word, so that paths may hold spaces. A line of one word has no label."""
    place = Below(path, root)
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name:
            name, label = label, ""
        yield Entry(place.find(name.strip(), number), label or None)


def csv_list(path: Path, root: str | os.PathLike[str] | None) -> Iterator[Entry]:
    """CSV with a header naming at least `path`, and label, split, group where known."""
    place = Below(path, root)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if "path" not in (reader.fieldnames or ()):
            raise DataError(
                f"{path}: the first line must name the columns, among them 'path' (and label, split, group)"
            )
        for row in reader:
            where = place.find(row["path"], reader.line_num)
            yield Entry(where, row.get("label") or None, row.get("split") or None, row.get("group") or None)


class Below:
    """Finds the files that a list names, below one folder and nowhere else."""

    def __init__(self, path: Path, root: str | os.PathLike[str] | None) -> None:
        self.list = path
        self.root = Path(root).resolve() if root is not None else path.resolve().parent
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, name: str, line: int) -> Path:
        """Path of `name`; a bare file name is also found in a sub-folder, if it is there only once."""
        path = (self.root / name).resolve()
        if not path.is_relative_to(self.root):
            raise DataError(
                f"{self.list}, line {line}: {name} leaves the folder {self.root}; name its folder with --root"
            )
        if path.exists() or "/" in name:
            return path
        if self._by_name is None:
            self._by_name = {}
            for video in _videos_below(self.root):
                self._by_name.setdefault(video.name, []).append(video)
        found = self._by_name.get(name, [])
        return found[0].resolve() if len(found) == 1 else path


def _videos_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise DataError(f"{path} is not a folder; name the folder that holds the data set's videos")
    return path


def _required(entries: list[Entry], source: object) -> list[Entry]:
    if not entries:
        raise DataError(f"{source} holds no video; known endings: {' '.join(sorted(VIDEO_SUFFIXES))}")
    return entries


LAYOUTS: dict[str, Callable[[Path], Iterator[Entry]]] = {
    "folder": folder_per_class,
    "ut_interaction": ut_interaction,
}
