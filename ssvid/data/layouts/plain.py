"""A user's own videos: a folder per class, `path label` lists, CSV files."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from ssvid.data.layouts.entries import (
    SPLITS,
    VIDEO_SUFFIXES,
    Entry,
    Listing,
    missing_because,
    read_text,
    split_in_name,
    videos_below,
)
from ssvid.data.layouts.official import some
from ssvid.errors import DataError


def folder_per_class(folder: Path) -> Listing:
    """One sub-folder a class, below train/, val/ and test/ where there are any; a plain FOLDER means the same.

    A video's parent folder is its label, a split folder on the way its split. Raises DataError for an empty class folder.
    """
    entries = []
    for path in videos_below(folder):
        parents = path.relative_to(folder).parts[:-1]
        split = next((SPLITS[part.lower()] for part in parents if part.lower() in SPLITS), None)
        classes = [part for part in parents if part.lower() not in SPLITS]
        entries.append(Entry(path.resolve(), classes[-1] if classes else None, split))
    notes: tuple[str, ...] = ()
    if any(entry.label for entry in entries):
        others = list(_folders_without_video(folder))
        notes = (f"{len(others)} folders hold files but no video and are no class: {some(others)}",) if others else ()
    return Listing(entries, notes=notes)


def _folders_without_video(folder: Path) -> Iterator[str]:
    """Names of the folders where a class could be that hold other files only. Raises DataError for one that holds none at all."""
    for place in (folder, *(path for path in folder.iterdir() if path.name.lower() in SPLITS and path.is_dir())):
        for path in sorted(place.iterdir()):
            if not path.is_dir() or path.name.startswith(".") or path.name.lower() in SPLITS or videos_below(path):
                continue
            if not any(files for _, _, files in os.walk(path)):
                raise DataError(f"class {path.name!r} has no video: {path} is empty; fill it or remove it")
            yield path.name


def split_lists(folder: Path, *, root: str = "") -> Listing:
    """A folder of train, val and test lists (.txt or .csv, lines of `path label`); lists@root=VIDEOS:FOLDER says where paths start.

    The format of SlowFast and VideoMAE. A list's split is the one in its name, as in val.csv or my_train_list.txt.
    """
    entries: list[Entry] = []
    for path in sorted(folder.iterdir()):
        if path.suffix in (".txt", ".csv") and split_in_name(path):
            entries += _entries_of(path, root or None)
    if not entries:
        raise DataError(f"{folder} holds no list with train, val or test in its name (train.csv, val.txt); add one")
    return _listing(entries)


def list_file(path: Path, root: str | os.PathLike[str] | None = None) -> Listing:
    """The videos of a .csv with a header that names `path`, else of a `path label` list.

    root: the folder its paths start from, by default its own. Raises DataError where a path leaves that folder.
    """
    return _listing(_entries_of(path, root))


def _listing(entries: list[Entry]) -> Listing:
    missing = sum(entry.missing is not None for entry in entries)
    notes = (f"{missing:,} of {len(entries):,} videos are missing",) if missing else ()
    return Listing(entries, notes=notes)


def _entries_of(path: Path, root: str | os.PathLike[str] | None) -> list[Entry]:
    header = next(csv.reader(read_text(path).splitlines()), [])
    if "path" in header:
        return list(_csv_rows(path, root))
    if path.suffix == ".csv" and not any(_is_video(word) for word in re.split(r"[\s,]+", " ".join(header))):
        raise DataError(
            f"{path}: the first line must name the columns, among them 'path' (and label, split, group), or be a `path label` line"
        )
    return list(_path_label_rows(path, root))


def _path_label_rows(path: Path, root: str | os.PathLike[str] | None) -> Iterator[Entry]:
    """Lines of `path label` (or `path,label`); the label is the last word, so that paths may hold spaces.

    A line of a path alone has no label.
    """
    place = Below(path, root)
    split = split_in_name(path)
    for number, line in enumerate(read_text(path).splitlines(), 1):
        line = line.strip()
        if not line:
            continue
        parts = None if _is_video(line) else re.fullmatch(r"(.+?)\s*[\s,]\s*([^\s,]+)", line)
        name, label = (parts[1], parts[2]) if parts else (line, None)
        yield place.entry(name, number, label, split)


def _csv_rows(path: Path, root: str | os.PathLike[str] | None) -> Iterator[Entry]:
    """Rows of a CSV whose header names at least `path`, and label, split, group where known."""
    place = Below(path, root)
    reader = csv.DictReader(StringIO(read_text(path)))
    for row in reader:
        if not row["path"]:
            raise DataError(f"{path}, line {reader.line_num}: no path; give every video its path")
        given = (row.get(key) or None for key in ("label", "split", "group"))
        yield place.entry(row["path"], reader.line_num, *given)


def _is_video(word: str) -> bool:
    return Path(word).suffix.lower() in VIDEO_SUFFIXES


class Below:
    """Finds the files that a list names, below one folder and nowhere else."""

    def __init__(self, path: Path, root: str | os.PathLike[str] | None) -> None:
        self.list = path
        self.root = Path(root).resolve() if root is not None else path.resolve().parent
        self._by_name: dict[str, list[Path]] | None = None

    def entry(self, name: str, line: int, label: str | None, split: str | None, group: str | None = None) -> Entry:
        """The entry of the video that a line names, found or missing."""
        path = self.find(name, line)
        return Entry(path, label, split, group, None if path.exists() else missing_because(self.list, self.root))

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
            for video in videos_below(self.root):
                self._by_name.setdefault(video.name, []).append(video)
        found = self._by_name.get(name, [])
        return found[0].resolve() if len(found) == 1 else path
