"""The cells of a table: one line of JSON each, in one file to which several processes may add."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ssvid.files import write_text, writing


class CellFile:
    """A file of cells, NAME.cells.jsonl. Every line is a JSON object with its `key`; of two lines with one key the later one counts."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def read(self) -> dict[str, dict[str, Any]]:
        """The cells by their keys; empty where there is no file. A line that a kill cut short is left out."""
        if not self.path.exists():
            return {}
        found = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                cell = json.loads(line)
            except ValueError:
                continue
            found[cell.pop("key")] = cell
        return found

    def add(self, key: str, cell: Mapping[str, Any]) -> None:
        """Append a cell. It is written by one call in append mode, so that lines of several processes never mix."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(file).st_size
            cut = size > 0 and os.pread(file, 1, size - 1) != b"\n"  # the line before was cut short by a kill
            # a byte of a name that is no UTF-8 becomes the escape that JSON has for it
            left = (("\n" if cut else "") + _line(key, cell)).encode(errors="backslashreplace")
            with writing(self.path):
                while left:  # a disk that fills up takes a part first, and only then refuses
                    left = left[os.write(file, left) :]
        finally:
            os.close(file)

    def write(self, cells: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Replace the file by these cells, atomically."""
        write_text(self.path, "".join(_line(key, cell) for key, cell in cells))


def _line(key: str, cell: Mapping[str, Any]) -> str:
    return json.dumps({"key": key, **cell}, ensure_ascii=False) + "\n"
