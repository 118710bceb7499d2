"""The index: every video scanned once, kept in one SQLite file that training, evaluation and search read and never probe again.

A row holds the label, split and group of a video, what its file holds (true frame count, times, size, codec, audio, seek safety), its
motion, cuts, black bars and static share, or the reason why it cannot be used. Every row is a transaction of its own, so a killed scan
loses nothing and the next one goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ssvid.data.layouts import Entry, Listing
from ssvid.errors import DataError
from ssvid.video.info import VideoInfo
from ssvid.video.shots import Shots

VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS videos (
    id INTEGER PRIMARY KEY, path TEXT UNIQUE NOT NULL, label TEXT, split TEXT, grp TEXT,
    status TEXT NOT NULL DEFAULT 'todo', reason TEXT, bytes INTEGER, modified INTEGER,
    info TEXT, times BLOB, motion BLOB, shots TEXT, copy TEXT
);
"""

_SAME = "bytes IS excluded.bytes AND modified IS excluded.modified"
_ENTER = f"""
INSERT INTO videos (path, label, split, grp, status, reason, bytes, modified) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET label = excluded.label, split = excluded.split, grp = excluded.grp,
    status = CASE WHEN excluded.status = 'todo' AND {_SAME} THEN status ELSE excluded.status END,
    reason = CASE WHEN excluded.status = 'todo' AND {_SAME} THEN reason ELSE excluded.reason END,
    copy = CASE WHEN {_SAME} THEN copy ELSE NULL END,
    bytes = excluded.bytes, modified = excluded.modified
"""
_SOURCE = "source "  # in front of the keys under which data sets say what they are


@dataclass(frozen=True)
class VideoRecord:
    """One usable video of an index.

    info describes the original file; `source` is what to decode, the training copy where there is one: the copy has the same frames
    at the same times, only smaller and quicker to seek in. hidden: part of the picture that is masked wherever the video is read, bool
    (h,w), a grid over the whole picture as shown; None shows all.
    """

    id: int
    info: VideoInfo
    shots: Shots
    label: str | None = None
    split: str | None = None
    group: str | None = None
    copy: VideoInfo | None = None
    hidden: np.ndarray | None = field(default=None, compare=False)

    @property
    def path(self) -> str:
        """The original file."""
        return self.info.path

    @property
    def source(self) -> VideoInfo:
        """The file to decode."""
        return self.copy or self.info


@dataclass(frozen=True)
class BadVideo:
    """One file of an index that cannot be used, and why."""

    path: str
    reason: str

    @property
    def missing(self) -> bool:
        """Whether a list names the file and it is not there."""
        return self.reason.startswith("missing:")


class Index:
    """An index file, open. Read it with `videos()`, `bad()`, `classes`; `ssvid.data.scanning` fills it.

    `titles`, `notes` and `flip` describe its data sets.

    Raises DataError when the file is missing (unless create=True), is not an index or was written by another version.
    """

    def __init__(self, path: str | os.PathLike[str], create: bool = False) -> None:
        self.path = Path(path)
        if not create and not self.path.is_file():
            raise DataError(f"{self.path} does not exist; make it with: ssvid index VIDEOS -o {self.path}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.database() as database:
            try:
                database.executescript(_SCHEMA)
                database.execute("INSERT OR IGNORE INTO about VALUES ('ssvid_index', ?)", (str(VERSION),))
                found = database.execute("SELECT value FROM about WHERE key = 'ssvid_index'").fetchone()[0]
            except sqlite3.DatabaseError as error:
                raise DataError(
                    f"{self.path} is not an index of ssvid ({error}); make one with: ssvid index"
                ) from error
        if found != str(VERSION):
            raise DataError(
                f"{self.path} was written by another version ({found}, here {VERSION}); scan the videos again"
            )

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """One transaction on a connection of its own: committed on leaving, rolled back on an error."""
        connection = sqlite3.connect(self.path, timeout=60)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def enter(self, place: str, listing: Listing) -> None:
        """Enter a data set: its videos, title, notes and whether it may be mirrored. `place` identifies it within the index."""
        self.add(listing.entries)
        about = {"title": listing.title, "flip": listing.flip, "notes": listing.notes}
        with self.database() as database:
            database.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (f"{_SOURCE}{place}", json.dumps(about)))

    def add(self, entries: Iterable[Entry]) -> None:
        """Enter videos to be scanned. A known one is scanned again only if its size or time changed; labels are brought up to date.

        A video that a list names and that is not there gets a row with that reason.
        """
        with self.database() as database:
            for entry in entries:
                if entry.named is not None:  # missing there before, found elsewhere now
                    query = "DELETE FROM videos WHERE path = ? AND status = 'bad' AND bytes IS NULL"
                    database.execute(query, (str(entry.named),))
                stat = entry.path.stat() if entry.path.exists() else None
                size, modified = (stat.st_size, stat.st_mtime_ns) if stat else (None, None)
                status = "bad" if entry.missing else "todo"
                row = (str(entry.path), entry.label, entry.split, entry.group, status, entry.missing, size, modified)
                database.execute(_ENTER, row)

    def adopt(self, other: Path) -> None:
        """Take over what another index has found out about files that are still to be scanned here and have not changed since."""
        with self.database() as database:
            database.execute("ATTACH ? AS other", (str(other),))
            database.execute(
                "UPDATE videos SET (status, reason, info, times, motion, shots, copy) = "
                "(SELECT status, reason, info, times, motion, shots, copy FROM other.videos AS there "
                "WHERE there.path = videos.path) WHERE status = 'todo' AND EXISTS (SELECT 1 FROM other.videos AS there "
                "WHERE there.path = videos.path AND there.bytes = videos.bytes AND there.modified = videos.modified "
                "AND there.status != 'todo')"
            )

    def todo(self) -> list[tuple[int, str]]:
        """(id, path) of the videos that still have to be scanned."""
        with self.database() as database:
            return database.execute("SELECT id, path FROM videos WHERE status = 'todo' ORDER BY id").fetchall()

    def without_copy(self) -> list[tuple[int, str]]:
        """(id, path) of the usable videos that have no training copy yet."""
        with self.database() as database:
            query = "SELECT id, path FROM videos WHERE status = 'ok' AND copy IS NULL ORDER BY id"
            return database.execute(query).fetchall()

    def set_scanned(self, id: int, info: VideoInfo, shots: Shots) -> None:
        """Enter what the scan found."""
        row = (_info_to_json(info), info.times.tobytes(), shots.motion.tobytes(), _shots_to_json(shots), id)
        with self.database() as database:
            query = "UPDATE videos SET status = 'ok', reason = NULL, info = ?, times = ?, motion = ?, shots = ? WHERE id = ?"
            database.execute(query, row)

    def set_bad(self, id: int, reason: str) -> None:
        """Enter why a file cannot be used."""
        with self.database() as database:
            database.execute("UPDATE videos SET status = 'bad', reason = ? WHERE id = ?", (reason, id))

    def set_copy(self, id: int, info: VideoInfo) -> None:
        """Enter the training copy of a video."""
        with self.database() as database:
            database.execute("UPDATE videos SET copy = ? WHERE id = ?", (_info_to_json(info), id))

    def videos(self, split: str | None = None, paths: Iterable[str] | None = None) -> list[VideoRecord]:
        """The usable videos in the order they were entered, of one split or all, and only `paths` when given."""
        wanted = None if paths is None else {str(Path(path)) for path in paths}
        query = "SELECT id, label, split, grp, info, times, motion, shots, copy, path FROM videos WHERE status = 'ok'"
        with self.database() as database:
            if split is None:
                rows = database.execute(query + " ORDER BY id").fetchall()
            else:
                rows = database.execute(query + " AND split = ? ORDER BY id", (split,)).fetchall()
        return [_record(row) for row in rows if wanted is None or row[9] in wanted]

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
        """How the data sets differ from their official release: missing videos, empty classes, other counts."""
        return [": ".join(filter(None, (about["title"], note))) for about in self._sources() for note in about["notes"]]

    @property
    def flip(self) -> bool:
        """Whether videos keep their labels when mirrored left to right; augmentation for training on labels must heed it."""
        return all(about["flip"] for about in self._sources())

    def _sources(self) -> list[dict[str, Any]]:
        with self.database() as database:
            query = "SELECT value FROM about WHERE substr(key, 1, ?) = ? ORDER BY rowid"
            return [json.loads(value) for (value,) in database.execute(query, (len(_SOURCE), _SOURCE))]

    def __len__(self) -> int:
        with self.database() as database:
            return int(database.execute("SELECT COUNT(*) FROM videos WHERE status = 'ok'").fetchone()[0])


def fingerprint(videos: Iterable[VideoRecord]) -> str:
    """Twelve hex digits that change when a video is added, removed, renamed, relabelled or has another number of frames."""
    digest = hashlib.sha256()
    for video in videos:
        row = (video.path, video.label, video.split, video.group, video.info.frames, video.source.width)
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()[:12]


def _record(row: tuple[Any, ...]) -> VideoRecord:
    id, label, split, group, info_json, times, motion, shots_json, copy_json, _ = row
    info = VideoInfo(times=np.frombuffer(times, np.float64), **json.loads(info_json))
    copy = replace(info, **json.loads(copy_json)) if copy_json else None
    fields = json.loads(shots_json)
    shots = Shots(
        motion=np.frombuffer(motion, np.float32),
        cuts=tuple(fields["cuts"]),
        bars=tuple(fields["bars"]),
        static=fields["static"],
    )
    return VideoRecord(id, info, shots, label, split, group, copy)


def _info_to_json(info: VideoInfo) -> str:
    return json.dumps({key: value for key, value in vars(info).items() if key != "times"})


def _shots_to_json(shots: Shots) -> str:
    return json.dumps({"cuts": shots.cuts, "bars": shots.bars, "static": shots.static})
