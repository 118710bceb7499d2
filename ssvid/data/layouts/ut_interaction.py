"""UT-Interaction (Ryoo and Aggarwal, SDHA 2010), segmented. https://cvrc.ece.utexas.edu/SDHA2010/Human_Interaction.html"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from ssvid.data.layouts.entries import Entry, Listing, placed, videos_below
from ssvid.errors import DataError

CLASSES = ("shake_hands", "hug", "kick", "point", "punch", "push")  # in the order of their numbers


def ut_interaction(folder: Path) -> Listing:
    """UT-Interaction, segmented, set 1, 2 or both; tested by leaving each sequence out once.

    Files: <number>_<sequence>_<class number>.avi, all in one folder as published or in one folder a class, whose name is then the
    label. The group is the sequence. Raises DataError for a video with another name.
    """
    videos = videos_below(folder)
    numbers: dict[Path, set[int]] = defaultdict(set)
    for path in videos:
        parts = path.stem.split("_")
        if len(parts) != 3 or not all(part.isdecimal() for part in parts) or int(parts[2]) >= len(CLASSES):
            raise DataError(
                f"{path}: not a UT-Interaction name (<number>_<sequence>_<class number>.avi); name the folder that holds the set alone"
            )
        numbers[path.parent].add(int(parts[2]))
    entries = []
    for path in videos:
        _, sequence, number = map(int, path.stem.split("_"))
        label = path.parent.name if len(numbers[path.parent]) == 1 and path.parent != folder else CLASSES[number]
        entries.append(Entry(placed(folder, path), label, None, f"sequence {sequence}"))
    sequences = {entry.group for entry in entries}
    wanted = len(CLASSES) * len(sequences)
    notes = (
        (f"{len(entries)} videos in {len(sequences)} sequences, officially {wanted}",) if len(entries) != wanted else ()
    )
    return Listing(entries, "UT-Interaction", notes=notes)
