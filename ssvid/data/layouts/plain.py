"""A user's own videos in folders, one a class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ssvid.data.layouts.entries import SPLITS, Entry, Found, Listing, is_video_name, placed, search, split_of
from ssvid.errors import DataError, some


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
    splits = [path for path in folder.iterdir() if path.name.lower() in SPLITS and os.path.isdir(path)]
    for place in (folder, *(path for path in splits if path not in found.refused)):
        for path in sorted(place.iterdir()):
            if path.name.startswith(".") or path.name.lower() in SPLITS or path in holding:
                continue
            if not os.path.isdir(path) or Path(os.path.realpath(folder)).is_relative_to(
                os.path.realpath(path)
            ):  # a link back up
                continue
            if not any(files for _, _, files in os.walk(path)):
                raise DataError(f"class {path.name!r} has no video: {path} is empty; fill it or remove it")
            yield path.name
