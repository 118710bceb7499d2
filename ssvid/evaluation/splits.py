"""Which videos train and which test: the data set's own split, or each group left out once."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ssvid.data.layouts import UNUSED, place_of
from ssvid.data.scanning import INDEX_SUFFIXES, open_data
from ssvid.data.splits import has_own_split, held_out_split
from ssvid.data.video_record import VideoRecord, fingerprint
from ssvid.errors import DataError
from ssvid.evaluation.inner_folds import Fold, unvalidated
from ssvid.progress import Progress
from ssvid.video.identity import check_unchanged
from ssvid.video.location import at_hand, is_address, is_file_path


@dataclass(frozen=True)
class Labelled:
    """A labelled data set, ready to be tested on. name: as columns show it. source: what the user named. videos: labelled and usable.
    folds: every test video of all folds counts once. flip: whether a mirrored video keeps its label. notes: what a reader must know of
    the files: how they differ from the official release, how many cannot be used."""

    name: str
    source: str
    videos: list[VideoRecord]
    folds: list[Fold]
    flip: bool = True
    notes: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the videos, their labels and their split."""
        return fingerprint(self.videos)

    @property
    def classes(self) -> list[str]:
        """The labels, sorted."""
        return sorted({str(video.label) for video in self.videos})

    @property
    def synthetic(self) -> bool:
        """Whether the videos are the motion world's."""
        return any((folder / "world.json").exists() for folder in list(Path(self.videos[0].path).parents)[:3])

    @property
    def tested(self) -> int:
        """Number of test videos over all folds."""
        return sum(len(test) for _, test in self.folds)

    def facts(self) -> dict[str, Any]:
        """What a cell's JSON says of the data set."""
        return {
            "name": self.name,
            "source": self.source,
            "split": self.split,
            "videos": len(self.videos),
            "tested": self.tested,
            "fingerprint": self.fingerprint,
        }

    @property
    def split(self) -> str:
        """The split in words."""
        if len(self.folds) > 1:
            return f"leave one group out, {len(self.folds)} folds, {len(self.videos)} videos"
        return f"own split, {len(self.folds[0][0])} train, {len(self.folds[0][1])} test"


def open_labelled(source: str, progress: Progress | None = None) -> Labelled:
    """The labelled videos of a source (as `read_layout` takes it, or an index) with their folds.

    Raises DataError where nothing usable or labelled is there, or where the videos cannot be split; VideoError for a file that has
    changed since it was indexed.
    """
    index = open_data([source], progress)
    usable = [video for video in index.videos() if video.split != UNUSED]
    videos = [video for video in usable if video.label is not None]
    if not videos:
        raise DataError(
            f"none of the {len(usable)} videos of {source} has a label; put each class into a folder, or give a list or a CSV with labels"
        )
    if _is_index(source):  # of a folder or list the files have just been looked at
        _check_unchanged(videos)
    try:
        found = folds(videos)
    except DataError as error:
        raise DataError(f"{source}: {error}") from error
    bad = (
        f"{len(index.bad())} bad or missing files left out, the first: {Path(index.bad()[0].path).name}"
        if index.bad()
        else ""
    )
    gone = (
        f"{len(index.gone())} videos that left their sources are left out" if _is_index(source) and index.gone() else ""
    )
    notes = tuple(filter(None, (*index.notes, bad, gone, unvalidated(videos, found))))
    return Labelled(name_of(source), source, videos, found, index.flip, notes)


def _check_unchanged(videos: Sequence[VideoRecord]) -> None:
    """Raise VideoError for a file that is not the one that was indexed, since results that are kept are known by that; where there is a
    training copy, which is read in its place, it may be gone."""
    for video in videos:
        identity = video.info.identity
        if not identity or at_hand(video.path, identity):
            continue
        if video.copy is None or (is_file_path(video.path) and os.path.exists(video.path)):
            check_unchanged(video.path, identity)


def _is_index(source: str) -> bool:
    return Path(source).suffix in INDEX_SUFFIXES and Path(source).is_file()


def name_of(source: str) -> str:
    """A data set's name in a table: its layout with the options, else the file or folder; of paths only the last part."""
    if is_address(source):
        return source.rstrip("/").rpartition("/")[2]
    place, options = place_of(source)
    layout, colon, _ = place.partition(":")
    if colon and "/" not in layout:
        return f"{layout} {re.sub(r'[^,=]*/', '', options)}".strip()
    return Path(source).stem


def folds(videos: Sequence[VideoRecord]) -> list[Fold]:
    """(train, test) positions: the data set's own train and test (or val) videos, else each group left out once.

    Raises DataError where there is neither, where a video has no label, or where a class is missing from the training videos.
    """
    unlabelled = [video.path for video in videos if video.label is None]
    if unlabelled:
        raise DataError(
            f"{len(unlabelled)} videos have no label, the first: {unlabelled[0]}; put each class into a folder or give a CSV"
        )
    splits = np.array([video.split or "" for video in videos])
    groups = np.array([video.group or "" for video in videos])
    if has_own_split(videos):
        found = [(np.flatnonzero(splits == "train"), np.flatnonzero(splits == held_out_split(videos)))]
    elif len(set(groups)) > 1 and "" not in groups:
        found = [(np.flatnonzero(groups != group), np.flatnonzero(groups == group)) for group in sorted(set(groups))]
    else:
        raise DataError(
            "no way to split the videos: put them into train/ and test/, or give a CSV with a split or group column"
        )
    labels = np.array([video.label for video in videos])
    for train, test in found:
        unseen = sorted(set(labels[test]) - set(labels[train]))
        if unseen:
            count = int((labels[test] == unseen[0]).sum())
            raise DataError(
                f"class {str(unseen[0])!r} has {count} test videos but no training video; add some, or take the class out of the list"
            )
    return found
