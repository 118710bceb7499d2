"""Which vector stands for which seconds of which video: a table beside the index of the videos, in the same SQLite file.

A row's position is that of its vector. Rows are entered after their vectors are on the disk, a video in one transaction, so the number of
rows is the number of valid vectors; what changes positions changes the file of the vectors in the same transaction.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from ssvid.data.index import Index, VideoRecord
from ssvid.errors import DataError
from ssvid.search.whitening import Whitening

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS segments (position INTEGER PRIMARY KEY, video INTEGER NOT NULL, start REAL NOT NULL, end REAL NOT NULL)",
    "CREATE INDEX IF NOT EXISTS stretches_video ON segments (video)",
    "CREATE TABLE IF NOT EXISTS encoded (video INTEGER PRIMARY KEY, bytes INTEGER, modified INTEGER)",
    "CREATE TABLE IF NOT EXISTS state (generation INTEGER NOT NULL, centre BLOB, axes BLOB)",
    "INSERT INTO state SELECT 0, NULL, NULL WHERE NOT EXISTS (SELECT 1 FROM state)",
)


class Segment(NamedTuple):
    """One row: the video's id, path, label and group, and seconds from and to."""

    video: int
    path: str
    label: str | None
    group: str | None
    start: float
    end: float


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
        with self.index.database() as database:
            return int(database.execute("SELECT COUNT(*) FROM segments").fetchone()[0])

    @property
    def generation(self) -> int:
        """Number of the file of the vectors: it grows whenever positions change."""
        with self.index.database() as database:
            return int(database.execute("SELECT generation FROM state").fetchone()[0])

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

    def places(self, positions: Sequence[int] | np.ndarray) -> list[Segment]:
        """The rows at these positions."""
        query = "SELECT video, path, label, grp, start, end FROM segments JOIN videos ON videos.id = segments.video WHERE position = ?"
        with self.index.database() as database:
            return [Segment(*database.execute(query, (int(position),)).fetchone()) for position in positions]

    def videos(self) -> int:
        """Number of videos that have rows."""
        with self.index.database() as database:
            return int(database.execute("SELECT COUNT(*) FROM encoded").fetchone()[0])

    def version(self) -> tuple[int, int]:
        """The generation and the number of rows: what changes when another process changes the collection."""
        with self.index.database() as database:
            query = "SELECT generation, (SELECT MAX(position) FROM segments) FROM state"
            generation, last = database.execute(query).fetchone()
        return int(generation), 0 if last is None else int(last) + 1

    def begin_anew(self) -> None:
        """Forget the rows and the space, as before the first build; the videos stay."""
        with self.index.database() as database:
            database.execute("DELETE FROM segments")
            database.execute("DELETE FROM encoded")
            database.execute("UPDATE state SET centre = NULL, axes = NULL, generation = generation + 1")

    def moved(self, space: Whitening) -> None:
        """Fix the space, and with it the next generation."""
        axes = None if space.axes is None else space.axes.tobytes()
        with self.index.database() as database:
            query = "UPDATE state SET centre = ?, axes = ?, generation = generation + 1"
            database.execute(query, (space.centre.tobytes(), axes))

    @contextmanager
    def without(self, videos: set[int], forget: bool) -> Iterator[np.ndarray]:
        """Gives the positions that stay; on leaving without an error, the rows of `videos` are gone, the others have moved up and the
        generation is the next. forget: take the videos out of the index as well."""
        with self.index.database() as database:
            rows = database.execute("SELECT * FROM segments ORDER BY position").fetchall()
            kept = [row for row in rows if row[1] not in videos]
            yield np.array([row[0] for row in kept], np.int64)
            database.execute("DELETE FROM segments")
            moved = [(position, *row[1:]) for position, row in enumerate(kept)]
            database.executemany("INSERT INTO segments VALUES (?, ?, ?, ?)", moved)
            ids = [(video,) for video in videos]
            database.executemany("DELETE FROM encoded WHERE video = ?", ids)
            if forget:
                database.executemany("DELETE FROM videos WHERE id = ?", ids)
            database.execute("UPDATE state SET generation = generation + 1")


_SAME_FILE = (
    "JOIN videos ON videos.id = encoded.video AND videos.status = 'ok' AND videos.bytes IS encoded.bytes "
    "AND videos.modified IS encoded.modified"
)
