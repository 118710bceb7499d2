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
    Entry,
    Found,
    Listing,
    is_other_encoding,
    is_video_name,
    missing_because,
    placed,
    read_text,
    search,
    split_in_name,
    split_of,
    videos_below,
)
from ssvid.data.layouts.official import some
from ssvid.errors import DataError


def folder_per_class(folder: Path) -> Listing:
    """One sub-folder a class, below train/, val/ and test/ where there are any; a plain FOLDER means the same.

    A video's parent folder is its label, a split folder on the way its split. A folder that is named like a video is neither. One that may
    not be read is an entry with the reason. Raises DataError for an empty class folder.
    """
    found = search(folder)
    entries = []
    for path in found.videos:
        parents = path.relative_to(folder).parts[:-1]
        classes = [part for part in parents if part.lower() not in SPLITS and not is_video_name(part)]
        entries.append(Entry(placed(folder, path), classes[-1] if classes else None, split_of(parents)))
    notes: tuple[str, ...] = ()
    if any(entry.label for entry in entries):
        others = list(_folders_without_video(folder, found))
        notes = (f"{len(others)} folders hold files but no video and are no class: {some(others)}",) if others else ()
    entries += [Entry(placed(folder, path), missing=why) for path, why in found.refused.items()]
    return Listing(entries, notes=notes)


def _folders_without_video(folder: Path, found: Found) -> Iterator[str]:
    """Names of the folders where a class could be that hold other files only. Raises DataError for one that holds none at all."""
    holding = {above for path in (*found.videos, *found.refused) for above in (path, *path.parents)}
    splits = [path for path in folder.iterdir() if path.name.lower() in SPLITS and path.is_dir()]
    for place in (folder, *(path for path in splits if path not in found.refused)):
        for path in sorted(place.iterdir()):
            if path.name.startswith(".") or path.name.lower() in SPLITS or path in holding or not path.is_dir():
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
    if path.suffix == ".csv" and not any(is_video_name(word) for word in re.split(r"[\s,]+", " ".join(header))):
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
        parts = None if is_video_name(line) else re.fullmatch(r"(.+?)\s*[\s,]\s*([^\s,]+)", line)
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


class Below:
    """Finds the files that a list names, below one folder and nowhere else."""

    def __init__(self, path: Path, root: str | os.PathLike[str] | None) -> None:
        self.list = path
        self.root = Path(os.path.realpath(root if root is not None else path.parent))
        self._by_name: dict[str, list[Path]] | None = None

    def entry(self, name: str, line: int, label: str | None, split: str | None, group: str | None = None) -> Entry:
        """The entry of the video that a line names, found or missing."""
        path = self.find(name, line)
        return Entry(
            path, label, split, group, None if os.path.lexists(path) else missing_because(self.list, self.root)
        )

    def find(self, name: str, line: int) -> Path:
        """Path of `name`, which may be absolute and lead over links; a bare file name is also found in a sub-folder, if it is there once.

        Raises DataError for one that leaves the folder, and for one in another encoding than UTF-8.
        """
        path = Path(os.path.normpath(self.root / name))
        if not os.path.isabs(name) and not path.is_relative_to(self.root):
            raise DataError(
                f"{self.list}, line {line}: {name} leaves the folder {self.root}; name its folder with --root"
            )
        if os.path.lexists(path):
            return path
        if is_other_encoding(name):
            raise DataError(f"{self.list}, line {line}: not a text in UTF-8, nor the name of a file; save it as UTF-8")
        if "/" in name:
            return path
        if self._by_name is None:
            self._by_name = {}
            for video in videos_below(self.root):
                self._by_name.setdefault(video.name, []).append(video)
        found = self._by_name.get(name, [])
        return placed(self.root, found[0]) if len(found) == 1 else path
