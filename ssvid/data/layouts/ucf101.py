"""UCF101 (Soomro et al., arXiv 1212.0402) in its official files."""

from __future__ import annotations

import re
from pathlib import Path

from ssvid.data.layouts.entries import Listing
from ssvid.data.layouts.official import VideoFinder, deviations, find_lists, read_lines
from ssvid.errors import ConfigError, DataError

SIZES = {1: {"train": 9537, "test": 3783}, 2: {"train": 9586, "test": 3734}, 3: {"train": 9624, "test": 3696}}
CLASSES = 101


def ucf101(folder: Path, *, split: int = 1, lists: str = "") -> Listing:
    """UCF101 with its official lists; ucf101@2:FOLDER takes split 2 of 3, ucf101@2,lists=LISTS:FOLDER says where the lists are.

    Files: <class>/v_<class>_g<group>_c<clip>.avi and trainlist0K.txt, testlist0K.txt. The label is the class folder the lists write
    (the numbers behind the paths start from 1 and are not needed), the group the g of the name, which the official splits never divide.
    File names are matched whatever their case: the folder HandstandPushups holds v_HandStandPushups_*.
    Raises ConfigError for a split that is none of 1, 2, 3, DataError where a list or every video is missing.
    """
    if split not in SIZES:
        raise ConfigError(f"UCF101 has the splits 1, 2 and 3, not {split}; write ucf101@2:{folder}")
    names = [f"trainlist0{split}.txt", f"testlist0{split}.txt"]
    remedy = (
        f"get {names[0]} and {names[1]} from UCF101TrainTestSplits-RecognitionTask.zip "
        f"(https://www.crcv.ucf.edu/data/UCF101.php) and say where they are: ucf101@{split},lists=FOLDER:{folder}"
    )
    found = find_lists(folder, lists, "|".join(map(re.escape, names)), ["ucfTrainTestlist"], remedy)
    absent = sorted(set(names) - {path.name for path in found})
    if absent:
        raise DataError(f"{found[0].parent} has no {absent[0]}; {remedy}")
    finder = VideoFinder(folder, str.casefold)
    entries = []
    for path in found:
        part = "train" if path.name == names[0] else "test"
        for number, line in enumerate(read_lines(path), 1):
            parts = re.fullmatch(r"(([^/]+)/(\S+_g(\d+)_c\d+\.avi))(\s+\d+)?", line)
            if parts is None:
                raise DataError(
                    f"{path}, line {number}: {line!r} is not <class>/v_<class>_g<group>_c<clip>.avi; {remedy}"
                )
            entries.append(finder.entry(parts[1], path, parts[2], part, f"group {int(parts[4])}"))
    notes = deviations(entries, SIZES[split], CLASSES) + finder.notes()
    return Listing(entries, f"UCF101 split {split}", notes=tuple(notes))
