"""The motion world as a labelled data set, all of it or the classes that only the order of frames tells apart."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ssvid.data.layouts.entries import Listing
from ssvid.data.layouts.lists import list_file
from ssvid.errors import DataError


def motion_world(folder: Path, *, classes: Literal["all", "order_pairs"] = "all") -> Listing:
    """The videos that `ssvid make-world` wrote into FOLDER, with its own split; never mirrored, since rotations have a direction.

    classes: all, or order_pairs: rotate_left and rotate_right, grow and shrink. A video of one of a pair is, played backward, one of the
    other, so features that are blind to order can tell pairs apart and guess within: 50 % at most, where chance is 25.
    Raises DataError where the folder holds no such world, or none of these classes.
    """
    path = folder / "videos.csv"
    if not path.is_file() or not (folder / "world.json").is_file():
        raise DataError(f"{folder} holds no motion world; make one: ssvid make-world {folder}")
    listing = list_file(path)
    if classes == "all":
        return Listing(listing.entries, "motion world", flip=False)
    from ssvid.data.motions import ORDER_PAIRS  # a list of layouts needs no arrays

    wanted = {name for pair in ORDER_PAIRS for name in pair}
    chosen = [entry for entry in listing.entries if entry.label in wanted]
    missing = sorted(wanted - {str(entry.label) for entry in chosen})
    if missing:
        raise DataError(
            f"{folder} has no videos of {', '.join(missing)}; make a world with all classes in another folder"
        )
    return Listing(chosen, "motion world, pairs told apart by order", flip=False)
