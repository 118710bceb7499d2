"""The motion world in the layout of DAVIS, with the exact centres of its objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ssvid.data.layouts.davis import davis
from ssvid.data.layouts.sequences import LabelledSequence, SequenceListing
from ssvid.errors import DataError
from ssvid.files import read_json

POINTS = "points.json"  # the centres, in Points/480p/<sequence>/


def world(folder: Path, *, split: str = "val") -> SequenceListing:
    """The motion world that `ssvid make-world --davis` wrote into FOLDER, its test scenes; world@split=train:FOLDER, the others.

    Masks and centres of the objects are exact. Raises DataError where the folder holds no such world.
    """
    place = folder / "davis"
    if not place.is_dir():
        raise DataError(
            f"{folder} holds no motion world in the layout of DAVIS; make one: ssvid make-world {folder} --davis"
        )
    listing = davis(place, lists=str(place / "ImageSets" / "2017" / f"{split}.txt"))  # no official number of sequences
    sequences = [_with_centres(place, sequence) for sequence in listing.sequences]
    return replace(listing, sequences=sequences, title=f"motion world {split}")


def _with_centres(folder: Path, sequence: LabelledSequence) -> LabelledSequence:
    import numpy as np  # a list of layouts needs no arrays

    path = folder / "Points" / "480p" / sequence.name / POINTS
    try:
        rows = read_json(path)["points"]
        points = np.array([[(np.nan, np.nan) if p is None else p for p in row] for row in rows], np.float64)
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is missing; make the world again in a new folder: ssvid make-world FOLDER --davis"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); make the world again in a new folder") from error
    if points.shape[:1] != (len(sequence.frames),) or points.shape[2:] != (2,):
        raise DataError(f"{path} holds points of shape {points.shape} for {len(sequence.frames)} frames; make it again")
    return replace(sequence, points=points)
