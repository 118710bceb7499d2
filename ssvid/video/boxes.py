"""The boxes of an mp4, read without a decoder: whether its index is there, whether it is encrypted, whether it comes in fragments."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

TO_SAMPLE_ENTRIES = ("moov", "trak", "mdia", "minf", "stbl", "stsd")
ENCRYPTED_VIDEO = b"encv"
ENTRIES_AT = 8  # version, flags and the number of entries stand before the entries of an stsd box


def top_boxes(path: str) -> set[str]:
    """Types of the outermost boxes of a file; whatever its bytes spell, for a file that is no mp4."""
    with open(path, "rb") as file:
        return {kind.decode("latin-1") for kind, _, _ in _boxes(file, 0, os.path.getsize(path))}


def is_encrypted(path: str) -> bool:
    """Whether a sample entry declares common encryption of video; its samples may decode, into noise."""
    with open(path, "rb") as file:
        for start, end in _inside(file, TO_SAMPLE_ENTRIES, 0, os.path.getsize(path)):
            if any(kind == ENCRYPTED_VIDEO for kind, _, _ in _boxes(file, start + ENTRIES_AT, end)):
                return True
    return False


def is_fragmented(path: str) -> bool:
    """Whether samples lie in movie fragments, which have no index of the whole file to seek by."""
    with open(path, "rb") as file:
        size = os.path.getsize(path)
        return "moof" in top_boxes(path) or any(True for _ in _inside(file, ("moov", "mvex"), 0, size))


def _inside(file: BinaryIO, names: tuple[str, ...], start: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of what the boxes hold that lie at this path of names."""
    for kind, low, high in _boxes(file, start, end):
        if kind == names[0].encode():
            if len(names) == 1:
                yield low, high
            else:
                yield from _inside(file, names[1:], low, high)


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of the content of every box between two places of the file; stops where they make no sense."""
    at = start
    while at + 8 <= end:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        begins = at + 8
        if length == 1:  # the length stands behind, in 8 bytes
            length, begins = int.from_bytes(file.read(8), "big"), at + 16
        length = length or end - at  # 0: up to the end
        if length < begins - at:
            return
        yield kind, begins, min(at + length, end)
        at += length
