"""The index: every video scanned once, kept in one SQLite file that training, evaluation and search read and never probe again.

A row holds the label, split and group of a video, what its file holds (true frame count, times, size, codec, audio, seek safety), its
motion, cuts, black bars and static share, or the reason why it cannot be used. Every row is a transaction of its own, so a killed scan
loses nothing and the next one goes on from there.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssvid.data import frame_table, membership
from ssvid.data.file_state import file_state
from ssvid.data.layouts import Entry, Listing
from ssvid.data.layouts.entries import SPLITS, known_split
from ssvid.data.video_record import BadVideo, VideoRecord, info_to_json, records, shots_to_json
from ssvid.errors import DataError
from ssvid.files import cache_remedy, printable
from ssvid.video.info import VideoInfo
from ssvid.video.location import as_path
from ssvid.video.shots import Shots

VERSION = 3

_SCHEMA = (
    "CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE videos (
    id INTEGER PRIMARY KEY, path TEXT UNIQUE NOT NULL, label TEXT, split TEXT, grp TEXT,
    status TEXT NOT NULL DEFAULT 'todo', reason TEXT, bytes INTEGER, modified INTEGER,
    info TEXT, shots TEXT, copy TEXT
)""",
    *frame_table.SCHEMA,
)

# a name is kept as its bytes, whether or not they are UTF-8; so paths go in as CAST(? AS TEXT) of os.fsencode
_SAME = "excluded.status = 'todo' AND bytes IS excluded.bytes AND modified IS excluded.modified"
_ENTER = f"""
INSERT INTO videos (path, label, split, grp, status, reason, bytes, modified) VALUES (CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET label = excluded.label, split = excluded.split, grp = excluded.grp,
    status = CASE WHEN {_SAME} THEN {membership.STATUS} ELSE excluded.status END,
    reason = CASE WHEN {_SAME} THEN reason ELSE excluded.reason END,
    info = CASE WHEN {_SAME} THEN info ELSE NULL END,
    copy = CASE WHEN bytes IS excluded.bytes AND modified IS excluded.modified THEN copy ELSE NULL END,
    bytes = excluded.bytes, modified = excluded.modified
"""
_SOURCE = "source "  # in front of the keys under which data sets say what they are


class Index:
    """An index file, open. Read it with `videos()`, `bad()`, `classes`; `ssvid.data.scanning` fills it.

    `titles`, `notes` and `flip` describe its data sets.

    It is written only by what changes it, so that one on a read-only disk can be read.
    Raises DataError when the file is missing (unless create=True), is not an index or was written by another version, and, from every
    method, where it cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str], create: bool = False) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            raise DataError(f"{self.path} is a folder; name a file for the index, as {self.path / 'index.sqlite'}")
        if not create and not self.path.is_file():
            raise DataError(f"{self.path} does not exist; make it with: ssvid index VIDEOS -o {self.path}")
        if create and not self.path.parent.is_dir():
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.database() as database:
            found = _version(database)
            if found is None and create:
                database.execute("BEGIN IMMEDIATE")  # another process may be making it too
                found = _version(database) or _make(database)
        if found is None:
            raise DataError(f"{self.path} is not an index of ssvid; make one with: ssvid index")
        if found != str(VERSION):
            raise DataError(
                f"{self.path} was written by another version ({found}, here {VERSION}); scan the videos again"
            )

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """One transaction on a connection of its own: committed on leaving, rolled back on an error.

        Raises DataError where the file cannot be read or written, and says why.
        """
        try:
            connection = sqlite3.connect(self.path, timeout=60)
            connection.text_factory = os.fsdecode
            try:
                with connection:
                    yield connection
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            raise _refused(self.path, error) from error

    def enter(self, place: str, listing: Listing) -> None:
        """Enter a data set: its videos, title, notes and whether it may be mirrored. `place` identifies it within the index.

        What the same place named before and does not name now is no longer its member; `leave_out_gone` takes it out of use.
        """
        about = {"title": listing.title, "flip": listing.flip, "notes": listing.notes}
        with self.database() as database:
            membership.prepare(database)
            membership.forget(database, place)
            _add(database, listing.entries, place)
            key = os.fsencode(f"{_SOURCE}{place}")
            database.execute("INSERT OR REPLACE INTO about VALUES (CAST(? AS TEXT), ?)", (key, json.dumps(about)))

    def add(self, entries: Iterable[Entry]) -> None:
        """Enter videos to be scanned. A known one is scanned again only if its size or time changed; labels are brought up to date.

        A video that a list names and that is not there gets a row with that reason.
        """
        with self.database() as database:
            membership.prepare(database)
            _add(database, entries, membership.NO_PLACE)

    def leave_out_gone(self) -> None:
        """Take out of use what no source names any more, and files that are not there; take back in what has come back."""
        with self.database() as database:
            membership.prepare(database)
            membership.leave_out_gone(database)

    def gone(self) -> list[str]:
        """Paths of the videos that left their sources, or whose files were deleted: kept here, and left out of use."""
        with self.database() as database:
            return [row[0] for row in database.execute("SELECT path FROM videos WHERE status = 'gone' ORDER BY id")]

    def prune(self) -> int:
        """Remove the rows of what is gone; returns how many."""
        with self.database() as database:
            membership.prepare(database)
            return membership.prune(database)

    def adopt(self, other: Path) -> None:
        """Take over what another index has found out about files that are still to be scanned here and have not changed since."""
        with self.database() as database:
            database.execute("ATTACH CAST(? AS TEXT) AS other", (os.fsencode(other),))
            same = (
                "there.path = videos.path AND there.bytes = videos.bytes AND there.modified = videos.modified "
                "AND there.status IN ('ok', 'bad')"
            )
            database.execute(
                "INSERT OR REPLACE INTO frames SELECT videos.id, content, times, motion FROM videos "
                f"JOIN other.videos AS there ON {same} JOIN other.frames ON video = there.id WHERE videos.status = 'todo'"
            )
            database.execute(
                "UPDATE videos SET (status, reason, info, shots, copy) = (SELECT status, reason, info, shots, copy "
                "FROM other.videos AS there WHERE there.path = videos.path) WHERE status = 'todo' "
                f"AND EXISTS (SELECT 1 FROM other.videos AS there WHERE {same})"
            )

    def todo(self) -> list[tuple[int, str]]:
        """(id, path) of the videos that still have to be scanned."""
        with self.database() as database:
            return database.execute("SELECT id, path FROM videos WHERE status = 'todo' ORDER BY id").fetchall()

    def set_scanned(self, id: int, info: VideoInfo, shots: Shots) -> None:
        """Enter what the scan found."""
        row = (info_to_json(info), shots_to_json(shots), id)
        with self.database() as database:
            frame_table.keep(database, id, info, shots)
            database.execute("UPDATE videos SET status = 'ok', reason = NULL, info = ?, shots = ? WHERE id = ?", row)

    def set_bad(self, id: int, reason: str, again: bool = False) -> None:
        """Enter why a file cannot be used. again: it is scanned again when its source is entered next, though it is the same."""
        forgotten = ", bytes = NULL, modified = NULL" if again else ""
        with self.database() as database:
            database.execute(
                f"UPDATE videos SET status = 'bad', reason = ?{forgotten} WHERE id = ?", (printable(reason), id)
            )

    def set_copies(self, copies: Mapping[int, VideoInfo]) -> None:
        """Enter the training copies of videos, by their ids."""
        rows = [(info_to_json(info), id) for id, info in copies.items()]
        with self.database() as database:
            database.executemany("UPDATE videos SET copy = ? WHERE id = ?", rows)

    def videos(self, split: str | None = None, paths: Iterable[str] | None = None) -> list[VideoRecord]:
        """The usable videos in the order they were entered, of one split or all, and only `paths` when given."""
        query = "SELECT id, label, split, grp, info, shots, copy FROM videos WHERE status = 'ok'"
        terms = (
            () if split is None else (split, split.lower(), *(name for name, known in SPLITS.items() if known == split))
        )
        if terms:  # an index of an older version spells them as its lists did
            query += f" AND lower(trim(split)) IN ({', '.join('?' * len(terms))})"
        with self.database() as database:
            database.text_factory = str  # these are ASCII or printable
            if paths is None:
                return records(self.path, database.execute(query + " ORDER BY id", terms))
            # one row is read for a path, not all of them
            one, names = query + " AND path = CAST(? AS TEXT)", {os.fsencode(as_path(path)) for path in paths}
            rows = sorted(row for name in names for row in database.execute(one, (*terms, name)))  # by their ids
            return records(self.path, iter(rows))

    def bad(self) -> list[BadVideo]:
        """The files that cannot be used, with the reasons."""
        with self.database() as database:
            query = "SELECT path, reason FROM videos WHERE status = 'bad' ORDER BY id"
            return [BadVideo(*row) for row in database.execute(query)]

    @property
    def classes(self) -> list[str]:
        """Labels of the usable videos, sorted."""
        with self.database() as database:
            query = "SELECT DISTINCT label FROM videos WHERE status = 'ok' AND label IS NOT NULL ORDER BY label"
            return [row[0] for row in database.execute(query)]

    @property
    def titles(self) -> list[str]:
        """The data sets with a name that are in the index, each with its split: "UCF101 split 1"."""
        return [about["title"] for about in self._sources() if about["title"]]

    @property
    def notes(self) -> list[str]:
        """How the data sets differ from their official release (missing videos, empty classes, other counts) and contradict themselves."""
        told = [": ".join(filter(None, (about["title"], note))) for about in self._sources() for note in about["notes"]]
        with self.database() as database:
            return told + membership.contradictions(database)

    @property
    def flip(self) -> bool:
        """Whether videos keep their labels when mirrored left to right; augmentation for training on labels must heed it."""
        return all(about["flip"] for about in self._sources())

    def _sources(self) -> list[dict[str, Any]]:
        with self.database() as database:
            query = "SELECT value FROM about WHERE substr(key, 1, ?) = ? ORDER BY rowid"
            return [json.loads(value) for (value,) in database.execute(query, (len(_SOURCE), _SOURCE))]

    def __bool__(self) -> bool:
        """Whether there is a usable video, without counting them."""
        with self.database() as database:
            return database.execute("SELECT 1 FROM videos WHERE status = 'ok' LIMIT 1").fetchone() is not None

    def __len__(self) -> int:
        with self.database() as database:
            return int(database.execute("SELECT COUNT(*) FROM videos WHERE status = 'ok'").fetchone()[0])


def _version(database: sqlite3.Connection) -> str | None:
    """The version an index says it is of; None for a file that is none, or that holds nothing yet."""
    if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone() is None:
        return None
    found = database.execute("SELECT value FROM about WHERE key = 'ssvid_index'").fetchone()
    return found and str(found[0])


def _make(database: sqlite3.Connection) -> str | None:
    """Make the tables of a new index, unless the file is another's data base."""
    if database.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
        return None
    for table in _SCHEMA:
        database.execute(table)
    database.execute("INSERT INTO about VALUES ('ssvid_index', ?)", (str(VERSION),))
    return str(VERSION)


def _refused(path: Path, error: sqlite3.DatabaseError) -> DataError:
    """What SQLite says of a file, and what to do."""
    if "not a database" in str(error):
        return DataError(f"{path} is not an index of ssvid ({error}); make one with: ssvid index")
    if "malformed" in str(error):
        return DataError(f"{path} is damaged ({error}); make it again")
    if "locked" in str(error):
        return DataError(f"{path} is being written by another process ({error}); try again when that has ended")
    remedy = "see to the permissions and the room there, or name another place"
    return DataError(
        "; ".join(filter(None, (f"{path} cannot be read or written ({error}); {remedy}", cache_remedy(path))))
    )


def _add(database: sqlite3.Connection, entries: Iterable[Entry], place: str) -> None:
    for entry in entries:
        if entry.named is not None:  # missing there before, found elsewhere now
            query = "DELETE FROM videos WHERE path = CAST(? AS TEXT) AND status = 'bad' AND bytes IS NULL"
            database.execute(query, (os.fsencode(entry.named),))
        reason, size, modified = _state(entry)
        # what a table shows and a file name is made of is text; only a path has to be found again
        names = (entry.label, known_split(entry.split), entry.group)
        told = (None if text is None else printable(text) for text in names)
        status, path = "bad" if reason else "todo", os.fsencode(entry.path)
        database.execute(_ENTER, (path, *told, status, reason and printable(reason), size, modified))
        membership.note(database, place, path)


def _state(entry: Entry) -> tuple[str | None, int | None, int | None]:
    """Why a video is not to be scanned, or None; its size; when it was changed."""
    if entry.missing:
        return entry.missing, None, None
    return (None, *entry.state) if entry.state else file_state(entry.path)
