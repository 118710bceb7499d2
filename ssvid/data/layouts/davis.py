"""DAVIS 2016 (Perazzi et al., CVPR 2016) and 2017 (Pont-Tuset et al., arXiv 1704.00675). https://davischallenge.org"""

from __future__ import annotations

from pathlib import Path

from ssvid.data.layouts.sequences import (
    PICTURES,
    LabelledSequence,
    SequenceListing,
    check_no_gap,
    files_in,
    masks_of_pictures,
    named_sequences,
    names_in_list,
)
from ssvid.errors import ConfigError, DataError

SIZES = {2016: {"train": 30, "val": 20}, 2017: {"train": 60, "val": 30, "test-dev": 30, "test-challenge": 30}}


def davis(
    folder: Path, *, year: int = 2017, split: str = "val", lists: str = "", resolution: str = "480p"
) -> SequenceListing:
    """DAVIS 2017 val, or with davis@2016:FOLDER the one of 2016; davis@2017,split=train:FOLDER, davis@lists=LIST.txt:FOLDER.

    Files: JPEGImages/480p/<sequence>/<number>.jpg, Annotations/480p/<sequence>/<number>.png and ImageSets/<year>/<split>.txt; for 2016
    also ImageSets/480p/<split>.txt, which names frames. Any folder in this form is read; without ImageSets it is all of its sequences.
    2016 takes all objects for one. Frames may have any size, and masks must have theirs.
    Raises ConfigError for another year, DataError where files are missing, frames leave out a number, or masks cannot be used.
    """
    if year not in SIZES:
        raise ConfigError(f"DAVIS is of 2016 or 2017, not {year}; write davis@2016:{folder}")
    frames, annotations = folder / "JPEGImages" / resolution, folder / "Annotations" / resolution
    for place in (frames, annotations):
        if not place.is_dir():
            raise DataError(
                f"{place} is not there; get DAVIS-{year}-trainval-480p.zip (https://davischallenge.org) and name the folder that holds "
                "JPEGImages and Annotations, or davis@resolution=NAME:FOLDER for another one in them"
            )
    list_file = _list_file(folder, year, split, lists)
    if list_file is None:
        names = sorted(path.name for path in frames.iterdir() if path.is_dir() and not path.name.startswith("."))
        notes = [f"there are no ImageSets; all {len(names)} sequences are taken"]
    else:
        official = None if lists else SIZES[year].get(split)
        names, notes = named_sequences(names_in_list(list_file, [resolution]), frames, list_file, official)
    sequences = [_sequence(frames / name, annotations / name, year == 2016) for name in names]
    return SequenceListing(sequences, f"DAVIS {year}" + (f" {split}" if list_file else ""), notes=tuple(notes))


def _list_file(folder: Path, year: int, split: str, lists: str) -> Path | None:
    """The list of a split, None where the folder has none at all."""
    if lists:
        if not Path(lists).is_file():
            raise DataError(f"{lists} is no file; name a list of sequences, one a line: davis@lists=LIST.txt:{folder}")
        return Path(lists)
    if not (folder / "ImageSets").is_dir():
        return None
    places = [str(year), *(["480p"] if year == 2016 else [])]
    found = [path for path in (folder / "ImageSets" / place / f"{split}.txt" for place in places) if path.is_file()]
    if not found:
        there = sorted(str(path.relative_to(folder)) for path in (folder / "ImageSets").glob("*/*.txt"))
        raise DataError(
            f"{folder / 'ImageSets' / places[0] / f'{split}.txt'} is missing; there are {', '.join(there) or 'no lists'}; "
            "name another year or split"
        )
    return found[0]


def _sequence(frames: Path, annotations: Path, one_object: bool) -> LabelledSequence:
    files = files_in(frames, PICTURES)
    check_no_gap(files)
    masks = masks_of_pictures(files, annotations)
    sequence = LabelledSequence(frames.name, "masks", tuple(files), masks, one_object=one_object)
    sequence.check_first_mask()
    return sequence
