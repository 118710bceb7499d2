"""What every layout makes: entries, one a video, in a listing that also says how the files on disk differ from the official release."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Sequence
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
    "testing": "test",
}
UNUSED = "unused"  # the split of a video that an official split leaves out


def known_split(name: str | None) -> str | None:
    """A split by the name that is used here, whatever its case and spelling; one that is not known keeps its name."""
    return SPLITS.get(name.strip().lower(), name) if name else None


@dataclass(frozen=True)
class Entry:
    """One video as a data set names it.

    path: absolute; a link keeps its own name, since two class folders may link to one file. Of a video behind an address, that, as a str.
    group: what must not be divided between train and test.
    missing: why the video cannot be used, where a list names a file that is not there, or a folder may not be read; `path` is then what is
    looked for.
    named: where the list would have it, where it was found elsewhere.
    state: size and version, where the listing told them already (see `ssvid.video.location`).
    """

    path: Path | str
    label: str | None = None
    split: str | None = None
    group: str | None = None
    missing: str | None = None
    named: Path | None = None
    state: tuple[int, int] | None = None


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


def read_text(path: Path, names: bool = False) -> str:
    """The text of a list, with or without a byte order mark; UTF-16, which spreadsheets and shells of Windows write, only with one.

    names: keep bytes that are no UTF-8 as Python keeps them in names of files, for a list may name such files.
    Raises DataError where it is not UTF-8, or cannot be read.
    """
    try:
        data = path.read_bytes()
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode("utf-16")
        return data.decode("utf-8-sig", "surrogateescape" if names else "strict")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text in UTF-8 ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error


def is_other_encoding(text: str) -> bool:
    """Whether a text read with `names` holds bytes that are no UTF-8."""
    return any("\udc80" <= letter <= "\udcff" for letter in text)


def split_in_name(path: Path) -> str | None:
    """train, val or test where the name of a file says one of them (kinetics_train_list.txt), else None."""
    named = {SPLITS[word] for word in re.split(r"[^a-z]+", path.stem.lower()) if word in SPLITS}
    return named.pop() if len(named) == 1 else None


def is_video_name(name: str | os.PathLike[str]) -> bool:
    """Whether a name has the ending of a video."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def placed(folder: Path, path: Path) -> Path:
    """The absolute path of what was found below a folder: links below the folder keep their names, so that they stay two."""
    return Path(os.path.realpath(folder)) / path.relative_to(folder)


def split_of(folders: Sequence[str]) -> str | None:
    """The split that the first of these folders names which names one, else None."""
    return next((SPLITS[name.lower()] for name in folders if name.lower() in SPLITS), None)


@dataclass(frozen=True)
class Found:
    """What lies below a folder. videos: sorted. refused: what looks like videos and is none, and why: folders that may not be read, and
    folders named like a video."""

    videos: list[Path]
    refused: dict[Path, str]


def videos_below(folder: Path) -> list[Path]:
    """The video files that `search` finds."""
    return search(folder).videos


def search(folder: Path) -> Found:
    """Every video file below a folder; links are followed, and hidden folders are passed over.

    A folder that several links lead to is entered once for every name it goes by, since its name may be a class, and for every split: a
    circle of links ends.
    """
    videos: list[Path] = []
    refused: dict[Path, str] = {}
    entered: set[tuple[str, str, str | None]] = set()
    reals: dict[Path, str] = {}

    def unreadable(error: OSError) -> None:
        refused[Path(error.filename)] = (
            f"may not be read ({(error.strerror or str(error)).lower()}); check its permissions"
        )

    for parent, folders, files in os.walk(folder, followlinks=True, onerror=unreadable):
        path = Path(parent)
        split = split_of(path.relative_to(folder).parts)
        reals[path] = os.path.realpath(parent)
        place = (reals[path], path.name, split)
        if place in entered or reals[path] in (reals.get(above) for above in path.parents):
            folders[:] = []
            continue
        entered.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        videos += [path / name for name in files if is_video_name(name)]
        refused |= {path / name: "is a folder, not a video file" for name in folders if is_video_name(name)}
    holding = {above for video in videos for above in video.parents}
    return Found(sorted(videos), {path: why for path, why in sorted(refused.items()) if path not in holding})
