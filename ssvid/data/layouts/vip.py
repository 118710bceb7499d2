"""VIP, Video Instance-level Parsing (Zhou et al., ACM MM 2018): people with 19 parts, one frame in 25 annotated."""

from __future__ import annotations

from pathlib import Path

from ssvid.data.layouts.sequences import (
    PICTURES,
    LabelledSequence,
    SequenceListing,
    files_in,
    masks_of_pictures,
    named_sequences,
    names_in_list,
)
from ssvid.errors import DataError, some

PARTS = (
    *("background", "hat", "hair", "sun-glasses", "upper-clothes", "dress", "coat", "socks", "pants", "gloves"),
    *(
        "scarf",
        "skirt",
        "torso-skin",
        "face",
        "right-arm",
        "left-arm",
        "right-leg",
        "left-leg",
        "right-shoe",
        "left-shoe",
    ),
)
SIZES = {"train": 304, "val": 50, "test": 50}


def vip(folder: Path, *, split: str = "val", lists: str = "") -> SequenceListing:
    """VIP val, the frames that are annotated; vip@train:FOLDER, vip@lists=LIST.txt:FOLDER.

    Files: Images/<video>/<number>.jpg, Annotations/Category_ids/<video>/<number>.png, whose ids are `PARTS`, and a list in lists/ with the
    split in its name; without lists it is all videos. Frames without annotation (adjacent_frames) are not read, as in the benchmark.
    Raises DataError where files are missing or masks cannot be used.
    """
    frames, annotations = folder / "Images", folder / "Annotations" / "Category_ids"
    for place in (frames, annotations):
        if not place.is_dir():
            raise DataError(f"{place} is not there; name the folder that holds VIP's Images and Annotations")
    list_file = _list_file(folder, split, lists)
    if list_file is None:
        names = sorted(path.name for path in frames.iterdir() if path.is_dir() and not path.name.startswith("."))
        notes = [f"there are no lists; all {len(names)} videos are taken"]
    else:
        official = None if lists else SIZES.get(split)
        named = names_in_list(list_file, ["Images", "Category_ids", "adjacent_frames"])
        names, notes = named_sequences(named, frames, list_file, official)
    sequences = []
    for name in names:
        files = files_in(frames / name, PICTURES)
        masks = masks_of_pictures(files, annotations / name)
        sequences.append(LabelledSequence(name, "parts", tuple(files), masks))
    return SequenceListing(sequences, "VIP" + (f" {split}" if list_file else ""), len(PARTS), tuple(notes))


def _list_file(folder: Path, split: str, lists: str) -> Path | None:
    """The list of a split, None where the folder has none at all."""
    if lists:
        if not Path(lists).is_file():
            raise DataError(f"{lists} is no file; name a list of videos, one a line: vip@lists=LIST.txt:{folder}")
        return Path(lists)
    there = sorted((folder / "lists").glob("*.txt"))
    found = [path for path in there if split in path.stem.lower()]
    if there and not found:
        names = some([path.name for path in there])
        raise DataError(f"{folder / 'lists'} has no list with {split} in its name, only {names}; name one with lists=")
    return found[0] if found else None
