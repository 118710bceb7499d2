"""Videos behind an address: s3://bucket/videos, gs://, https:// and whatever else fsspec knows, in folders as on a disk."""

from __future__ import annotations

from pathlib import PurePosixPath

from ssvid.data.layouts.entries import SPLITS, Entry, Listing, is_video_name, split_of
from ssvid.errors import DataError
from ssvid.video import remote

LISTS = (".txt", ".csv", ".tsv")


def remote_videos(address: str) -> Listing:
    """One video, or the videos below a folder, one sub-folder a class, below train/, val/ and test/ where there are any.

    A pattern with * names some of them. Raises DataError for a list, VideoError where nothing is there or it cannot be reached.
    """
    if is_video_name(address):
        return Listing([Entry(address)])
    if address.lower().endswith(LISTS):
        raise DataError(f"{address} is a list; fetch it and name the file: its lines may hold addresses")
    base = address.partition("*")[0].rstrip("/")
    entries = []
    for name, state in remote.find(address).items():
        parents = PurePosixPath(name[len(_start(name, base)) :].lstrip("/")).parts[:-1]
        if not is_video_name(name) or any(part.startswith(".") for part in parents):
            continue
        classes = [part for part in parents if part.lower() not in SPLITS]
        entries.append(Entry(name, classes[-1] if classes else None, split_of(parents), state=state))
    return Listing(entries)


def _start(name: str, base: str) -> str:
    """The part of a name that the folder takes, whose address may be spelled otherwise: memory://a is memory:///a."""
    folder = base.partition("://")[2].strip("/")
    at = name.find(folder, name.find("://") + 3) if folder else -1
    return name[: at + len(folder)] if at >= 0 else name[: name.find("://") + 3]
