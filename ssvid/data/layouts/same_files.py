"""Files that a source names more than once, by links: two class folders may share a video, and so may training and test."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ssvid.data.layouts.entries import Entry
from ssvid.errors import some


def shared_files(entries: Iterable[Entry]) -> list[str]:
    """Sentences that count the files with several names, by what contradicts itself: the split, the class, or nothing."""
    by_file: dict[tuple[int, int], list[Entry]] = {}
    for entry in entries:
        if entry.missing is None and (file := _identity(entry.path)):
            by_file.setdefault(file, []).append(entry)
    shared = [group for group in by_file.values() if len(group) > 1]
    splits = [group for group in shared if len({entry.split for entry in group}) > 1]
    labels = [group for group in shared if group not in splits and len({entry.label for entry in group}) > 1]
    others = [group for group in shared if group not in splits and group not in labels]
    told = (
        (splits, "are in two splits by links, so what is tested was trained on"),
        (labels, "are in two classes by links"),
        (others, "have several names by links and count as often"),
    )
    return [
        f"{len(groups):,} files {what}: {some([_names(group) for group in groups])}" for groups, what in told if groups
    ]


def _identity(path: Path | str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_ino else None


def _names(group: list[Entry]) -> str:
    folder = os.path.commonpath([os.path.dirname(entry.path) for entry in group])
    return " = ".join(os.path.relpath(entry.path, folder) for entry in group[:2])
