"""The lines of a user's list of videos: a table with a header, a table without one, or lines of `path label`.

Tables are separated by commas, semicolons or tabs, and quoted as Python's csv reads it. What a line says must be plain: what could be read
in two ways is refused with the line's number, because a label or a split that is taken wrongly gives wrong numbers without a word.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from ssvid.data.layouts.entries import (
    SPLITS,
    UNUSED,
    VIDEO_SUFFIXES,
    is_other_encoding,
    is_video_name,
    read_text,
    split_in_name,
)
from ssvid.errors import DataError

COLUMNS = ("path", "label", "split", "group")
DELIMITERS = ("\t", ";", ",")
_ENDING = re.compile(
    rf"(?:{'|'.join(re.escape(suffix) for suffix in sorted(VIDEO_SUFFIXES))})(?=$|[\s,;])", re.IGNORECASE
)
_QUOTED = re.compile(r'"((?:[^"]|"")+)"(?:\s*[\s,;]\s*(.*))?')


class ListRow(NamedTuple):
    """What one line says of a video. line: its number, from 1."""

    line: int
    path: str
    label: str | None
    split: str | None
    group: str | None = None


def read_rows(path: Path) -> list[ListRow]:
    """The rows of a list. One without a split has that of the list's name, as in val.csv.

    Raises DataError for columns and splits that are not known, and for lines that can be read in two ways.
    """
    text = read_text(path, names=True)
    delimiter = next((sign for sign in DELIMITERS if _is_header(_header(text, sign))), None)
    if delimiter is not None:
        rows = list(_with_header(path, text, delimiter))
    else:
        rows = _without_header(path, text) or list(_path_label_lines(path, text))
    named = split_in_name(path)
    for row in rows:
        if any(is_other_encoding(value or "") for value in row[2:]):
            raise DataError(f"{path}, line {row.line}: not a text in UTF-8; save it as UTF-8")
    return [row._replace(split=_known_split(path, row) or named) for row in rows]


def _known_split(path: Path, row: ListRow) -> str | None:
    if not row.split:
        return None
    split = SPLITS.get(row.split.lower(), row.split.lower())
    if split not in {*SPLITS.values(), UNUSED}:
        raise DataError(
            f"{path}, line {row.line}: unknown split {row.split!r}; known: {', '.join(SPLITS)}, and {UNUSED} for what takes no part"
        )
    return split


def _cells(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(number of the line, cells without the spaces around them) of every line that is not empty. Raises csv.Error for broken quotes."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    for cells in reader:
        stripped = [cell.strip() for cell in cells]
        if any(stripped):
            yield reader.line_num, stripped


def _header(text: str, delimiter: str) -> list[str]:
    """The names of the columns, as far as the first line has some, in lower case."""
    try:
        return [cell.lower() for cell in next(_cells(text, delimiter), (0, []))[1]]
    except csv.Error:
        return []


def _is_header(cells: list[str]) -> bool:
    return "path" in cells and not any(map(is_video_name, cells))


def _with_header(path: Path, text: str, delimiter: str) -> Iterator[ListRow]:
    columns = _header(text, delimiter)
    for number, name in enumerate(columns):
        if name and name not in COLUMNS:  # a nameless first column is the row number that pandas writes
            close = difflib.get_close_matches(name, COLUMNS, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise DataError(
                f"{path}: unknown column {name!r}{hint} (known: {', '.join(COLUMNS)}); rename it, or take it out"
            )
        if name in columns[:number]:
            raise DataError(f"{path}: two columns are called {name!r}; keep one of them")
    try:
        for line, cells in list(_cells(text, delimiter))[1:]:
            if len(cells) > len(columns):
                raise DataError(
                    f"{path}, line {line}: {len(cells)} cells under {len(columns)} columns; "
                    f"put quotes around a cell that holds {delimiter!r}"
                )
            given = dict(zip(columns, cells, strict=False))
            if not given.get("path"):
                raise DataError(f"{path}, line {line}: no path; give every video its path")
            yield ListRow(line, given["path"], *(given.get(name) or None for name in COLUMNS[1:]))
    except csv.Error as error:
        raise DataError(f"{path}: {error}; close the quotes, and double those within a cell") from error


def _without_header(path: Path, text: str) -> list[ListRow]:
    """Rows of a table that names no columns: path, label and at most a split; none where the text is no such table."""
    for delimiter in DELIMITERS:
        try:
            rows = list(_cells(text, delimiter))
        except csv.Error:
            continue
        if not all(is_video_name(cells[0]) for _, cells in rows) or all(len(cells) == 1 for _, cells in rows):
            continue
        return [_by_place(path, line, cells) for line, cells in rows]
    return []


def _by_place(path: Path, line: int, cells: list[str]) -> ListRow:
    name, label, split, *more = [*cells, "", ""][: max(3, len(cells))]
    if more or (split and split.lower() not in SPLITS):
        raise DataError(
            f"{path}, line {line}: {len(cells)} cells and no header; name the columns in the first line ({','.join(COLUMNS)}), or put "
            "quotes around a class name that holds the separator"
        )
    return ListRow(line, name, label or None, split or None)


def _path_label_lines(path: Path, text: str) -> Iterator[ListRow]:
    """Lines of `path label`, or of a path alone; either may hold spaces, since a path ends in the ending of a video."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if (
        lines
        and not _ENDING.search(lines[0][1])
        and (path.suffix.lower() != ".txt" or any(_ENDING.search(line) for _, line in lines))
    ):
        raise DataError(
            f"{path}: the first line must name the columns, among them 'path' (and {', '.join(COLUMNS[1:])}), or be a `path label` line"
        )
    for number, line in lines:
        quoted = _QUOTED.fullmatch(line)
        if quoted:
            yield ListRow(number, quoted[1].replace('""', '"'), _unquoted(quoted[2]), None)
            continue
        ends = [found.end() for found in _ENDING.finditer(line)]
        if not ends:  # not a video by its name: the label is the last word
            name, _, label = line.replace("\t", " ").rpartition(" ")
            yield ListRow(number, name.strip() or label, label if name else None, None)
            continue
        # of "a.mp4 b.mp4 3" the path is all up to the label, as when it is the whole line
        label = line[ends[-1] :].strip().lstrip(",;").strip()
        if re.fullmatch(r"\d+\s+\d+", label):
            raise DataError(f"{path}, line {number}: two numbers behind the path; leave only the class")
        yield ListRow(number, line[: ends[-1]], _unquoted(label), None)


def _unquoted(label: str | None) -> str | None:
    if label and len(label) > 1 and label[0] == label[-1] == '"':
        label = label[1:-1].replace('""', '"')
    return label or None
