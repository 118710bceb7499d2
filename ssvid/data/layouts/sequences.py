"""What every layout for label propagation makes: sequences, the frames of a clip in order with what is annotated in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from PIL import Image

from ssvid.data.layouts.entries import read_text
from ssvid.errors import DataError, some

if TYPE_CHECKING:  # a list of layouts needs no decoder and no arrays
    import numpy as np

    from ssvid.video.reader import Video

PICTURES = (".jpg", ".jpeg", ".png")

Kind = Literal["masks", "joints", "parts"]


@dataclass(frozen=True, eq=False)
class LabelledSequence:
    """One clip for label propagation: T frames, and labels in all of them or in the first alone.

    name: unique in its data set. kind: what is annotated: masks of objects, joints, or parts (masks whose ids are classes).
    frames: T picture files in order, or a video of T frames. masks: mask files by frame number, from 0.
    points: float64 (T,N,2) x, y in pixels, where the centre of the first pixel is 0, 0; NaN for a point that is out of sight. Joints, or
    the centres of objects 1..N where they are known. one_object: all objects in the masks are one, id 1, as in DAVIS 2016.
    """

    name: str
    kind: Kind
    frames: tuple[Path, ...] | Video
    masks: Mapping[int, Path]
    points: np.ndarray | None = None
    one_object: bool = False

    def pictures(self, numbers: Sequence[int]) -> np.ndarray:
        """Some frames, uint8 (T,H,W,3) RGB. Raises DataError for a picture that cannot be read or has another size than the first."""
        import numpy as np

        if not isinstance(self.frames, tuple):
            return self.frames.frames(numbers)
        read = [_picture(self.frames[number]) for number in numbers]
        for number, picture in zip(numbers, read, strict=True):
            if picture.shape != read[0].shape:
                raise DataError(
                    f"{self.frames[number]} is {_size(picture)}, {self.frames[numbers[0]]} {_size(read[0])}"
                )
        return np.stack(read) if read else np.empty((0, 0, 0, 3), np.uint8)

    def check_first_mask(self) -> None:
        """Raise DataError where the first frame has no mask, or one whose objects are not numbered without a gap."""
        from ssvid.data.masks import check_numbering

        check_numbering(self.masks[0], self.mask(0))

    def mask(self, number: int) -> np.ndarray:
        """The ids in frame `number`, uint8 (H,W); see `ssvid.data.masks`. Raises DataError where there is no mask that can be read."""
        import numpy as np

        from ssvid.data.masks import VOID, read_mask

        if number not in self.masks:
            raise DataError(
                f"{self.name}: frame {number} has no mask; annotated are {some([str(n) for n in self.masks])}"
            )
        ids = read_mask(self.masks[number])
        return np.where(ids == VOID, ids, ids > 0).astype(np.uint8) if self.one_object else ids


@dataclass(frozen=True)
class SequenceListing:
    """The sequences of one source.

    title: the data set and its split as a table names them. classes: number of parts, background included, where `kind` is parts, else 0.
    notes: sentences on how the files differ from the official release.
    """

    sequences: list[LabelledSequence]
    title: str
    classes: int = 0
    notes: tuple[str, ...] = ()


def names_in_list(path: Path, below: Sequence[str], depth: int = 1) -> list[str]:
    """Names of the sequences that a list gives, one a line, in its order and once each.

    A line is a name (of `depth` folders: class/video), or paths of the sequence, of one of its frames or its annotation, in which the
    name follows one of the folders `below`; several paths in a line must mean the same sequence.
    Raises DataError for other lines, and for names that would leave the data set's folder.
    """
    names: dict[str, None] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        found = {_name(word, below, depth) for word in line.split()}
        if len(found) > 1 or None in found:
            raise DataError(
                f"{path}, line {number}: {line.strip()!r} names no sequence; write {'CLASS/' * (depth - 1)}NAME, "
                f"or a path that goes on from {' or '.join(below)}"
            )
        names |= dict.fromkeys(name for name in found if name)
    return list(names)


def _name(word: str, below: Sequence[str], depth: int) -> str | None:
    parts = PurePosixPath(word.replace("\\", "/")).parts
    roots = [i for i, part in enumerate(parts) if part in below]
    parts = parts[roots[-1] + 1 :] if roots else parts
    if len(parts) < depth or (not roots and len(parts) != depth) or {"..", "/"} & set(parts[:depth]):
        return None
    return "/".join(parts[:depth])


def named_sequences(
    names: Sequence[str], folder: Path, list_file: Path, official: int | None
) -> tuple[list[str], list[str]]:
    """(names that have a folder of frames below `folder`, notes on the others). Raises DataError where none has one."""
    found = [name for name in names if (folder / name).is_dir()]
    if not found:
        raise DataError(
            f"not one of the {len(names)} sequences of {list_file} is under {folder}; name the data set's folder"
        )
    notes = []
    if official is not None and len(names) != official:
        notes.append(f"{list_file.name} names {len(names)} sequences, officially {official}")
    if len(found) < len(names):
        missing = [name for name in names if name not in set(found)]
        notes.append(f"{len(missing)} of {len(names)} sequences of {list_file.name} are missing: {some(missing)}")
    return found, notes


def files_in(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of a folder that have one of the endings, in the order of their numbers, else of their names; hidden ones are passed over.

    Raises DataError where there is no such folder or file.
    """
    names = folder.iterdir() if folder.is_dir() else []
    files = [path for path in names if path.suffix.lower() in suffixes and not path.name.startswith(".")]
    if not files:
        raise DataError(f"{folder} holds no {' or '.join(suffixes)} file; get it again")
    return sorted(files, key=lambda path: (int(path.stem) if path.stem.isdecimal() else -1, path.name))


def check_no_gap(files: Sequence[Path]) -> None:
    """Raise DataError where the numbers that name the files (00000.jpg, 00001.jpg, ...) leave one out or come twice."""
    numbers = [int(path.stem) for path in files if path.stem.isdecimal()]
    if len(numbers) != len(files):
        return
    steps = [after - before for before, after in pairwise(numbers)]
    usual = min((step for step in steps if step), default=1)
    for path, number, step in zip(files[1:], numbers[1:], steps, strict=True):
        if step == 0:
            raise DataError(f"{path.parent} holds frame {path.stem} twice, once with another ending; remove one")
        if step != usual:
            lost = path.with_name(f"{number - step + usual:0{len(path.stem)}d}{path.suffix}")
            raise DataError(f"{lost} is missing, a frame between others; get it again")


def masks_of(
    names: Sequence[str], folder: Path, source: object, size: Callable[[int], tuple[int, int]]
) -> dict[int, Path]:
    """The mask files in `folder` by the number of the frame of the same name, sorted.

    names: of the T frames, without ending. source: where they are, for messages. size: (width, height) of a frame.
    Raises DataError for a mask without frame, for masks that are neither there for all frames nor for the first alone, and for what
    `check_mask_file` refuses.
    """
    from ssvid.data.masks import check_mask_file

    number = {name: n for n, name in enumerate(names)}
    masks = {}
    for path in files_in(folder, (".png",)):
        if path.stem not in number:
            raise DataError(
                f"{path} has no frame: none of the {len(names)} in {source} is called {path.stem}. "
                "Is it a mask of another video, or is the frame lost?"
            )
        masks[number[path.stem]] = path
    lost = [name for name in names if number[name] not in masks]
    if lost and set(masks) != {0}:
        raise DataError(
            f"{folder / f'{lost[0]}.png'} is missing; there must be a mask for every frame, or for the first alone"
        )
    for n, path in masks.items():
        check_mask_file(path, size(n))
    return dict(sorted(masks.items()))


def masks_of_pictures(frames: Sequence[Path], folder: Path) -> dict[int, Path]:
    """The masks in `folder` of frames that are picture files; see `masks_of`."""
    names = [path.stem for path in frames]
    return masks_of(names, folder, frames[0].parent, lambda n: picture_size(frames[n]))


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) of a picture, from its header. Raises DataError for one that cannot be read."""
    try:
        with Image.open(path) as image:
            return image.width, image.height
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read ({error}); get it again") from error


def _picture(path: Path) -> np.ndarray:
    import numpy as np

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read ({error}); get it again") from error


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
