"""Which source names which video, so that an index mirrors its sources: what left them is left out of use, and told.

A video is kept as long as any source names it. One that none does, or whose file is not there any more, gets the status "gone": its row and
its scan stay, for the day it comes back, and nothing uses it.
"""

from __future__ import annotations

import os
import sqlite3

from ssvid.data.layouts import UNUSED
from ssvid.errors import some
from ssvid.files import printable
from ssvid.video.location import is_file_path

NO_PLACE = ""  # of videos that were entered without a source: they stay until they are removed
_SCHEMA = (
    """CREATE TABLE members (
    place TEXT NOT NULL, video INTEGER NOT NULL, label TEXT, split TEXT, grp TEXT, PRIMARY KEY (video, place)
) WITHOUT ROWID""",
    # SQLite gives the number of a removed row to a later one
    "CREATE TRIGGER members_go AFTER DELETE ON videos BEGIN DELETE FROM members WHERE video = old.id; END",
)
# the status of a video that a source names (again)
STATUS = "CASE WHEN status != 'gone' THEN status WHEN reason IS NOT NULL THEN 'bad' WHEN info IS NOT NULL THEN 'ok' ELSE 'todo' END"


def prepare(database: sqlite3.Connection) -> None:
    """Begin to write, with a table. In an index of an older version, all videos are those of its source, where it has only one."""
    if not database.in_transaction:
        database.execute("BEGIN IMMEDIATE")  # a half-made table would take every video out of use
    if _kept(database):
        return
    for statement in _SCHEMA:
        database.execute(statement)
    places = [row[0] for row in database.execute("SELECT substr(key, 8) FROM about WHERE key LIKE 'source %'")]
    place = places[0] if len(places) == 1 else NO_PLACE
    query = "INSERT INTO members SELECT CAST(? AS TEXT), id, label, split, grp FROM videos"
    database.execute(query, (os.fsencode(place),))


def forget(database: sqlite3.Connection, place: str) -> None:
    """Forget what a place named."""
    database.execute("DELETE FROM members WHERE place = CAST(? AS TEXT)", (os.fsencode(place),))


def note(database: sqlite3.Connection, place: str, path: bytes) -> None:
    """Note that a place names a video, and with which label, split and group."""
    query = "INSERT OR REPLACE INTO members SELECT CAST(? AS TEXT), id, label, split, grp FROM videos WHERE path = CAST(? AS TEXT)"
    database.execute(query, (os.fsencode(place), path))


def leave_out_gone(database: sqlite3.Connection) -> None:
    """Give the status "gone" to what no place names and to files that are not there; take it from those that are back."""
    named = "id IN (SELECT video FROM members)"
    database.execute(
        f"DELETE FROM videos WHERE status = 'bad' AND bytes IS NULL AND NOT {named}"
    )  # there was nothing to keep
    database.execute(f"UPDATE videos SET status = 'gone' WHERE status != 'gone' AND NOT {named}")
    query = f"SELECT id, path, status FROM videos WHERE status IN ('ok', 'gone') AND {named}"
    for id, path, before in database.execute(query).fetchall():
        there = not is_file_path(path) or os.path.exists(path)  # what is no file was asked for when it was entered
        if there == (before == "gone"):
            status = STATUS if there else "'gone'"
            database.execute(f"UPDATE videos SET status = {status} WHERE id = ?", (id,))


def prune(database: sqlite3.Connection) -> int:
    """Remove what is gone; returns how many videos."""
    return database.execute("DELETE FROM videos WHERE status = 'gone'").rowcount


def contradictions(database: sqlite3.Connection) -> list[str]:
    """Sentences that count the videos to which two sources give two labels or two splits, and the groups that two splits share."""
    notes = []
    if _kept(database):
        for column, what in (("label", "labels"), ("split", "splits")):
            query = (
                f"SELECT path FROM members JOIN videos ON videos.id = video WHERE status = 'ok' AND place != '' AND members.{column} "
                f"IS NOT NULL GROUP BY video HAVING COUNT(DISTINCT members.{column}) > 1 ORDER BY path"
            )
            paths = [os.path.basename(row[0]) for row in database.execute(query)]
            if paths:
                notes.append(f"{len(paths):,} videos have two {what}, and the one entered last counts: {some(paths)}")
    query = (
        "SELECT grp FROM videos WHERE status = 'ok' AND grp IS NOT NULL AND split IS NOT NULL AND split != ? "
        "GROUP BY grp HAVING COUNT(DISTINCT split) > 1 ORDER BY grp"
    )
    groups = [row[0] for row in database.execute(query, (UNUSED,))]
    if groups:
        notes.append(
            f"{len(groups):,} groups are in two splits, so training and test videos are related: {some(groups)}"
        )
    return [printable(text) for text in notes]


def _kept(database: sqlite3.Connection) -> bool:
    return database.execute("SELECT 1 FROM sqlite_master WHERE name = 'members'").fetchone() is not None
