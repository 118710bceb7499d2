"""JHMDB (Jhuang et al., ICCV 2013): people with 15 joints in every frame. http://jhmdb.is.tue.mpg.de"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ssvid.data.layouts.entries import UNUSED
from ssvid.data.layouts.official import find_lists, read_lines
from ssvid.data.layouts.sequences import (
    LabelledSequence,
    SequenceListing,
    check_no_gap,
    files_in,
    named_sequences,
    names_in_list,
)
from ssvid.errors import ConfigError, DataError

if TYPE_CHECKING:  # a list of layouts needs no arrays
    import numpy as np

JOINTS = (
    *("neck", "belly", "face", "right shoulder", "left shoulder", "right hip", "left hip", "right elbow"),
    *("left elbow", "right knee", "left knee", "right wrist", "left wrist", "right ankle", "left ankle"),
)
TEST_SIZES = {1: 268}  # of the splits whose official size is known for sure
CODES = {"0": UNUSED, "1": "train", "2": "test"}
PLACES = ["splits", "sub_splits"]


def jhmdb(folder: Path, *, split: int = 1, part: str = "test", lists: str = "") -> SequenceListing:
    """JHMDB, the test part of split 1; jhmdb@2:FOLDER, jhmdb@1,part=train:FOLDER, jhmdb@lists=LIST.txt:FOLDER.

    Files: Rename_Images/<class>/<video>/<number>.png, joint_positions/<class>/<video>/joint_positions.mat and
    splits/<class>_test_split<split>.txt with lines `name code`; without split files it is all videos. A list names class/video or the
    paths of frames and joints. Joints are `JOINTS` in pixels from 0 (the files count from 1); what is not visible is annotated too.
    Raises ConfigError for a split or part that does not exist, DataError where files are missing or damaged.
    """
    if split not in (1, 2, 3) or part not in ("train", "test"):
        raise ConfigError(
            f"JHMDB has the splits 1, 2, 3 with a train and a test part, not {split}, {part}; write jhmdb@1"
        )
    frames, joints = folder / "Rename_Images", folder / "joint_positions"
    for place, archive in ((frames, "Rename_Images.tar.gz"), (joints, "joint_positions.zip")):
        if not place.is_dir():
            raise DataError(
                f"{place} is not there; unpack {archive} of JHMDB (http://jhmdb.is.tue.mpg.de) into {folder}"
            )
    title = f"JHMDB split {split} {part}"
    if lists:
        if not Path(lists).is_file():
            raise DataError(f"{lists} is no file; name a list of videos, one a line: jhmdb@lists=LIST.txt:{folder}")
        listed = names_in_list(Path(lists), ["Rename_Images", "joint_positions"], depth=2)
        names, notes = named_sequences(listed, frames, Path(lists), None)
    elif any((folder / place).is_dir() for place in PLACES):
        found = find_lists(
            folder, "", rf".+_test_split{split}\.txt", PLACES, f"get the split files of JHMDB into {folder}"
        )
        listed = _names_in_splits(found, split, part)
        official = TEST_SIZES.get(split) if part == "test" else None
        names, notes = named_sequences(listed, frames, found[0].parent, official)
    else:
        names = sorted(f"{path.parent.name}/{path.name}" for path in frames.glob("*/*") if path.is_dir())
        notes, title = [f"there are no splits; all {len(names)} videos are taken"], "JHMDB"
    sequences = [_sequence(name, frames / name, joints / name / "joint_positions.mat", notes) for name in names]
    return SequenceListing(sequences, title, notes=tuple(notes))


def _names_in_splits(paths: list[Path], split: int, part: str) -> list[str]:
    names = []
    for path in paths:
        label = path.name.removesuffix(f"_test_split{split}.txt")
        for number, line in enumerate(read_lines(path), 1):
            name, _, code = line.rpartition(" ")
            name = name.strip()
            if code not in CODES or "/" in name or name in ("", ".", ".."):
                raise DataError(f"{path}, line {number}: {line!r} is not a video's name and a code 0, 1 or 2")
            if CODES[code] == part:
                names.append(f"{label}/{name.removesuffix('.avi')}")
    return names


def _sequence(name: str, frames: Path, joints: Path, notes: list[str]) -> LabelledSequence:
    """One video; adds a note where it has more frames than are annotated."""
    files = files_in(frames, (".png",))
    check_no_gap(files)
    points = read_joints(joints)
    if len(files) < len(points):
        raise DataError(
            f"{frames} holds {len(files)} frames, {joints} the joints of {len(points)}; get the frames again"
        )
    if len(files) > len(points):
        notes.append(f"{name}: {len(files) - len(points)} of {len(files)} frames have no joints and are left out")
    return LabelledSequence(name, "joints", tuple(files[: len(points)]), {}, points)


def read_joints(path: Path) -> np.ndarray:
    """The joints in a joint_positions.mat, float64 (T,15,2): x, y in pixels, where the centre of the first pixel is 0, 0.

    Raises DataError where the file is missing, damaged or holds something else.
    """
    import numpy as np
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not path.is_file():
        raise DataError(f"{path} is missing; get it from joint_positions.zip of JHMDB")
    try:
        positions = np.asarray(loadmat(path)["pos_img"], np.float64)
    except (KeyError, OSError, TypeError, ValueError, NotImplementedError, MatReadError) as error:
        raise DataError(f"{path} holds no joint positions pos_img ({error}); get it again") from error
    if positions.ndim != 3 or positions.shape[:2] != (2, len(JOINTS)) or not positions.shape[2]:
        raise DataError(
            f"{path}: pos_img has the shape {positions.shape}, not (2, {len(JOINTS)}, frames); get it again"
        )
    joints: np.ndarray = positions.transpose(2, 1, 0) - 1  # MATLAB counts pixels from 1
    return joints
