"""An index mirrors its sources: what left them is out of use, kept and told, and comes back; `--prune` removes it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from ssvid.data.index import Index
from ssvid.data.scanning import open_data, scan_videos
from ssvid.data.video_record import fingerprint
from ssvid.evaluation.splits import open_labelled
from tests.test_cli import called
from tests.test_layouts import film

ROWS = [("a", "run", "train"), ("b", "walk", "train"), ("c", "run", "test"), ("d", "walk", "test")]


def write_list(path: Path, rows) -> Path:
    path.write_text("path,label,split\n" + "".join(f"{name}.mp4,{label},{split}\n" for name, label, split in rows))
    return path


@pytest.fixture
def listed(tmp_path) -> Path:
    for name, *_ in ROWS:
        film(tmp_path / f"{name}.mp4")
    return write_list(tmp_path / "list.csv", ROWS)


def used(index: Index) -> list[str]:
    return [Path(video.path).stem for video in index.videos()]


def test_a_line_that_is_dropped_is_out_of_use_and_comes_back(listed, tmp_path):
    index = Index(tmp_path / "i.sqlite", create=True)
    assert scan_videos([listed], index, engine="local:1").usable == 4
    whole = fingerprint(index.videos())
    write_list(listed, ROWS[:3])
    summary = scan_videos([listed], index, engine="local:1")
    assert (summary.usable, summary.bad, summary.scanned) == (3, 0, 0)
    assert used(index) == ["a", "b", "c"]
    assert [Path(path).stem for path in index.gone()] == ["d"]
    assert index.classes == ["run", "walk"]
    write_list(listed, ROWS)
    assert scan_videos([listed], index, engine="local:1").scanned == 0  # its scan was kept
    assert fingerprint(index.videos()) == whole
    film(tmp_path / "d.mp4", 9)
    write_list(listed, ROWS[:3])
    scan_videos([listed], index, engine="local:1")
    write_list(listed, ROWS)
    assert scan_videos([listed], index, engine="local:1").scanned == 1  # it changed while it was away
    assert [video.info.frames for video in index.videos()] == [5, 5, 5, 9]


def test_tables_use_what_the_list_names_now(listed):
    rows = [(name, label, split) for name, label, split in ROWS if name != "b"] + [("b", "run", "train")]
    assert open_labelled(str(listed)).split == "own split, 2 train, 2 test"
    write_list(listed, [row for row in rows if row[0] != "d" and row[1] == "run"])
    assert open_labelled(str(listed)).split == "own split, 2 train, 1 test"


def test_a_deleted_file_is_gone_from_a_folder_and_from_other_sources_of_the_index(tmp_path):
    for name in ("a", "b", "c"):
        film(tmp_path / "v" / f"{name}.mp4")
    film(tmp_path / "w" / "d.mp4")
    index = Index(tmp_path / "i.sqlite", create=True)
    scan_videos([tmp_path / "v", tmp_path / "w"], index, engine="local:1")
    (tmp_path / "v" / "b.mp4").unlink()
    (tmp_path / "v" / "c.mp4").rename(tmp_path / "c.mp4")
    scan_videos([tmp_path / "w"], index, engine="local:1")  # the call names another source
    assert used(index) == ["a", "d"]
    (tmp_path / "c.mp4").rename(tmp_path / "v" / "c.mp4")
    scan_videos([tmp_path / "v"], index, engine="local:1")
    assert used(index) == ["a", "c", "d"]
    assert used(open_data([tmp_path / "v"])) == ["a", "c"]
    (tmp_path / "v" / "a.mp4").unlink()
    assert used(open_data([tmp_path / "v"])) == ["c"]


def test_what_another_source_still_names_stays(listed, tmp_path):
    index = Index(tmp_path / "i.sqlite", create=True)
    other = write_list(tmp_path / "other.csv", ROWS[:2])
    scan_videos([listed, other], index, engine="local:1")
    write_list(listed, ROWS[1:])
    scan_videos([listed], index, engine="local:1")
    assert used(index) == ["a", "b", "c", "d"]
    write_list(other, ROWS[1:2])
    scan_videos([other], index, engine="local:1")
    assert used(index) == ["b", "c", "d"]


def test_missing_files_that_are_named_no_more_leave_no_row(listed, tmp_path):
    (tmp_path / "d.mp4").unlink()
    index = Index(tmp_path / "i.sqlite", create=True)
    assert scan_videos([listed], index, engine="local:1").bad == 1
    write_list(listed, ROWS[:3])
    assert scan_videos([listed], index, engine="local:1").bad == 0
    assert index.gone() == []


def test_the_command_says_what_is_gone_and_prunes_it(listed, tmp_path, monkeypatch, capsys):
    command = ["index", str(listed), "-o", str(tmp_path / "i.sqlite"), "--engine", "local:1"]
    called(monkeypatch, capsys, *command)
    write_list(listed, ROWS[:3])
    _, out, _ = called(monkeypatch, capsys, *command)
    assert "3 videos, 0 bad files (0 scanned now" in out
    assert "gone: 1 videos left their sources or were deleted; they are not used (--prune removes them)" in out
    assert f"gone: {tmp_path / 'd.mp4'}" in out
    _, out, _ = called(monkeypatch, capsys, *command, "--json")
    assert json.loads(out)["gone"] == [str(tmp_path / "d.mp4")]
    _, out, _ = called(monkeypatch, capsys, *command, "--prune")
    assert "1 pruned" in out
    assert "gone" not in out
    write_list(listed, ROWS)
    assert "4 videos, 0 bad files (1 scanned now" in called(monkeypatch, capsys, *command)[1]


def test_a_table_of_an_index_says_that_videos_are_left_out(listed, tmp_path):
    index = Index(tmp_path / "i.sqlite", create=True)
    scan_videos([listed], index, engine="local:1")
    write_list(listed, ROWS[:3])
    scan_videos([listed], index, engine="local:1")
    assert "1 videos that left their sources are left out" in open_labelled(str(index.path)).notes


def test_an_index_of_an_older_version_mirrors_its_source_too(listed, tmp_path):
    index = Index(tmp_path / "i.sqlite", create=True)
    scan_videos([listed], index, engine="local:1")
    with sqlite3.connect(index.path) as database:  # it had no members
        database.execute("DROP TRIGGER members_go")
        database.execute("DROP TABLE members")
    database.close()
    assert used(Index(index.path)) == ["a", "b", "c", "d"]
    assert index.notes == []
    write_list(listed, ROWS[1:])
    scan_videos([listed], index, engine="local:1")
    assert used(index) == ["b", "c", "d"]


def test_a_removed_row_leaves_no_membership_behind(listed, tmp_path):
    index = Index(tmp_path / "i.sqlite", create=True)
    scan_videos([listed], index, engine="local:1")
    write_list(listed, ROWS[:3])
    scan_videos([listed], index, engine="local:1")
    assert index.prune() == 1
    film(tmp_path / "w" / "e.mp4")  # gets the number of the removed row
    scan_videos([tmp_path / "w"], index, engine="local:1")
    (tmp_path / "w" / "e.mp4").rename(tmp_path / "w" / "f.mp4")
    scan_videos([tmp_path / "w"], index, engine="local:1")
    assert used(index) == ["a", "b", "c", "f"]


def test_two_sources_that_disagree_are_told(listed, tmp_path):
    index = Index(tmp_path / "i.sqlite", create=True)
    other = write_list(tmp_path / "other.csv", [("a", "run", "test"), ("b", "jump", "train")])
    scan_videos([listed, other], index, engine="local:1")
    assert index.notes == [
        "1 videos have two labels, and the one entered last counts: b.mp4",
        "1 videos have two splits, and the one entered last counts: a.mp4",
    ]


def test_a_group_in_two_splits_is_told(tmp_path):
    for name in "abc":
        film(tmp_path / f"{name}.mp4")
    (tmp_path / "l.csv").write_text("path,split,group\na.mp4,train,g1\nb.mp4,test,g1\nc.mp4,test,g2\n")
    index = Index(tmp_path / "i.sqlite", create=True)
    scan_videos([tmp_path / "l.csv"], index, engine="local:1")
    assert index.notes == ["1 groups are in two splits, so training and test videos are related: g1"]
