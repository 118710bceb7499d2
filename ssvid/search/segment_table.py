"""Which vector stands for which seconds of which video: a table beside the index of the videos, in the same SQLite file.

A row's position is that of its vector. Rows are entered after their vectors are on the disk, a video in one transaction, so the number of
rows is the number of valid vectors; what changes positions changes the file of the vectors in the same transaction. A video that is taken
out leaves its rows behind, dead, until the file of the vectors is written anew without them. Nothing is written here by reading, and
every transaction is short, so that whoever searches need not wait for whoever writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from ssvid.data.index import Index
from ssvid.data.video_record import VideoRecord
from ssvid.errors import DataError
from ssvid.search.whitening import Whitening

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS segments (position INTEGER PRIMARY KEY, video INTEGER NOT NULL, start REAL NOT NULL, end REAL NOT NULL)",
    "CREATE INDEX IF NOT EXISTS stretches_video ON segments (video)",
    "CREATE TABLE IF NOT EXISTS encoded (video INTEGER PRIMARY KEY, bytes INTEGER, modified INTEGER)",
    "CREATE TABLE IF NOT EXISTS state (generation INTEGER NOT NULL, centre BLOB, axes BLOB)",
    "INSERT INTO state SELECT 0, NULL, NULL WHERE NOT EXISTS (SELECT 1 FROM state)",
)
_DEAD = -1  # the video of a dead row
_FITTED = "rows that the space is fitted on"  # the key in the index's table of facts
_AT_ONCE = 500  # positions asked for in one statement


class Segment(NamedTuple):
    """One row: the video's id, path, label and group, and seconds from and to."""

    video: int
    path: str
    label: str | None
    group: str | None
    start: float
    end: float


class Stamp(NamedTuple):
    """What changes when a collection does. generation: number of the file of the vectors, one more whenever positions change. held:
    vectors in it. dead: how many of these are dead. file: which SQLite file it is, another one where the collection was made anew."""

    generation: int
    held: int
    dead: int
    file: int


class SegmentTable:
    """The rows of a collection. index: the videos they are of, in whose file they are kept.

    create: make the tables where there are none; without it nothing is written here. Raises DataError where there are none.
    """

    def __init__(self, index: Index, create: bool = False) -> None:
        self.index = index
        with index.database() as database:
            if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'state'").fetchone():
                return
            if not create:
                raise DataError(f"{index.path.parent} is not finished; the same `ssvid retrieve index` command goes on")
            database.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                database.execute(statement)

    def __len__(self) -> int:
        stamp = self.stamp()
        return stamp.held - stamp.dead

    def stamp(self) -> Stamp:
        """How the collection stands now."""
        query = (
            "SELECT generation, (SELECT COALESCE(MAX(position) + 1, 0) FROM segments), "
            "(SELECT COUNT(*) FROM segments WHERE video = ?) FROM state"
        )
        with self.index.database() as database:
            generation, held, dead = database.execute(query, (_DEAD,)).fetchone()
        return Stamp(generation, held, dead, self.index.path.stat().st_ino)

    @property
    def generation(self) -> int:
        """Number of the file of the vectors: it grows whenever positions change."""
        with self.index.database() as database:
            return int(database.execute("SELECT generation FROM state").fetchone()[0])

    @property
    def fitted(self) -> int:
        """Number of rows that the space was fitted on; 0 where that is not known."""
        with self.index.database() as database:
            found = database.execute("SELECT value FROM about WHERE key = ?", (_FITTED,)).fetchone()
        return int(found[0]) if found else 0

    @property
    def space(self) -> Whitening | None:
        """What every vector goes through; None until the first build has come to its end."""
        with self.index.database() as database:
            held, axes = database.execute("SELECT centre, axes FROM state").fetchone()
        if held is None:
            return None
        centre = np.frombuffer(held, np.float32)
        return Whitening(centre, None if axes is None else np.frombuffer(axes, np.float32).reshape(-1, len(centre)))

    def enter(self, video: VideoRecord, spans: np.ndarray, first: int) -> None:
        """Enter a video's rows, spans (R,2) in seconds, from position `first` on."""
        rows = [(first + number, video.id, *map(float, span)) for number, span in enumerate(spans)]
        with self.index.database() as database:
            database.executemany("INSERT INTO segments VALUES (?, ?, ?, ?)", rows)
            query = "INSERT OR REPLACE INTO encoded SELECT id, bytes, modified FROM videos WHERE id = ?"
            database.execute(query, (video.id,))

    def done(self) -> set[int]:
        """Ids of the videos whose rows are in and whose file is still the same."""
        with self.index.database() as database:
            return {row[0] for row in database.execute(f"SELECT encoded.video FROM encoded {_SAME_FILE}")}

    def stale(self) -> set[int]:
        """Ids of the videos whose rows are in and whose file has changed or cannot be used any more."""
        with self.index.database() as database:
            entered = {row[0] for row in database.execute("SELECT video FROM encoded")}
        return entered - self.done()

    def is_current(self, video: int) -> bool:
        """Whether the rows of a video are in and its file is still the same."""
        with self.index.database() as database:
            query = f"SELECT 1 FROM encoded {_SAME_FILE} WHERE encoded.video = ?"
            return database.execute(query, (video,)).fetchone() is not None

    def ids(self, paths: Iterable[str]) -> dict[str, int]:
        """Id of every path that is in the index."""
        with self.index.database() as database:
            query = "SELECT id FROM videos WHERE path = CAST(? AS TEXT)"
            found = {path: database.execute(query, (os.fsencode(path),)).fetchone() for path in paths}
        return {path: row[0] for path, row in found.items() if row}

    def positions(self, videos: Iterable[int]) -> np.ndarray:
        """Positions int64 of the rows of these videos, ascending."""
        with self.index.database() as database:
            query = "SELECT position FROM segments WHERE video = ?"
            found = [row[0] for video in videos for row in database.execute(query, (video,))]
        return np.sort(np.array(found, np.int64))

    def dead(self) -> np.ndarray:
        """Positions int64 of the dead rows, ascending."""
        with self.index.database() as database:
            query = "SELECT position FROM segments WHERE video = ? ORDER BY position"
            return np.fromiter((row[0] for row in database.execute(query, (_DEAD,))), np.int64)

    def places(self, positions: Sequence[int] | np.ndarray) -> dict[int, Segment]:
        """The living rows among these positions, by position."""
        wanted = [int(position) for position in positions]
        found: dict[int, Segment] = {}
        with self.index.database() as database:
            for first in range(0, len(wanted), _AT_ONCE):
                some = wanted[first : first + _AT_ONCE]
                query = (
                    "SELECT position, video, path, label, grp, start, end FROM segments JOIN videos ON videos.id = segments.video "
                    f"WHERE position IN ({', '.join('?' * len(some))})"
                )
                found |= {row[0]: Segment(*row[1:]) for row in database.execute(query, some)}
        return found

    def videos(self) -> int:
        """Number of videos that have rows."""
        with self.index.database() as database:
            return int(database.execute("SELECT COUNT(*) FROM encoded").fetchone()[0])

    def moved(self, space: Whitening, fitted: int) -> None:
        """Fix the space, which was fitted on so many rows, and with it the next generation."""
        axes = None if space.axes is None else space.axes.tobytes()
        with self.index.database() as database:
            query = "UPDATE state SET centre = ?, axes = ?, generation = generation + 1"
            database.execute(query, (space.centre.tobytes(), axes))
            database.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (_FITTED, str(fitted)))

    def bury(self, videos: Iterable[int], forget: bool) -> None:
        """Leave the rows of `videos` dead. forget: take the videos out of the index as well."""
        ids = [(video,) for video in videos]
        with self.index.database() as database:
            database.executemany(f"UPDATE segments SET video = {_DEAD} WHERE video = ?", ids)
            database.executemany("DELETE FROM encoded WHERE video = ?", ids)
            if forget:
                database.executemany("DELETE FROM videos WHERE id = ?", ids)

    @contextmanager
    def without_dead(self) -> Iterator[np.ndarray]:
        """Gives the positions that live; on leaving without an error, the dead rows are gone, the others have moved up and the
        generation is the next."""
        living = f"FROM segments WHERE video != {_DEAD} ORDER BY position"
        with self.index.database() as database:
            yield np.fromiter((row[0] for row in database.execute(f"SELECT position {living}")), np.int64)
            database.execute(
                "CREATE TEMP TABLE kept AS SELECT ROW_NUMBER() OVER (ORDER BY position) - 1, video, start, end "
                + living
            )
            database.execute("DELETE FROM segments")
            database.execute("INSERT INTO segments SELECT * FROM kept")
            database.execute("UPDATE state SET generation = generation + 1")


_SAME_FILE = (
    "JOIN videos ON videos.id = encoded.video AND videos.status = 'ok' AND videos.bytes IS encoded.bytes "
    "AND videos.modified IS encoded.modified"
)
