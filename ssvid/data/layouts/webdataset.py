"""Tars of samples, as the webdataset package writes and reads them: clip7.mp4 and clip7.cls are one video and its class."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from glob import glob
from pathlib import Path

from ssvid.data.layouts.entries import Entry, Listing, is_video_name, split_in_name, split_of
from ssvid.errors import DataError
from ssvid.video import remote
from ssvid.video.remote import is_address
from ssvid.video.tars import LABELS, table_of

CLASS_KEYS = ("label", "class", "category")  # of a JSON text, the first that is there
_SAMPLE = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)", re.DOTALL)
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def webdataset(source: str, *, label: str = "") -> Listing:
    """Tars of samples: a folder of them, one tar, or TRAIN-{000..146}.tar or TRAIN-*.tar, here or behind an address.

    A video's class is the text of KEY.cls, KEY.json (label, class or category) or KEY.txt; webdataset@label=json:FOLDER takes that one.
    Its split is the one that the name of its tar, or of a folder, says. Videos are read where they lie in the tar.
    """
    if label and f".{label}" not in LABELS:
        raise DataError(f"webdataset has no label {label!r}; labels are {', '.join(word[1:] for word in LABELS)}")
    shards = list(_shards(source))
    if not shards:
        raise DataError(f"{source} holds no tar; name a folder of tars, a tar, or a pattern as train-{{000..146}}.tar")
    entries = [entry for shard in shards for entry in _entries(shard, label)]
    notes = []
    if label and (without := sum(entry.label is None for entry in entries)):
        notes.append(f"{without:,} of {len(entries):,} videos have no class in .{label}")
    return Listing(entries, notes=tuple(notes))


def _shards(source: str) -> Iterator[str]:
    """Paths or addresses of the tars that a source means, sorted where it names them by a folder or *."""
    found = _RANGE.search(source)
    if found is not None:
        first, last = found[1], found[2]
        for number in range(int(first), int(last) + 1):
            yield from _shards(f"{source[: found.start()]}{number:0{len(first)}d}{source[found.end() :]}")
    elif is_address(source):
        if "*" not in source and source.lower().endswith(".tar"):
            yield source
        else:
            yield from (name for name in remote.find(source) if name.lower().endswith(".tar"))
    elif Path(source).is_dir():
        yield from sorted(str(path.resolve()) for path in Path(source).rglob("*.tar") if path.is_file())
    elif "*" in source:
        yield from sorted(str(Path(path).resolve()) for path in glob(source, recursive=True))
    elif Path(source).is_file():
        yield str(Path(source).resolve())
    else:
        raise DataError(
            f"{source} does not exist; name a folder of tars, a tar, or a pattern as train-{{000..146}}.tar"
        )


def _entries(shard: str, label: str) -> Iterator[Entry]:
    table = table_of(shard)
    texts: dict[str, dict[str, str]] = {}
    for name, text in table.texts.items():
        if found := _SAMPLE.fullmatch(name):
            texts.setdefault(found[1], {})[Path(name).suffix.lower()] = text
    split = split_in_name(Path(shard)) or split_of(Path(shard).parts[-2::-1][:1])
    for name in table.places:
        found = _SAMPLE.fullmatch(name)
        if found is None or not is_video_name(name):
            continue
        path = f"{shard}/{name}"
        told = _class_of(path, texts.get(found[1], {}), [f".{label}"] if label else LABELS)
        yield Entry(path if is_address(shard) else Path(path), told, split)


def _class_of(path: str, texts: dict[str, str], endings: list[str] | tuple[str, ...]) -> str | None:
    """The class that the texts beside a video tell, by the first of these endings that tells one."""
    for ending in endings:
        if ending not in texts:
            continue
        text: object = texts[ending].strip()
        if ending == ".json":
            try:
                told = json.loads(texts[ending])
            except ValueError as error:
                raise DataError(f"the .json beside {path} is not JSON ({error}); mend the tar") from error
            text = next((told[key] for key in CLASS_KEYS if key in told), "") if isinstance(told, dict) else told
        if text != "" and text is not None:
            return str(text)
    return None
