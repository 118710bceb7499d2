"""What a user names becomes entries with label, split and group; what is wrong is said with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssvid.data.layouts import read_layout
from ssvid.errors import ConfigError, DataError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def found(source, root=None) -> list[tuple]:
    return [(entry.path.name, entry.label, entry.split, entry.group) for entry in read_layout(source, root)]


def test_folder_per_class(tmp_path):
    touch(tmp_path, "run/a.mp4", "run/b.AVI", "walk fast/c.webm", "walk fast/notes.txt", "d.mkv")
    assert found(tmp_path) == [
        ("d.mkv", None, None, None),
        ("a.mp4", "run", None, None),
        ("b.AVI", "run", None, None),
        ("c.webm", "walk fast", None, None),
    ]


def test_split_folders_above_classes(tmp_path):
    touch(tmp_path, "train/run/a.mp4", "Validation/run/b.mp4", "test/walk/c.mp4")
    assert {(name, label, split) for name, label, split, _ in found(tmp_path)} == {
        ("a.mp4", "run", "train"),
        ("b.mp4", "run", "val"),
        ("c.mp4", "walk", "test"),
    }


def test_path_label_list(tmp_path):
    touch(tmp_path, "x/a b.mp4", "c.mp4", "deep/down/d.mp4")
    text = "x/a b.mp4 3\r\nc.mp4 1\r\n\r\nd.mp4 2\r\n"  # CRLF, a space in a name, a bare name that lies deeper
    (tmp_path / "list.txt").write_text(text)
    assert found(tmp_path / "list.txt") == [
        ("a b.mp4", "3", None, None),
        ("c.mp4", "1", None, None),
        ("d.mp4", "2", None, None),
    ]
    assert read_layout(tmp_path / "list.txt")[2].path == (tmp_path / "deep/down/d.mp4").resolve()


def test_names_with_signs_are_not_patterns_or_comments(tmp_path):
    name = "#20_Rhythm_[clap]_u_nm;np1(x)!.avi"
    touch(tmp_path, name)
    (tmp_path / "list.txt").write_text(f"{name} 1\n")
    assert read_layout(tmp_path / "list.txt")[0].path.exists()


def test_csv(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "v.csv").write_text("path,label,split,group\na.mp4,run,train,g1\nb.mp4,walk,test,\n")
    assert found(tmp_path / "v.csv") == [("a.mp4", "run", "train", "g1"), ("b.mp4", "walk", "test", None)]
    (tmp_path / "bad.csv").write_text("file,label\na.mp4,run\n")
    with pytest.raises(DataError, match="path"):
        read_layout(tmp_path / "bad.csv")


def test_a_list_may_not_leave_its_folder(tmp_path):
    inner = tmp_path / "inner"
    touch(tmp_path, "secret.mp4", "inner/a.mp4")
    (inner / "list.txt").write_text("../secret.mp4 1\n")
    with pytest.raises(DataError, match="--root"):
        read_layout(inner / "list.txt")
    (inner / "list.txt").write_text("inner/a.mp4 1\n")
    assert read_layout(inner / "list.txt", root=tmp_path)[0].path == (inner / "a.mp4").resolve()


def test_ut_interaction_groups_by_sequence(tmp_path):
    touch(tmp_path, "hug/10_2_1.avi", "kick/3_1_2.avi")
    assert found(f"ut_interaction:{tmp_path}") == [
        ("10_2_1.avi", "hug", None, "sequence 2"),
        ("3_1_2.avi", "kick", None, "sequence 1"),
    ]
    touch(tmp_path, "kick/other.avi")
    with pytest.raises(DataError, match="not a UT-Interaction name"):
        read_layout(f"ut_interaction:{tmp_path}")


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_layout(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no video"):
        read_layout(tmp_path)
    with pytest.raises(ConfigError, match="known layouts"):
        read_layout(f"ucf1001:{tmp_path}")
