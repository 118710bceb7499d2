"""How data sets lie on disk: from what a user names to a listing of entries (path, label, split, group).

A folder (one sub-folder a class, train/val/test above them if there are any), a `path label` list, a CSV with a header, a single
file, the address of a folder or file (s3://bucket/videos), or LAYOUT:FOLDER for a data set with a rule of its own. Options of a layout
stand between its name and the colon: ucf101@2:FOLDER or, by name, ucf101@split=2,lists=LISTS:FOLDER. `LAYOUTS` names the rules; the
keyword arguments are the options.

Data sets for label propagation are sequences with masks, joints or parts in place of a label: `SEQUENCE_LAYOUTS` names their rules and
`read_sequences` reads them, by the same words (davis@2016:FOLDER).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssvid.data.layouts.clip import clip
from ssvid.data.layouts.davis import davis
from ssvid.data.layouts.entries import UNUSED, VIDEO_SUFFIXES, Entry, Listing
from ssvid.data.layouts.hmdb51 import hmdb51
from ssvid.data.layouts.jhmdb import jhmdb
from ssvid.data.layouts.kinetics import kinetics400, kinetics600, kinetics700, mini_kinetics
from ssvid.data.layouts.lists import SUFFIXES, list_file, split_lists
from ssvid.data.layouts.motion_world import motion_world
from ssvid.data.layouts.plain import folder_per_class
from ssvid.data.layouts.remote import remote_videos
from ssvid.data.layouts.same_files import shared_files
from ssvid.data.layouts.sequences import LabelledSequence, SequenceListing
from ssvid.data.layouts.ssv2 import ssv2
from ssvid.data.layouts.ucf101 import ucf101
from ssvid.data.layouts.ut_interaction import ut_interaction
from ssvid.data.layouts.vip import vip
from ssvid.data.layouts.webdataset import webdataset
from ssvid.data.layouts.world import world
from ssvid.errors import ConfigError, DataError
from ssvid.video.remote import is_address

__all__ = [
    "LAYOUTS",
    "SEQUENCE_LAYOUTS",
    "UNUSED",
    "VIDEO_SUFFIXES",
    "Entry",
    "LabelledSequence",
    "Listing",
    "SequenceListing",
    "place_of",
    "read_layout",
    "read_sequences",
]

LAYOUTS: dict[str, Callable[..., Listing]] = {
    "folder": folder_per_class,
    "lists": split_lists,
    "ucf101": ucf101,
    "hmdb51": hmdb51,
    "kinetics400": kinetics400,
    "kinetics600": kinetics600,
    "kinetics700": kinetics700,
    "mini_kinetics": mini_kinetics,
    "ssv2": ssv2,
    "ut_interaction": ut_interaction,
    "motion_world": motion_world,
    "webdataset": webdataset,
}
NOT_ONLY_FOLDERS = ("webdataset",)  # layouts that also take a file, a pattern or an address, as it was written
SEQUENCE_LAYOUTS: dict[str, Callable[..., SequenceListing]] = {
    "davis": davis,
    "jhmdb": jhmdb,
    "vip": vip,
    "world": world,
    "clip": clip,
}


def read_layout(source: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Listing:
    """The videos of one source, sorted by path or in the order of its list.

    source: a folder, a video, a .txt list, a .csv, an address of a folder or a video, or LAYOUT:FOLDER or LAYOUT@OPTIONS:FOLDER.
    root: the folder that paths in a list or CSV start from (default: the list's own folder); they may not leave it.
    Raises ConfigError for an unknown layout or option, DataError for a source that is missing or holds no video.
    """
    text = os.fspath(source)
    name, options, folder = _parse(text)
    if name in LAYOUTS:
        return _required(_apply(LAYOUTS[name], name, options, folder), text)
    if is_address(text):
        return _required(remote_videos(text), text)
    path = Path(source)
    if name in SEQUENCE_LAYOUTS:
        raise ConfigError(f"{text}: {name} holds sequences for label propagation, not videos with labels; give videos")
    if name:
        raise ConfigError(
            f"unknown layout {name!r} in {text}, which is no file either.{_close(name, LAYOUTS)} See: ssvid list layouts"
        )
    if path.is_dir():
        return _required(folder_per_class(path), text)
    if not os.path.lexists(path):
        raise DataError(f"{path} does not exist; give a folder of videos, a video, a 'path label' list or a CSV file")
    if path.suffix.lower() in SUFFIXES:
        return _required(list_file(path, root), text)
    return Listing([Entry(Path(os.path.realpath(path.parent), path.name))])


def read_sequences(source: str | os.PathLike[str]) -> SequenceListing:
    """The sequences of one source for label propagation: LAYOUT:FOLDER or LAYOUT@OPTIONS:FOLDER, in the order of its list.

    Raises ConfigError for an unknown layout or option, DataError for files that are missing or cannot be used.
    """
    text = os.fspath(source)
    name, options, folder = _parse(text)
    if name not in SEQUENCE_LAYOUTS:
        close = _close(name, SEQUENCE_LAYOUTS)
        raise ConfigError(f"{text} names no layout of sequences; write LAYOUT:FOLDER, as davis:{folder}.{close}")
    listing: SequenceListing = _apply(SEQUENCE_LAYOUTS[name], name, options, folder)
    if not listing.sequences:
        raise DataError(f"{text} holds no sequence; name the folder that holds the data set")
    return listing


def place_of(source: str | os.PathLike[str]) -> tuple[str, str]:
    """(place, options): what a source reads, with an absolute path, and how, "" for a source that has no options.

    Sources of the same place name the same videos, only with other splits or classes.
    """
    name, options, folder = _parse(os.fspath(source))
    if name in LAYOUTS or name in SEQUENCE_LAYOUTS:
        return f"{name}:{folder if is_address(folder) else os.path.realpath(folder)}", options
    if is_address(folder):
        return folder.rstrip("/"), ""
    path = Path(source)
    return os.path.realpath(path) if path.is_dir() else os.path.join(os.path.realpath(path.parent), path.name), ""


def _parse(source: str) -> tuple[str, str, str]:
    """LAYOUT, OPTIONS and FOLDER of a source; LAYOUT is "" where it is a mere path.

    A path may hold a colon, as 12:30.mp4 does: what is there under that name is meant, unless FOLDER is there too.
    """
    if is_address(source):
        return "", "", source
    parts = re.fullmatch(r"(\w+)(?:@([^:]*))?:(.+)", source, re.DOTALL)
    if parts is None or (
        os.path.lexists(source) and not (parts[1] in (*LAYOUTS, *SEQUENCE_LAYOUTS) and os.path.isdir(parts[3]))
    ):
        return "", "", source
    return parts[1], parts[2] or "", parts[3]


def _apply(layout: Callable[..., Any], name: str, options: str, folder: str) -> Any:
    given = _options(layout, name, options)
    if name in NOT_ONLY_FOLDERS:
        return layout(folder, **given)
    if not Path(folder).is_dir():
        raise DataError(f"{folder} is not a folder; name the folder that holds the data set: {name}:FOLDER")
    return layout(Path(folder), **given)


def _options(layout: Callable[..., Any], name: str, text: str) -> dict[str, Any]:
    """Keyword arguments of a layout, checked against its signature; a value without a name is the first option's."""
    if not text:
        return {}
    from ssvid.config import check_options, option_schema  # OmegaConf, which a listing without options does not need

    known = option_schema(layout)
    given: dict[str, str] = {}
    for word in filter(None, text.split(",")):
        key, equals, value = word.partition("=")
        given.update({key: value} if equals else {next(iter(known), word): word})
    return check_options(layout, given, f"layout {name}")


def _close(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f" Did you mean {close[0]}?" if close else f" Known layouts: {', '.join(known)}."


def _required(listing: Listing, source: str) -> Listing:
    entries = listing.entries
    if not entries:
        raise DataError(f"{source} holds no video; known endings: {' '.join(sorted(VIDEO_SUFFIXES))}")
    lost = [entry for entry in entries if entry.missing]
    if len(lost) == len(entries):
        first = lost[0]
        if any(entry.missing and not entry.missing.startswith("missing:") for entry in lost):
            raise DataError(f"{source} holds no video that can be read; {first.path} {first.missing}")
        raise DataError(
            f"{source}: not one of {len(entries):,} videos is there, the first: {first.path}; name their folder with --root"
        )
    if listing.title:  # an official release, whose clips are what they are
        return listing
    return replace(listing, notes=(*listing.notes, *shared_files(entries)))
