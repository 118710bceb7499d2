"""Videos within tars: where each member lies, so that it is read by its bytes and the rest of the tar is not touched.

A member is named as if the tar were a folder: shards/train-000.tar/clip7.mp4. Only tars that are not compressed can be read so.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple

from ssvid.errors import VideoError
from ssvid.files import write_text
from ssvid.video import fetched, remote
from ssvid.video.remote import FileState, RemoteError, is_address

LABELS = (".cls", ".json", ".txt")  # members whose text says something of the video beside them
LONGEST = 1 << 16  # bytes of such a text
_MEMBER = re.compile(r"(.+?\.tar)/(.+)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class TarTable:
    """What lies in a tar.

    Attributes:
        places: offset and length in bytes of every member, by its name.
        texts: the text of every small member that ends as `LABELS` do.
        ranges: whether the tar can be read by ranges of bytes; else it is fetched as a whole.
    """

    places: dict[str, tuple[int, int]]
    texts: dict[str, str]
    ranges: bool


class Range(NamedTuple):
    """Bytes of a file on a disk that are a file of their own."""

    file: str
    start: int
    length: int


def local_range(path: str) -> Range | None:
    """Where the bytes of a member of a tar on a disk lie; None for any other path. Raises VideoError for what is not in its tar."""
    if is_address(path) or (inside := split_member(path)) is None:
        return None
    return Range(inside[0], *member_place(*inside))


def split_member(path: str) -> tuple[str, str] | None:
    """The tar and the name in it, of a path that leads into a tar, else None; a folder may be called x.tar too."""
    if ".tar/" not in path.lower():
        return None
    found = _MEMBER.fullmatch(path)
    if found is None or not (is_address(path) or os.path.isfile(found[1])):
        return None
    return found[1], found[2]


def tar_state(tar: str) -> FileState:
    """How a tar stands. Raises OSError or RemoteError."""
    if is_address(tar):
        return remote.state(tar)
    stat = os.stat(tar)
    return FileState(stat.st_size, stat.st_mtime_ns)


def table_of(tar: str) -> TarTable:
    """What lies in a tar; read once in one pass and kept in the cache. Raises VideoError for what is no tar."""
    return _table(tar, tar_state(tar))


def member_place(tar: str, member: str) -> tuple[int, int]:
    """Offset and length of a member. Raises VideoError where there is none."""
    place = table_of(tar).places.get(member)
    if place is None:
        raise VideoError(f"{tar}/{member}", "no such file in the tar; it has changed, so index it again (ssvid index)")
    return place


def copy_member(tar: str, member: str, target: Path) -> None:
    """Write the bytes of a member to a file. Raises VideoError."""
    start, length = member_place(tar, member)
    if not is_address(tar):
        _copy_bytes(tar, start, length, target)
    elif table_of(tar).ranges:
        remote.fetch_range(tar, start, length, target)
    else:
        with _whole(tar, tar_state(tar)) as file:
            _copy_bytes(file, start, length, target)


@lru_cache(1024)
def _table(tar: str, state: FileState) -> TarTable:
    with fetched.held(
        fetched.copy_name(f"table of {tar}", *state, ".json"), lambda target: _write_table(tar, state, target)
    ) as kept:
        told = json.loads(Path(kept).read_text(encoding="utf-8"))
    return TarTable({name: (at, size) for name, (at, size) in told["places"].items()}, told["texts"], told["ranges"])


def _write_table(tar: str, state: FileState, target: Path) -> None:
    ranges = True
    try:
        if not is_address(tar):
            with open(tar, "rb") as file:
                places, texts = _read_table(file)
        else:
            try:
                with remote.opened(tar) as file:
                    places, texts = _read_table(file)
            except RemoteError:  # a server without ranges
                ranges = False
                with _whole(tar, state) as whole, open(whole, "rb") as file:
                    places, texts = _read_table(file)
    except (tarfile.TarError, EOFError) as error:
        raise VideoError(tar, f"is not a tar that can be read in place ({error}); do not compress it") from None
    write_text(target, json.dumps({"places": places, "texts": texts, "ranges": ranges}))


def _read_table(file: IO[bytes]) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    places, texts = {}, {}
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            if not member.isreg() or member.sparse is not None:
                continue
            places[member.name] = member.offset_data, member.size
            if member.name.lower().endswith(LABELS) and member.size <= LONGEST:
                content = tar.extractfile(member)
                texts[member.name] = content.read().decode("utf-8", "replace") if content else ""
    return places, texts


def _whole(tar: str, state: FileState) -> Any:
    name = fetched.copy_name(tar, *state, ".tar")
    return fetched.held(name, lambda target: remote.fetch(tar, target, state.size))


def _copy_bytes(path: str, start: int, length: int, target: Path) -> None:
    with open(path, "rb") as source, open(target, "wb") as out:
        source.seek(start)
        left = length
        while left and (data := source.read(min(left, shutil.COPY_BUFSIZE))):  # type: ignore[attr-defined]
            out.write(data)
            left -= len(data)
    if left:
        raise VideoError(path, "ends before its last member; fetch it again")
