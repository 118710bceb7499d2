"""What the official data sets share: finding their split files, finding the videos these name, and telling how a copy differs."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ssvid.data.layouts.entries import UNUSED, Entry, missing_because, placed, read_text, search
from ssvid.errors import DataError, some


def find_lists(folder: Path, lists: str, pattern: str, places: Sequence[str], remedy: str) -> list[Path]:
    """Split files whose whole name matches `pattern`, sorted, from the first folder that holds any.

    Looked for in `lists` where it is given, else in `folder` and the folder it lies in; in each of them also in `places`, in
    annotations/ and in annotations/`places`.
    Raises DataError, ending in `remedy`, where there are none.
    """
    roots = [Path(lists)] if lists else [folder, folder.absolute().parent]
    searched = [
        root / place
        for root in roots
        for place in ("", *places, "annotations", *(f"annotations/{place}" for place in places))
    ]
    for place in searched:
        names = [path for path in place.iterdir() if re.fullmatch(pattern, path.name)] if place.is_dir() else []
        if names:
            return sorted(names)
    where = " or ".join(str(root) for root in roots)
    raise DataError(f"no split files in {where}, nor in {', '.join([*places, 'annotations'])} below; {remedy}")


def read_lines(path: Path) -> list[str]:
    """Lines of a split file that are not empty, without the white space around them (official files end in CRLF or a space)."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


class VideoFinder:
    """The videos below a folder, found by name alone: whatever sub-folder or container a copy has put them into.

    key: what of a name without its ending identifies a video; str.casefold where the official files differ in case.
    """

    def __init__(self, folder: Path, key: Callable[[str], str] = str) -> None:
        self.folder = folder
        self._key = key
        self._asked: set[str] = set()
        self._videos: dict[str, list[Path]] = {}
        found = search(folder)
        self._refused = found.refused
        for path in found.videos:
            self._videos.setdefault(key(path.stem), []).append(path)

    def find(self, *names: str) -> Path | None:
        """The video that has one of these names (file names without ending), the first that is there."""
        for key in map(self._key, names):
            self._asked.add(key)
            if key in self._videos:
                return self._videos[key][0]
        return None

    def entry(
        self, named: str, list_file: Path, label: str | None, split: str | None, group: str | None = None, *aliases: str
    ) -> Entry:
        """The entry of a video that `list_file` calls `named` (a path below the folder), found or missing."""
        expected = self.folder / named
        found = self.find(expected.name.removesuffix(expected.suffix), *aliases)
        if found is None:
            reason = missing_because(list_file, self.folder)
            return Entry(placed(self.folder, expected), label, split, group, missing=reason)
        elsewhere = None if found == expected else placed(self.folder, expected)
        return Entry(placed(self.folder, found), label, split, group, named=elsewhere)

    def notes(self) -> list[str]:
        """What the folder holds beside the videos asked for so far."""
        unlisted = [paths[0].name for key, paths in self._videos.items() if key not in self._asked]
        twice = [
            paths[0].name
            for key, paths in self._videos.items()
            if key in self._asked and len(paths) > 1 and len({os.path.realpath(one) for one in paths}) > 1
        ]
        notes = [f"{path}: {why}" for path, why in self._refused.items()]
        if unlisted:
            notes.append(f"{len(unlisted):,} videos under {self.folder} are in no list and left out: {some(unlisted)}")
        if twice:
            notes.append(f"{len(twice):,} videos are there more than once and read from the first place: {some(twice)}")
        return notes


def deviations(entries: Sequence[Entry], sizes: Mapping[str, int], classes: int) -> list[str]:
    """How lists and files differ from the official release: `sizes` of the splits, number of `classes`, missing videos.

    Raises DataError where not one of the listed videos is there.
    """
    listed = Counter(entry.split for entry in entries)
    missing = Counter(entry.split for entry in entries if entry.missing)
    labels = {entry.label for entry in entries if entry.label is not None}
    empty = sorted(labels - {entry.label for entry in entries if entry.label is not None and not entry.missing})
    if len(entries) == missing.total():
        raise DataError(
            f"not one of {len(entries):,} videos is there ({entries[0].missing}); name the folder that holds them"
        )
    notes = [
        f"the lists name {listed[split]:,} {split} videos, officially {size:,}"
        for split, size in sizes.items()
        if listed[split] != size
    ]
    if len(labels) != classes:
        notes.append(f"the lists name {len(labels)} classes, officially {classes}")
    notes += [
        f"{missing[split]:,} of {listed[split]:,} {split or 'further'} videos are missing"
        for split in ("train", "val", "test", UNUSED, None)
        if missing[split]
    ]
    if empty:
        notes.append(f"{len(empty)} of {len(labels)} classes have no video: {some(empty)}")
    return notes
