"""Kinetics-400, 600 and 700 (arXiv 1705.06950, 1808.01340, 1907.06987) and Mini-Kinetics-200 (arXiv 1712.04851).

Videos vanish from YouTube, so every copy is another data set: what the lists name and the copy lacks is reported and is no error.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

from ssvid.data.layouts.entries import SPLITS, Listing, read_text, split_in_name
from ssvid.data.layouts.official import VideoFinder, deviations, find_lists, read_lines
from ssvid.data.layouts.plain import folder_per_class
from ssvid.errors import DataError

ID_LENGTH = 11  # characters of a YouTube id; they are case-sensitive
COLUMNS = {"youtube_id", "time_start", "time_end"}
MINI_SIZES = {"train": 80_000, "val": 5_000}
MINI_CLASSES = 200


@dataclass(frozen=True)
class KineticsRow:
    """One line of an official CSV; start and end in seconds."""

    list_file: Path
    id: str
    start: int
    end: int
    label: str | None
    split: str | None

    @property
    def stem(self) -> str:
        """The official file name without its ending."""
        return f"{self.id}_{self.start:06d}_{self.end:06d}"


def kinetics400(folder: Path, *, lists: str = "") -> Listing:
    """Kinetics-400 with its CSV lists (kinetics400@lists=LISTS:FOLDER says where), or as train/ and val/ with a folder per class."""
    return _kinetics(folder, lists, 400)


def kinetics600(folder: Path, *, lists: str = "") -> Listing:
    """Kinetics-600 with its CSV lists (kinetics600@lists=LISTS:FOLDER says where), or as train/ and val/ with a folder per class."""
    return _kinetics(folder, lists, 600)


def kinetics700(folder: Path, *, lists: str = "") -> Listing:
    """Kinetics-700 with its CSV lists (kinetics700@lists=LISTS:FOLDER says where), or as train/ and val/ with a folder per class."""
    return _kinetics(folder, lists, 700)


def mini_kinetics(folder: Path, *, lists: str = "") -> Listing:
    """Mini-Kinetics-200: the id lists of the S3D paper over a copy of Kinetics-400; mini_kinetics@lists=LISTS:FOLDER says where.

    train_ytid_list.txt and val_ytid_list.txt hold ids alone; labels come from the Kinetics-400 CSVs beside them, else from the class
    folders of the videos. Raises DataError where the id lists, every label or every video is missing.
    """
    remedy = (
        "get train_ytid_list.txt and val_ytid_list.txt (https://github.com/s9xie/Mini-Kinetics-200) "
        f"and say where they are: mini_kinetics@lists=FOLDER:{folder}"
    )
    files = find_lists(folder, lists, "(train|val)_ytid_list.txt", ["mini_kinetics_200"], remedy)
    rows = {row.id: row for row in _read_csvs(files[0].parent.glob("*.csv")) or _find_csvs(folder, "")}
    finder = VideoFinder(folder, lambda stem: stem[:ID_LENGTH])
    entries = []
    for file in files:
        split = split_in_name(file)
        for id in read_lines(file):
            row = rows.get(id)
            found = finder.find(id)
            label = row.label if row else _class_folder(found, folder) if found else None
            name = f"{split}/{label or ''}/{row.stem if row else id}.mp4"
            entries.append(finder.entry(name, file, label, split, id))
    notes = deviations(entries, MINI_SIZES, MINI_CLASSES)
    unlabelled = sum(entry.label is None and not entry.missing for entry in entries)
    if all(entry.label is None for entry in entries):
        raise DataError(
            f"no label is known: put train.csv and val.csv of Kinetics-400 into {files[0].parent}, or the videos into class folders"
        )
    if unlabelled:
        notes.append(f"{unlabelled:,} videos have no label: their ids are not in the CSV lists of Kinetics-400")
    return Listing(entries, "Mini-Kinetics-200", notes=tuple(notes))


def _kinetics(folder: Path, lists: str, classes: int) -> Listing:
    """Kinetics as CSV lists name it, wherever below the folder a video lies; without lists, as its folders name it.

    Files: <id>_<start, 6 digits>_<end, 6 digits>.mp4 (or <id>.mp4), in any sub-folder. The group is the YouTube video.
    """
    title = f"Kinetics-{classes}"
    rows = _find_csvs(folder, lists)
    if not rows:
        return _by_folders(folder, title, classes)
    finder = VideoFinder(folder)
    entries = [
        finder.entry(
            f"{row.split or ''}/{row.label or ''}/{row.stem}.mp4", row.list_file, row.label, row.split, row.id, row.id
        )
        for row in rows
    ]
    return Listing(entries, title, notes=tuple(deviations(entries, {}, classes) + finder.notes()))


def _by_folders(folder: Path, title: str, classes: int) -> Listing:
    """train/ and val/ with a folder a class, as most copies lie; class folders write spaces as spaces or as `_`."""
    listing = folder_per_class(folder)
    if not any(entry.split and entry.label for entry in listing.entries):
        raise DataError(
            f"{folder} has neither CSV lists (columns {', '.join(sorted(COLUMNS))}) in it or beside it nor train/CLASS and val/CLASS "
            f"folders; get train.csv and val.csv (https://github.com/cvdfoundation/kinetics-dataset) and say where they are: "
            f"{title.lower().replace('-', '')}@lists=FOLDER:{folder}"
        )
    entries = [replace(entry, label=entry.label and entry.label.replace("_", " ")) for entry in listing.entries]
    found = len({entry.label for entry in entries if entry.label})
    notes = [*listing.notes, "no CSV lists found: which videos are missing is not known"]
    if found != classes:
        notes.append(f"{found} class folders, officially {classes} classes")
    return Listing(entries, title, notes=tuple(notes))


def _find_csvs(folder: Path, lists: str) -> list[KineticsRow]:
    """Rows of the CSV lists; none where there is no list and none was asked for."""
    remedy = f"name a folder with the official CSV lists (columns {', '.join(sorted(COLUMNS))})"
    try:
        files = find_lists(folder, lists, r".+\.csv", [], remedy)
    except DataError:
        if lists:
            raise
        return []
    rows = _read_csvs(files)
    if lists and not rows:
        raise DataError(f"{lists} holds no CSV list of Kinetics; {remedy}")
    return rows


def _read_csvs(files: Iterator[Path] | Sequence[Path]) -> list[KineticsRow]:
    """Rows of those files that have the official columns, each clip once."""
    rows: dict[str, KineticsRow] = {}
    for path in sorted(files):
        reader = csv.DictReader(StringIO(read_text(path)), skipinitialspace=True)
        if COLUMNS.issubset(reader.fieldnames or ()):
            for line in reader:
                row = _row(path, reader.line_num, line)
                rows.setdefault(row.stem, row)
    return list(rows.values())


def _row(path: Path, number: int, line: dict[str, str]) -> KineticsRow:
    given = {key: (value or "").strip() for key, value in line.items() if key}
    try:
        start, end = int(float(given["time_start"])), int(float(given["time_end"]))
    except ValueError as error:
        raise DataError(
            f"{path}, line {number}: time_start and time_end must be seconds; get the list again"
        ) from error
    split = SPLITS.get(given.get("split", "").lower()) or split_in_name(path)
    return KineticsRow(path, given["youtube_id"], start, end, given.get("label") or None, split)


def _class_folder(path: Path, folder: Path) -> str | None:
    """The class a video's folder names: neither the data set's own folder nor train/ or val/."""
    parent = path.parent
    return None if parent == folder or parent.name.lower() in SPLITS else parent.name.replace("_", " ")
