"""A user's own lists: `path label` lines and CSV files, and where the videos are that they name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ssvid.data.layouts.entries import (
    Entry,
    Listing,
    is_other_encoding,
    missing_because,
    placed,
    split_in_name,
    videos_below,
)
from ssvid.data.layouts.list_rows import ListRow, read_rows
from ssvid.errors import DataError
from ssvid.video.remote import is_address

SUFFIXES = (".txt", ".csv", ".tsv")


def split_lists(folder: Path, *, root: str = "") -> Listing:
    """A folder of train, val and test lists (.txt, .csv or .tsv); lists@root=VIDEOS:FOLDER says where paths start.

    The format of SlowFast and VideoMAE. A list's split is the one in its name, as in val.csv or my_train_list.txt.
    """
    lists = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES and split_in_name(path)]
    if not lists:
        raise DataError(f"{folder} holds no list with train, val or test in its name (train.csv, val.txt); add one")
    return _listing([(path, row) for path in lists for row in read_rows(path)], root or None)


def list_file(path: Path, root: str | os.PathLike[str] | None = None) -> Listing:
    """The videos of a list: a table whose header names `path`, one without a header, or lines of `path label`.

    root: the folder its paths start from, by default its own. Raises DataError where a relative path leaves that folder, and where one
    video has two labels or two splits.
    """
    return _listing([(path, row) for row in read_rows(path)], root)


def _listing(rows: Sequence[tuple[Path, ListRow]], root: str | os.PathLike[str] | None) -> Listing:
    places = {path: Below(path, root) for path, _ in rows}
    entries: dict[Path | str, Entry] = {}
    twice: list[str] = []
    for path, row in rows:
        entry = places[path].entry(row)
        before = entries.setdefault(entry.path, entry)
        if before == entry:
            twice += [] if before is entry else [row.path]
            continue
        for what in ("label", "split", "group"):
            one, other = getattr(before, what), getattr(entry, what)
            if one != other:
                raise DataError(
                    f"{path}, line {row.line}: {row.path} has the {what} {other or 'none'!r} here and {one or 'none'!r} before; "
                    f"{_count(rows)} paths stand there more than once, so keep one line of each"
                )
    missing = sum(entry.missing is not None for entry in entries.values())
    notes = [f"{missing:,} of {len(entries):,} videos are missing"] if missing else []
    notes += [f"{len(twice):,} lines repeat another and count once"] if twice else []
    return Listing(list(entries.values()), notes=tuple(notes))


def _count(rows: Sequence[tuple[Path, ListRow]]) -> int:
    return sum(count > 1 for count in Counter(row.path for _, row in rows).values())


class Below:
    """Finds the files that a list names, below one folder or where they say."""

    def __init__(self, path: Path, root: str | os.PathLike[str] | None) -> None:
        self.list = path
        self.root = Path(os.path.realpath(root if root is not None else path.parent))
        self._by_name: dict[str, list[Path]] | None = None

    def entry(self, row: ListRow) -> Entry:
        """The entry of the video that a line names, found or missing; of an address it is not asked whether it is there."""
        if is_address(row.path):
            return Entry(row.path, row.label, row.split, row.group)
        path = self.find(row.path, row.line)
        reason = None if os.path.lexists(path) else missing_because(self.list, self.root)
        return Entry(path, row.label, row.split, row.group, reason)

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
