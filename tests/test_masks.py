"""Masks read as ids from every kind of picture that says them, refused with the remedy from those that do not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssvid.data.masks import check_mask_file, check_numbering, davis_palette, object_ids, read_mask, write_mask
from ssvid.errors import DataError

IDS = np.array([[0, 1, 1, 0, 2], [0, 1, 3, 3, 2], [0, 0, 3, 3, 255]], np.uint8)


def saved(path: Path, values: np.ndarray, mode: str | None = None, **options) -> Path:
    """The path of a picture of these values, in another mode where asked."""
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def test_the_palette_is_that_of_davis():
    palette = davis_palette()
    assert palette[:5].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert palette[[8, 255]].tolist() == [[64, 0, 0], [224, 224, 192]]


def test_what_is_written_is_read_again(tmp_path):
    write_mask(tmp_path / "new" / "a.png", IDS)
    assert (read_mask(tmp_path / "new" / "a.png") == IDS).all()
    with Image.open(tmp_path / "new" / "a.png") as image:
        assert (image.mode, image.size) == ("P", (5, 3))
        assert image.getpalette()[3:6] == [128, 0, 0]
        assert image.convert("RGB").getpixel((4, 0)) == (0, 128, 0)
    write_mask(tmp_path / "b.png", IDS.astype(np.int64))
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "new" / "a.png").read_bytes()
    for wrong in (IDS[None], IDS / 2, IDS.astype(int) + 1, IDS.astype(int) - 1, IDS[:0]):
        with pytest.raises(ValueError, match=r"0\.\.255"):
            write_mask(tmp_path / "c.png", wrong)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.png", "new"]


def test_binary_masks_are_one_object(tmp_path):
    shape = IDS == 1
    white = shape.astype(np.uint8) * 255
    for name, mode in (
        ("grey", None),
        ("bits", "1"),
        ("colours", "RGB"),
        ("indexed", "P"),
        ("alpha", "LA"),
        ("rgba", "RGBA"),
    ):
        mask = read_mask(saved(tmp_path / f"{name}.png", white, mode))
        assert mask.dtype == np.uint8
        assert (mask == shape).all(), name
    assert (read_mask(saved(tmp_path / "all.png", np.full((3, 5), 255, np.uint8))) == 1).all()
    assert not read_mask(saved(tmp_path / "none.png", np.zeros((3, 5), np.uint8))).any()


def test_grey_pictures_hold_ids_and_void_stays_void(tmp_path):
    assert (read_mask(saved(tmp_path / "grey.png", IDS)) == IDS).all()
    only_void = np.where(IDS == 255, 255, 0).astype(np.uint8)  # an object left, the void beside it stayed
    write_mask(tmp_path / "void.png", only_void)
    assert (read_mask(tmp_path / "void.png") == only_void).all()


def test_a_transparent_background_of_an_indexed_mask_changes_no_id(tmp_path):
    write_mask(tmp_path / "m.png", IDS)
    with Image.open(tmp_path / "m.png") as image:
        image.save(tmp_path / "t.png", transparency=0)
    assert (read_mask(tmp_path / "t.png") == IDS).all()


def test_colours_of_davis_are_ids(tmp_path):
    assert (read_mask(saved(tmp_path / "c.png", davis_palette()[IDS])) == IDS).all()
    everyone = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (read_mask(saved(tmp_path / "all.png", davis_palette()[everyone])) == everyone).all()
    strange = davis_palette()[IDS]
    strange[0, 0] = (255, 0, 0)
    with pytest.raises(DataError, match=r"c\.png is in colours, 6 of them, and \(255, 0, 0\) is no.*indexed"):
        read_mask(saved(tmp_path / "c.png", strange))


def write_deep(path: Path, colour: bool) -> None:
    """A PNG of 16 bits a value, 2x2."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + bytes(2 * 2 * (3 if colour else 1))
    header = struct.pack(">IIBBBBB", 2, 2, 16, 2 if colour else 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 2)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


@pytest.mark.parametrize("colour", [False, True])
def test_sixteen_bits_are_refused(tmp_path, colour):
    write_deep(tmp_path / "m.png", colour)
    for read in (read_mask, lambda path: check_mask_file(path, (2, 2))):
        with pytest.raises(DataError, match=r"m\.png has 16 bits a value.*8 bits"):
            read(tmp_path / "m.png")


def test_what_is_no_mask_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(DataError, match=r"a\.png is missing"):
        read_mask(tmp_path / "a.png")
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(DataError, match=r"a\.png is no picture"):
        read_mask(tmp_path / "a.png")
    write_mask(tmp_path / "whole.png", np.random.default_rng(0).integers(0, 9, (60, 60)))
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:400])
    with pytest.raises(DataError, match=r"cut\.png cannot be read"):
        read_mask(tmp_path / "cut.png")
    with pytest.raises(DataError, match=r"m\.jpg is a JPEG"):
        read_mask(saved(tmp_path / "m.jpg", IDS))
    clear = np.full((3, 5, 4), 255, np.uint8)
    clear[0, 0, 3] = 0
    with pytest.raises(DataError, match="transparent"):
        read_mask(saved(tmp_path / "t.png", clear))


def test_a_mask_has_the_size_of_its_frame(tmp_path):
    write_mask(tmp_path / "m.png", IDS)
    check_mask_file(tmp_path / "m.png", (5, 3))
    with pytest.raises(DataError, match=r"m\.png is 5x3 and its frame 3x5.*another video"):
        check_mask_file(tmp_path / "m.png", (3, 5))


def test_objects_are_numbered_without_a_gap():
    assert object_ids(IDS) == [1, 2, 3]
    check_numbering("m.png", IDS)
    with pytest.raises(DataError, match=r"m\.png holds the ids 1, 3 and leaves out 2; number the objects 1 to 2"):
        check_numbering("m.png", np.where(IDS == 2, 0, IDS))
    for empty in (np.zeros((3, 5), np.uint8), np.full((3, 5), 255)):
        with pytest.raises(DataError, match=r"m\.png shows no object"):
            check_numbering("m.png", empty)
    with pytest.raises(DataError, match=re.escape("ids 90, 200 and leaves out 1, 2, 3, 4 ...")) as error:
        check_numbering("m.png", np.array([[0, 90, 200]]))
    assert "grey levels" in str(error.value)
