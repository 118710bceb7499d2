"""The files behind an index: which changed, moved or are gone since they were scanned, which are there twice, and a new place for all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ssvid.data.index import Index
from ssvid.data.layouts import UNUSED, read_layout
from ssvid.errors import ConfigError, DataError, VideoError
from ssvid.files import printable
from ssvid.progress import Progress
from ssvid.video.identity import check_unchanged, contents, identify
from ssvid.video.location import exists
from ssvid.video.remote import RemoteError

SAME = "the same content as"  # begins the reason why a copy is left out


class Changes(NamedTuple):
    """What became of the usable files of an index since they were scanned, by their paths. moved: from where to where."""

    changed: list[str]
    gone: list[str]
    moved: list[tuple[str, str]]

    def __bool__(self) -> bool:
        """Whether anything is otherwise."""
        return bool(self.changed or self.gone or self.moved)


def check_files(index: Index, progress: Progress | None = None) -> Changes:
    """Look at every usable file again. One that is gone is found again where a source of the index has its content under another name.

    progress: called after every file.
    """
    changed, gone = [], {}
    rows = _identified(index)
    for done, (path, identity) in enumerate(rows, 1):
        if not exists(path):
            gone[contents(identity)] = path
        elif not _is_same(path, identity):
            changed.append(path)
        if progress:
            progress("checking", done, len(rows))
    moved = [
        (gone.pop(same), str(path))
        for path, same in (_new_files(index, {path for path, _ in rows}) if gone else ())
        if same in gone
    ]
    return Changes(changed, list(gone.values()), moved)


def leave_out_copies(index: Index) -> int:
    """Take videos out of use whose content an earlier one has: the size, and both ends of the file. Returns how many.

    Of copies in several splits the one that is tested stays, since what is tested must not be trained on.
    """
    first: dict[str, str] = {}
    copies = []
    rows = sorted(_identified(index, "split"), key=lambda row: row[2] not in ("test", "val"))  # stable: else as entered
    for path, identity, _ in rows:
        kept = first.setdefault(contents(identity), path)
        if kept != path:
            copies.append((f"{SAME} {printable(kept)}", os.fsencode(path)))
    with index.database() as database:
        database.executemany("UPDATE videos SET status = 'bad', reason = ? WHERE path = CAST(? AS TEXT)", copies)
    return len(copies)


def move_index(index: Index, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> int:
    """Let every path below the folder `old`, of videos, training copies and sources, be one below `new`; returns how many videos moved.

    So an index goes with its data to another place or machine. Raises ConfigError where no path is below `old`, and DataError, with
    nothing changed, where the first video is not to be found at its new place, or a path is taken.
    """
    before, after = os.path.abspath(old), os.path.abspath(new)
    with index.database() as database:
        rows = database.execute("SELECT id, path, info, copy FROM videos ORDER BY id").fetchall()
        there = {path: _moved(path, before, after) for _, path, _, _ in rows}
        leaving = [path for path in there if there[path] != path]
        if not leaving:
            raise ConfigError(f"no path of {index.path} is below {before}; the first is {next(iter(there), 'none')}")
        if not exists(there[leaving[0]]):
            raise DataError(
                f"{there[leaving[0]]} is not there; copy the videos first, or name the folder that holds them"
            )
        if taken := {there[path] for path in leaving} & (there.keys() - set(leaving)):
            raise DataError(f"{min(taken)} is in {index.path} already; nothing was moved")
        moved = (
            (os.fsencode(there[path]), _moved_info(info, before, after), _moved_info(copy, before, after), id)
            for id, path, info, copy in rows
        )
        database.executemany("UPDATE videos SET path = CAST(? AS TEXT), info = ?, copy = ? WHERE id = ?", moved)
        _move_places(database, before, after)
    return len(leaving)


def _identified(index: Index, *columns: str) -> list[Any]:
    """(path, identity, columns ...) of the usable videos, in the order they were entered."""
    wanted = ", ".join(["path", "json_extract(info, '$.identity')", *columns])
    with index.database() as database:
        return database.execute(f"SELECT {wanted} FROM videos WHERE status = 'ok' ORDER BY id").fetchall()


def _is_same(path: str, identity: str) -> bool:
    try:
        check_unchanged(path, identity)
    except RemoteError:
        raise
    except (VideoError, OSError):
        return False
    return True


def _new_files(index: Index, known: Iterable[str]) -> Iterator[tuple[Path | str, str]]:
    """Files that the sources of the index name and it does not, with their content."""
    with index.database() as database:
        sources = [row[0] for row in database.execute("SELECT DISTINCT place FROM members WHERE place != ''")]
    seen = set(known)
    for source in sources:
        try:
            entries = read_layout(source).entries
        except (DataError, ConfigError):  # the source itself is gone
            continue
        for entry in entries:
            if entry.missing is None and str(entry.path) not in seen and entry.split != UNUSED:
                seen.add(str(entry.path))
                yield entry.path, contents(identify(entry.path))


def _moved(path: str, before: str, after: str) -> str:
    """A path below `before` as one below `after`; any other as it is."""
    inside = path == before or path.startswith(before.rstrip("/") + "/")
    return after.rstrip("/") + path[len(before.rstrip("/")) :] if inside else path


def _moved_info(text: str | None, before: str, after: str) -> str | None:
    if text is None:
        return None
    fields = json.loads(text)
    return json.dumps({**fields, "path": _moved(fields["path"], before, after)})


def _move_places(database: Any, before: str, after: str) -> None:
    """The sources too, which are LAYOUT:FOLDER or a mere path."""
    for (place,) in database.execute("SELECT DISTINCT place FROM members").fetchall():
        layout, colon, folder = place.rpartition(":") if ":/" in place else ("", "", place)
        there = f"{layout}{colon}{_moved(folder, before, after)}"
        words = (os.fsencode(there), os.fsencode(place))
        database.execute("UPDATE members SET place = CAST(? AS TEXT) WHERE place = CAST(? AS TEXT)", words)
        keys = (os.fsencode(f"source {there}"), os.fsencode(f"source {place}"))
        database.execute("UPDATE about SET key = CAST(? AS TEXT) WHERE key = CAST(? AS TEXT)", keys)
