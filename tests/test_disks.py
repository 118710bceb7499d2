"""Disks that are full or may only be read: what reads works, what writes says so in one line, and a job goes on with the next file."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ssvid.data.index import Index
from ssvid.data.scanning import scan_videos, write_training_copies
from ssvid.errors import DataError
from tests.refused import refused, ssvid
from tests.test_layouts import film


@pytest.fixture
def locked(tmp_path):
    """A folder that may be read and not be written, with an index of one video in it."""
    folder = tmp_path / "locked"
    film(tmp_path / "v" / "a.mp4")
    index = Index(folder / "i.sqlite", create=True)
    scan_videos([tmp_path / "v"], index, engine="local:1")
    index.path.chmod(0o444)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


def one_line(answer: tuple[int, str, str], *words: str) -> None:
    code, _, err = answer
    assert code == 3, err
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert all(word in err for word in words), err


def test_an_index_on_a_read_only_disk_can_be_used(locked):
    code = f"from ssvid.data.scanning import open_data; i = open_data([{str(locked / 'i.sqlite')!r}]); print(len(i), i.notes, i.gone())"
    assert refused("-c", code) == (0, "1 [] []\n", "")


def test_opening_an_index_writes_nothing(tmp_path):
    index = Index(tmp_path / "i.sqlite", create=True)
    before = (index.path.stat().st_mtime_ns, index.path.read_bytes())
    Index(index.path, create=True)
    assert Index(index.path).videos() == []
    assert Index(index.path).notes == []
    assert (index.path.stat().st_mtime_ns, index.path.read_bytes()) == before


def test_the_data_base_of_another_program_is_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "bookmarks.sqlite") as database:
        database.execute("CREATE TABLE bookmarks (address TEXT)")
    database.close()
    before = (tmp_path / "bookmarks.sqlite").read_bytes()
    with pytest.raises(DataError, match="not an index of ssvid"):
        Index(tmp_path / "bookmarks.sqlite", create=True)
    assert (tmp_path / "bookmarks.sqlite").read_bytes() == before


def test_what_cannot_be_written_is_one_line(locked, tmp_path):
    film(tmp_path / "v" / "b.mp4")
    one_line(
        ssvid("index", tmp_path / "v", "-o", locked / "i.sqlite"), "i.sqlite cannot be read or written", "another place"
    )
    one_line(ssvid("index", tmp_path / "v", "-o", locked / "new" / "j.sqlite"), "new: Permission denied")
    one_line(ssvid("index", tmp_path / "v", "-o", tmp_path / "k.sqlite", "--transcode", locked), "locked")
    one_line(ssvid("make-world", locked / "world", "--per-class", "1"), "Permission denied")
    traced = ssvid("-v", "index", tmp_path / "v", "-o", locked / "i.sqlite")
    assert "Traceback" in traced[2]


def test_a_disk_that_fills_up_is_one_line(tmp_path):
    film(tmp_path / "v" / "a.mp4")
    one_line(
        ssvid("index", tmp_path / "v", "-o", tmp_path / "i.sqlite", most=8192), "i.sqlite cannot be read or written"
    )
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "ssvid", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    one_line((done.returncode, "", done.stderr), "No space left on device")


def test_one_copy_that_fails_ends_no_others(tmp_path, caplog):
    film(tmp_path / "v" / "a.mp4")
    film(tmp_path / "v" / "b.mp4")
    index = Index(tmp_path / "i.sqlite", create=True)
    scan_videos([tmp_path / "v"], index, engine="local:1")
    shutil.copy(tmp_path / "i.sqlite", tmp_path / "v" / "a.mp4")  # damaged since
    assert write_training_copies(index, tmp_path / "copies", engine="local:1") == 1
    assert "a.mp4: has no training copy and is read itself" in caplog.text
    assert [video.copy is None for video in index.videos()] == [True, False]


def test_an_unfinished_reader_of_the_output_is_no_error(tmp_path):
    done = subprocess.run(
        f"{sys.executable} -m ssvid list | head -1", shell=True, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
