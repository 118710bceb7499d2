"""Large indexes for the benches of growth, made by copying the rows of a small one: there are no files behind them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence


def copy_video(database: sqlite3.Connection, id: int, paths: Sequence[str]) -> None:
    """Enter a video of an index again under other paths, with all that is known of it."""
    columns = [row[1] for row in database.execute("PRAGMA table_info(videos)")][1:]
    original = database.execute("SELECT path FROM videos WHERE id = ?", (id,)).fetchone()[0]
    drawn = {"path": "?", "info": "REPLACE(info, ?, ?)"}
    values = ", ".join(drawn.get(column, column) for column in columns)
    query = f"INSERT INTO videos ({', '.join(columns)}) SELECT {values} FROM videos WHERE id = {id}"
    last = database.execute("SELECT MAX(id) FROM videos").fetchone()[0]
    database.executemany(query, ((path, original, path) for path in paths))
    arrays = "INSERT INTO frames SELECT videos.id, content, times, motion FROM videos JOIN frames ON video = ? WHERE videos.id > ?"
    database.execute(arrays, (id, last))
