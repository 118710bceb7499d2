"""What an index knows of every frame: a table of its own, so that rows are read without it and a frame's numbers only when asked for.

A row belongs to the content that was scanned, so that nobody gets the times of another video, or of another state of a file.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ssvid.errors import DataError
from ssvid.video.identity import contents
from ssvid.video.info import VideoInfo
from ssvid.video.on_demand import Stored
from ssvid.video.shots import Shots

RECENT = 64  # videos whose arrays a process keeps
SCHEMA = (
    "CREATE TABLE frames (video INTEGER PRIMARY KEY, content TEXT NOT NULL, times BLOB NOT NULL, motion BLOB NOT NULL)",
    # SQLite gives the number of a removed row to a later one
    "CREATE TRIGGER frames_go AFTER DELETE ON videos BEGIN DELETE FROM frames WHERE video = old.id; END",
)
_READ = "SELECT content, times, motion FROM frames JOIN videos ON videos.id = video WHERE video = ? AND path = CAST(? AS TEXT)"


@dataclass(slots=True, unsafe_hash=True)
class StoredFrames(Stored):
    """Where the arrays of a video lie: the index, its row, and what tells that they are still those of the record."""

    index: str
    id: int
    path: str
    frames: int
    identity: str

    def read(self, name: str) -> np.ndarray:
        """`times` float64 (frames,) or `motion` float32 (frames,), read-only. Raises DataError where the index no longer has them."""
        times, motion = _recent(self)
        return times if name == "times" else motion


@lru_cache(RECENT)
def _recent(place: StoredFrames) -> tuple[np.ndarray, np.ndarray]:
    try:
        # opened for every video: a connection must not outlive a fork, nor an index that is replaced
        database = sqlite3.connect(f"{Path(place.index).as_uri()}?mode=rw", uri=True, timeout=60)
        try:
            row = database.execute(_READ, (place.id, os.fsencode(place.path))).fetchone()
        finally:
            database.close()
    except sqlite3.DatabaseError as error:
        raise DataError(
            f"{place.index} can no longer be read ({error}), and with it what it knows of {place.path}; put it back or "
            "make it again, then go on"
        ) from error
    if row is None or row[0] != contents(place.identity) or len(row[1]) != 8 * place.frames:
        raise DataError(
            f"{place.index} was changed while it was in use: it no longer holds what was read of {place.path}; start again, or "
            "resume, with the index as it is now"
        )
    return np.frombuffer(row[1], np.float64), np.frombuffer(row[2], np.float32)


def keep(database: sqlite3.Connection, id: int, info: VideoInfo, shots: Shots) -> None:
    """Enter the arrays of a video that has been scanned, in place of those of an earlier scan."""
    row = (id, contents(info.identity), info.times.tobytes(), shots.motion.tobytes())
    database.execute("INSERT OR REPLACE INTO frames VALUES (?, ?, ?, ?)", row)
