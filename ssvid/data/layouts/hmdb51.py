"""HMDB51 (Kuehne et al., ICCV 2011) in its official files."""

from __future__ import annotations

import re
from pathlib import Path

from ssvid.data.layouts.entries import UNUSED, Listing
from ssvid.data.layouts.official import VideoFinder, deviations, find_lists, read_lines
from ssvid.errors import ConfigError, DataError

SIZES = {"train": 3570, "test": 1530, UNUSED: 1666}  # of each of the three splits
CLASSES = 51
CODES = {"0": UNUSED, "1": "train", "2": "test"}
PLACES = ["testTrainMulti_7030_splits", "hmdb51_testTrainMulti_7030_splits", "test_train_splits"]


def hmdb51(folder: Path, *, split: int = 1, lists: str = "") -> Listing:
    """HMDB51 with its official lists; hmdb51@2:FOLDER takes split 2 of 3, hmdb51@2,lists=LISTS:FOLDER says where the lists are.

    Files: <class>/<name>.avi and <class>_test_splitK.txt with lines `name code `: 1 train, 2 test, 0 in neither (split "unused"). Names
    hold # [ ] ! ( ) & + ; and are never taken as comments or patterns. The group is the film a clip was cut from, within its class: the
    official splits never divide it, though 130 to 150 films give clips of different classes to both sides.
    Raises ConfigError for a split that is none of 1, 2, 3, DataError where the lists or every video are missing.
    """
    if split not in (1, 2, 3):
        raise ConfigError(f"HMDB51 has the splits 1, 2 and 3, not {split}; write hmdb51@2:{folder}")
    remedy = (
        f"get <class>_test_split{split}.txt from test_train_splits.rar "
        "(https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/) "
        f"and say where they are: hmdb51@{split},lists=FOLDER:{folder}"
    )
    ending = f"_test_split{split}.txt"
    finder = VideoFinder(folder, str.casefold)
    entries = []
    for path in find_lists(folder, lists, f".+{re.escape(ending)}", PLACES, remedy):
        label = path.name.removesuffix(ending)
        for number, line in enumerate(read_lines(path), 1):
            name, _, code = line.rpartition(" ")
            if code not in CODES:
                raise DataError(f"{path}, line {number}: {line!r} does not end in a code 0, 1 or 2; {remedy}")
            film = name.rpartition(f"_{label}_")[0] or name
            entries.append(finder.entry(f"{label}/{name.strip()}", path, label, CODES[code], f"{label} {film}"))
    notes = deviations(entries, SIZES, CLASSES) + finder.notes()
    return Listing(entries, f"HMDB51 split {split}", notes=tuple(notes))
