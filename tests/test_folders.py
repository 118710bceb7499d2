"""Names, links, folders and permissions as people really have them: one bad row or one line, and the rest goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ssvid.cli import console
from ssvid.data.frame_cache import FrameCache
from ssvid.data.index import Index
from ssvid.data.layouts import place_of, read_layout
from ssvid.data.scanning import open_data, scan_videos, write_training_copies
from ssvid.errors import DataError
from ssvid.files import atomic, printable, write_text
from tests.refused import ssvid
from tests.test_cli import called
from tests.test_layouts import film, found, touch

LATIN = os.fsdecode(b"caf\xe9.mp4")  # a name that is no UTF-8


def scanned(tmp_path: Path, *sources: Path) -> Index:
    index = Index(tmp_path / "i.sqlite", create=True)
    scan_videos(sources or [tmp_path / "v"], index, engine="local:1")
    return index


def test_a_name_that_is_no_utf8_is_kept_and_found_again(tmp_path):
    folder = tmp_path / "v" / os.fsdecode(b"stra\xdfe")
    film(folder / "plain.mp4")
    os.rename(folder / "plain.mp4", folder / LATIN)
    index = scanned(tmp_path)
    [video] = index.videos()
    assert os.fsencode(video.path).endswith(b"/v/stra\xdfe/caf\xe9.mp4")
    assert video.label == r"stra\xdfe"  # a class is text, for tables and file names
    assert index.videos(paths=[video.path])[0].id == video.id
    assert scan_videos([tmp_path / "v"], index, engine="local:1").scanned == 0
    assert write_training_copies(index, tmp_path / "copies", engine="local:1") == 1
    assert index.videos()[0].source.path.isascii()
    other = Index(tmp_path / os.fsdecode(b"\xff.sqlite"), create=True)
    scan_videos([folder / LATIN], other, engine="local:1")
    assert len(open_data([other.path])) == 1
    third = Index(tmp_path / "third.sqlite", create=True)
    third.add(read_layout(tmp_path / "v").entries)
    third.adopt(other.path)
    assert third.todo() == []


def test_a_list_may_name_such_a_file_and_nothing_else_in_that_encoding(tmp_path):
    touch(tmp_path, "a.mp4")
    os.rename(tmp_path / "a.mp4", tmp_path / LATIN)
    (tmp_path / "list.csv").write_bytes(b"path,label\ncaf\xe9.mp4,1\n")
    assert read_layout(tmp_path / "list.csv").entries[0].path == tmp_path / LATIN
    for text in (b"path,label\ncaf\xe9.mp4,J\xe4ger\n", b"path,label\nth\xe9.mp4,1\n"):
        (tmp_path / "list.csv").write_bytes(text)
        with pytest.raises(DataError, match=r"list\.csv, line 2: not a text in UTF-8.*save it as UTF-8"):
            read_layout(tmp_path / "list.csv")
    touch(tmp_path, "b.mp4")
    (tmp_path / "list.csv").write_text("path,label\nb.mp4,J\xe4ger\n", encoding="utf-16")  # as spreadsheets write it
    assert found(tmp_path / "list.csv") == [("b.mp4", "J\xe4ger", None, None)]


def test_names_are_printed_on_one_line(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "v"
    for name in (LATIN, "[bold]x[red]:smile:.mp4", "two\nlines\t.mp4", "\x1b[31m.mp4"):
        touch(folder, name)
        (folder / name).write_bytes(b"no video")
    film(folder / "good.mp4")
    command = ["index", str(folder), "-o", str(tmp_path / "i.sqlite"), "--engine", "local:1"]
    code, out, err = called(monkeypatch, capsys, *command)
    assert (code, err) == (0, "")
    bad = sorted(line.partition(f"bad: {folder}/")[2].partition(": ")[0] for line in out.splitlines()[1:])
    assert bad == [r"[bold]x[red]:smile:.mp4", r"\x1b[31m.mp4", r"caf\xe9.mp4", r"two\nlines\t.mp4"]
    code, out, err = called(monkeypatch, capsys, *command, "--json")
    assert str(folder / LATIN) in {row["path"] for row in json.loads(out)["bad"]}  # JSON gives the name itself
    code, out, err = called(monkeypatch, capsys, "index", str(folder / f"no\n{LATIN}"), *command[2:])
    assert code == 3
    assert err.startswith(f"error: {folder}/no\\ncaf\\xe9.mp4 does not exist")
    assert err.count("\n") == 1
    assert printable("a\x85b\u2028c\udce9") == r"a\x85b\u2028c\xe9"


def test_messages_and_tables_take_brackets_for_brackets(capsys):
    console.log("failed: [/] [red]a[/red] :tada: \x1b.mp4")
    assert capsys.readouterr().err == "failed: [/] [red]a[/red] :tada: \\x1b.mp4\n"
    console.show_table("[/]", ["[b]"], [["a\tb\n[/c]:tada:"]])
    assert capsys.readouterr().out == "[b]\na\\tb\\n[/c]:tada:\n"


def test_names_in_files_of_text_are_escapes(tmp_path):
    write_text(tmp_path / "note.md", LATIN)
    assert (tmp_path / "note.md").read_text() == r"caf\udce9.mp4"


def test_links_that_lead_nowhere_or_back_are_bad_rows(tmp_path):
    film(tmp_path / "v" / "run" / "a.mp4")
    (tmp_path / "v" / "run" / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "v" / "run" / "lost.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "v" / "up").symlink_to(tmp_path)
    index = scanned(tmp_path)
    assert [Path(video.path).name for video in index.videos()] == ["a.mp4"]
    assert {Path(video.path).name: video.reason for video in index.bad()} == {
        "loop.mp4": "cannot be read: it is a link that leads back to itself",
        "lost.mp4": "cannot be read: it is a link to nowhere.mp4, which is not there",
    }


def test_one_file_or_folder_linked_into_two_classes_is_two_entries_and_told(tmp_path):
    touch(tmp_path, "v/run/a.mp4", "v/run/b.mp4", "v/jog/c.mp4")
    (tmp_path / "v/jog/a.mp4").symlink_to(tmp_path / "v/run/a.mp4")
    (tmp_path / "v/dash").symlink_to("run")
    os.link(tmp_path / "v/run/b.mp4", tmp_path / "v/jog/hard.mp4")
    assert sorted(found(tmp_path / "v")) == [
        ("a.mp4", "dash", None, None),
        ("a.mp4", "jog", None, None),
        ("a.mp4", "run", None, None),
        ("b.mp4", "dash", None, None),
        ("b.mp4", "run", None, None),
        ("c.mp4", "jog", None, None),
        ("hard.mp4", "jog", None, None),
    ]
    listing = read_layout(tmp_path / "v")
    assert len({entry.path for entry in listing.entries}) == 7
    assert listing.notes == ("2 files are in two classes by links: dash/a.mp4 = jog/a.mp4, dash/b.mp4 = jog/hard.mp4",)


def test_one_file_linked_into_training_and_test_is_told(tmp_path):
    touch(tmp_path, "v/train/run/a.mp4", "v/test/run/b.mp4")
    (tmp_path / "v/test/run/a.mp4").symlink_to(tmp_path / "v/train/run/a.mp4")
    assert (
        "1 files are in two splits by links, so what is tested was trained on" in read_layout(tmp_path / "v").notes[0]
    )


def test_many_links_to_each_other_end(tmp_path):
    for name in "abcdefgh":
        touch(tmp_path, f"{name}/{name}.mp4")
        for other in "abcdefgh":
            (tmp_path / name / f"to_{other}").symlink_to(tmp_path / other)
    assert {entry.path.name for entry in read_layout(tmp_path).entries} == {f"{name}.mp4" for name in "abcdefgh"}


def test_a_folder_named_like_a_video_is_no_class_and_ends_nothing(tmp_path):
    touch(tmp_path, "run/a.mp4", "run/x.mp4/inside.mp4", "walk/b.mp4")
    (tmp_path / "walk" / "y.mp4").mkdir()
    (tmp_path / "z.mp4").mkdir()
    assert set(found(tmp_path)) >= {("inside.mp4", "run", None, None), ("b.mp4", "walk", None, None)}
    lost = {entry.path.name: entry.missing for entry in read_layout(tmp_path).entries if entry.missing}
    assert lost == dict.fromkeys(["y.mp4", "z.mp4"], "is a folder, not a video file")


def test_a_colon_in_a_path_is_no_layout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("12:30.mp4", "folder:x.mp4", "a:b/c.mp4"):
        touch(tmp_path, name)
        assert [entry.path for entry in read_layout(name).entries] == [tmp_path / name]
        assert place_of(name) == (str(tmp_path / name), "")
    assert place_of("a:b") == (str(tmp_path / "a:b"), "")
    touch(tmp_path, "b/c.mp4")
    assert place_of("folder:b") == (f"folder:{tmp_path / 'b'}", "")  # the folder of a layout, where it is there
    with atomic("a:b/new.mp4") as temporary:  # FFmpeg would take a relative one for an address
        assert temporary.is_absolute()
        temporary.touch()
    film(tmp_path / "v.mp4")
    os.rename("v.mp4", "12:30.mp4")
    assert len(open_data(["12:30.mp4"])) == 1


def test_what_may_not_be_read_is_said_and_read_when_it_may(tmp_path):
    film(tmp_path / "v" / "run" / "a.mp4")
    film(tmp_path / "v" / "walk" / "b.mp4")
    film(tmp_path / "v" / "jog" / "c.mp4")
    (tmp_path / "v" / "walk").chmod(0)
    (tmp_path / "v" / "jog" / "c.mp4").chmod(0)
    command = ["index", tmp_path / "v", "-o", tmp_path / "i.sqlite", "--engine", "local:1"]
    try:
        code, out, _ = ssvid(*command)
        alone = ssvid("index", tmp_path / "v" / "walk", "-o", tmp_path / "j.sqlite")
    finally:
        (tmp_path / "v" / "walk").chmod(0o755)
        (tmp_path / "v" / "jog" / "c.mp4").chmod(0o644)
    assert code == 0
    assert "1 videos, 2 bad files" in out
    assert f"bad: {tmp_path}/v/walk: may not be read (permission denied); check its permissions" in out
    assert f"bad: {tmp_path}/v/jog/c.mp4: may not be read; check its permissions" in out
    assert alone[0] == 3
    assert "may not be read (permission denied)" in alone[2]
    assert "3 videos, 0 bad files (2 scanned now" in ssvid(*command)[1]


def test_videos_of_any_name_can_be_loaded(tmp_path):
    film(tmp_path / "v" / "a.mp4", 8)
    os.rename(tmp_path / "v" / "a.mp4", tmp_path / "v" / LATIN)
    videos = scanned(tmp_path).videos()
    assert FrameCache(videos, 16).frames.shape == (8, 16, 16, 3)


def test_an_index_is_read_alone_and_is_a_file(tmp_path):
    film(tmp_path / "v" / "a.mp4")
    index = tmp_path / "i.sqlite"
    scan_videos([tmp_path / "v"], Index(index, create=True), engine="local:1")
    with pytest.raises(
        DataError, match=r"i\.sqlite is an index and can only be read alone; make one of all: ssvid index"
    ):
        open_data([str(tmp_path / "v"), str(index)])
    with pytest.raises(DataError, match="is a folder; name a file for the index"):
        Index(tmp_path, create=True)
