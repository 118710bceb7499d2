"""Masks of objects as pictures: reading them to ids, writing them as indexed PNG in the colours of DAVIS.

An id is a small number: 0 background, 1..254 objects or parts, 255 void (pixels that nobody labelled).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ssvid.errors import DataError
from ssvid.files import atomic

VOID = 255
REMEDY = "save it as an indexed (palette) PNG of 8 bits whose values are the objects' ids: 0 background, 1, 2, ..."
NAMED_COLORS = 4  # that an error message shows


def davis_palette() -> np.ndarray:
    """The colours of ids 0..255 in PASCAL VOC and DAVIS, uint8 (256,3) RGB: black, dark red, dark green, olive, ..."""
    index = np.arange(256)
    # the bits of the index are dealt out to the three channels, from the top
    bits = [sum(((index >> (3 * b + c)) & 1) << (7 - b) for b in range(8)) for c in range(3)]
    return np.stack(bits, axis=-1).astype(np.uint8)


def read_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """The ids in a mask's picture, uint8 (H,W).

    Indexed and grey pictures of 8 bits or less hold the ids themselves. Black and white ones (0 and 255), as in DAVIS 2016, are one
    object, id 1. Pictures in colour are read by the colours of DAVIS, or as black and white.

    Raises:
        DataError: no such file, a damaged one, one of 16 bits or with transparency, one whose colours are not those of DAVIS, or a JPEG,
            which does not keep ids; names the remedy.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            _check_kind(path, image)
            image.load()
            return _ids(path, image)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; a mask must lie there, in the size of its frame") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is no picture; {REMEDY}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read ({error}); get it again, or {REMEDY}") from error


def check_mask_file(path: Path, size: tuple[int, int]) -> None:
    """Raise DataError for a mask that is missing, of another size than its frame (width, height), or of 16 bits; reads the header only."""
    try:
        with Image.open(path) as image:
            _check_kind(path, image)
            found = image.size
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; a mask must lie there, in the size of its frame") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read ({error}); get it again, or {REMEDY}") from error
    if found != size:
        raise DataError(
            f"{path} is {found[0]}x{found[1]} and its frame {size[0]}x{size[1]}; is it the mask of another video? "
            "Else resize it to the frame, each pixel taking the nearest id"
        )


def object_ids(mask: np.ndarray) -> list[int]:
    """The ids of the objects in a mask, sorted; background and void are none."""
    return [int(i) for i in np.unique(mask) if i not in (0, VOID)]


def check_numbering(path: str | os.PathLike[str], mask: np.ndarray) -> None:
    """Raise DataError for the mask of a file that shows no object, or objects that are not numbered 1..N without a gap."""
    ids = object_ids(mask)
    if not ids:
        raise DataError(f"{path} shows no object; the first mask must show every object, as ids 1, 2, ...")
    gaps = sorted(set(range(1, ids[-1])) - set(ids))
    if gaps:
        raise DataError(
            f"{path} holds the ids {_some(ids)} and leaves out {_some(gaps)}; number the objects 1 to {len(ids)} without a gap"
            + (" (these look like grey levels, not ids)" if len(gaps) > len(ids) else "")
        )


def write_mask(path: str | os.PathLike[str], mask: np.ndarray) -> None:
    """Write ids (H,W) of 0..255 as an indexed PNG in the colours of DAVIS, whole or not at all.

    Raises ValueError for what is no mask of ids.
    """
    ids = np.asarray(mask)
    whole = np.issubdtype(ids.dtype, np.integer) or ids.dtype == bool
    if ids.ndim != 2 or not whole or not ids.size or not 0 <= int(ids.min()) <= int(ids.max()) <= VOID:
        raise ValueError(f"a mask is (H,W) of whole numbers 0..255, not {ids.dtype} of shape {ids.shape}")
    image = Image.frombytes("P", (ids.shape[1], ids.shape[0]), ids.astype(np.uint8).tobytes())
    image.putpalette(davis_palette().tobytes())
    with atomic(path) as temporary:
        image.save(temporary, format="PNG")


def _check_kind(path: Path, image: Image.Image) -> None:
    if image.format == "JPEG":
        raise DataError(f"{path} is a JPEG, which changes ids and edges; {REMEDY}")
    bits = _png_bits(path) if image.format == "PNG" else 8
    if bits > 8 or image.mode.startswith(("I", "F")):
        raise DataError(f"{path} has {max(bits, 16)} bits a value, and ids have 8; {REMEDY}")


def _png_bits(path: Path) -> int:
    """Bits a value of a PNG, from its header: Pillow reduces 16-bit colours to 8 without a word."""
    with path.open("rb") as file:
        header = file.read(26)
    return int(struct.unpack(">B", header[24:25])[0])


def _ids(path: Path, image: Image.Image) -> np.ndarray:
    see_through = image.mode in ("LA", "RGBA") or (image.mode != "P" and "transparency" in image.info)
    if see_through and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        raise DataError(f"{path} is transparent in places, which says nothing of objects; {REMEDY}")
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode in ("L", "LA"):
        grey = np.asarray(image.getchannel(0))
        return _binary(grey) if _is_binary(grey) else grey.copy()
    if image.mode == "P":
        ids = np.asarray(image)
        # white at 255 is the palette of a black and white picture; in the palettes of data sets 255 is void and not white
        white = (image.getpalette("RGB") or [])[3 * VOID : 3 * VOID + 3] == [255, 255, 255]
        return _binary(ids) if white and _is_binary(ids) else ids.copy()
    return _ids_of_colors(path, np.asarray(image.convert("RGB")))


def _is_binary(values: np.ndarray) -> bool:
    return bool(((values == 0) | (values == VOID)).all())


def _binary(values: np.ndarray) -> np.ndarray:
    ids: np.ndarray = (values == VOID).astype(np.uint8)
    return ids


def _ids_of_colors(path: Path, picture: np.ndarray) -> np.ndarray:
    """Ids (H,W) of a picture (H,W,3) in the colours of DAVIS, or in black and white."""
    codes = _codes(picture)
    found = np.unique(codes)
    if np.isin(found, (0, 0xFFFFFF)).all():
        return (codes > 0).astype(np.uint8)
    known = _codes(davis_palette())
    if not np.isin(found, known).all():
        strange = [f"({c >> 16}, {c >> 8 & 255}, {c & 255})" for c in found[~np.isin(found, known)].tolist()]
        raise DataError(
            f"{path} is in colours, {len(found):,} of them, and {_some(strange)} is no id's colour in DAVIS, whose first are (128, 0, 0), "
            f"(0, 128, 0), (128, 128, 0), (0, 0, 128); {REMEDY}"
        )
    order = np.argsort(known)
    ids: np.ndarray = order[np.searchsorted(known[order], codes)].astype(np.uint8)
    return ids


def _codes(colors: np.ndarray) -> np.ndarray:
    """Colours uint8 (...,3) as one number each, 0xRRGGBB, int64 (...)."""
    codes: np.ndarray = colors.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    return codes


def _some(values: Iterable[object]) -> str:
    shown = [str(value) for value in values]
    return ", ".join(shown[:NAMED_COLORS]) + (" ..." if len(shown) > NAMED_COLORS else "")
