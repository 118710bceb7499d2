"""Lists as people write them are read, or refused with the line and the remedy; nothing is taken in two ways."""

from __future__ import annotations

import pytest

from ssvid.data.layouts import read_layout
from ssvid.errors import DataError
from tests.test_layouts import found, touch

VIDEOS = ("a.mp4", "b c.mp4", "d,e.mp4")


@pytest.mark.parametrize(
    "text",
    [
        'path,label,split\na.mp4,run fast,train\nb c.mp4,"jump, high",val\n"d,e.mp4",walk,test\n',
        'path;label;split\r\na.mp4;run fast;train\r\n"b c.mp4";jump, high;val\r\nd,e.mp4;walk;test\r\n',
        "path\tlabel\tsplit\na.mp4\trun fast\ttrain\nb c.mp4\tjump, high\tval\nd,e.mp4\twalk\ttest\n",
        '\ufeff Path , "Label",SPLIT\n a.mp4 , run fast , Train\nb c.mp4,"jump, high",validation\n"d,e.mp4",walk,Testing\n',
        ',path,label,split\n0,a.mp4,run fast,training\n1,b c.mp4,"jump, high",valid\n2,"d,e.mp4",walk,TEST\n',
        'a.mp4,run fast,Train\nb c.mp4,"jump, high",val\n"d,e.mp4",walk,test\n',
        "a.mp4;run fast;train\nb c.mp4;jump, high;val\nd,e.mp4;walk;test\n",
        "a.mp4\trun fast\ttraining\n\nb c.mp4\tjump, high\tval\nd,e.mp4\twalk\ttest\n",
    ],
)
@pytest.mark.parametrize("name", ["list.csv", "list.txt", "list.TSV"])
def test_tables_in_every_spelling(tmp_path, text, name):
    touch(tmp_path, *VIDEOS)
    (tmp_path / name).write_text(text, newline="", encoding="utf-8")
    assert found(tmp_path / name) == [
        ("a.mp4", "run fast", "train", None),
        ("b c.mp4", "jump, high", "val", None),
        ("d,e.mp4", "walk", "test", None),
    ]


def test_lines_of_a_path_and_a_label(tmp_path):
    touch(tmp_path, *VIDEOS, "f.mp4", "frames")
    text = 'a.mp4 run fast\n"b c.mp4" "jump, high"\nd,e.mp4,walk\nf.mp4\nframes 3\n'
    (tmp_path / "list.txt").write_text(text)
    assert [row[:2] for row in found(tmp_path / "list.txt")] == [
        ("a.mp4", "run fast"),
        ("b c.mp4", "jump, high"),
        ("d,e.mp4", "walk"),
        ("f.mp4", None),
        ("frames", "3"),
    ]


def test_the_name_of_a_list_gives_the_split_that_its_columns_do_not(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "Training.csv").write_text("path,label\na.mp4,run\n")
    (tmp_path / "my_testing.csv").write_text("path,label,split\nb.mp4,run,\n")
    assert {row[0]: row[2] for row in found(f"lists:{tmp_path}")} == {"a.mp4": "train", "b.mp4": "test"}


def test_absolute_paths_and_links_below_the_folder_are_read(tmp_path):
    touch(tmp_path, "store/a.mp4", "store/b.mp4", "set/own.mp4")
    (tmp_path / "set" / "linked.mp4").symlink_to(tmp_path / "store" / "a.mp4")
    (tmp_path / "set" / "folder").symlink_to(tmp_path / "store")
    text = f"linked.mp4 1\nfolder/b.mp4 2\n{tmp_path}/store/b.mp4 3\n"
    (tmp_path / "set" / "list.txt").write_text(text)
    entries = read_layout(tmp_path / "set" / "list.txt").entries
    assert [(entry.path, entry.label, entry.missing) for entry in entries] == [
        (tmp_path / "set/linked.mp4", "1", None),
        (tmp_path / "set/folder/b.mp4", "2", None),
        (tmp_path / "store/b.mp4", "3", None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,lable\na.mp4,run\n",
            r"unknown column 'lable'; did you mean label\? \(known: path, label, split, group\)",
        ),
        ("path,label,subset\na.mp4,run,test\n", r"unknown column 'subset' \(known: path, label, split, group\)"),
        ("path,label,label\na.mp4,run,test\n", "two columns are called 'label'"),
        ("file,label\na.mp4,run\n", "first line must name the columns, among them 'path'"),
        ("path label\na.mp4 run\n", "first line must name the columns, among them 'path'"),
        ("path,label,split\na.mp4,run,holdout\n", "line 2: unknown split 'holdout'; known: train, training"),
        ("path,label\na.mp4,jump, high\n", "line 2: 3 cells under 2 columns; put quotes around a cell that holds ','"),
        ('path,label\n"a.mp4,run\nd.mp4,walk\n', "close the quotes"),
        ("a.mp4,120,3\nd.mp4,90,2\n", "line 1: 3 cells and no header; name the columns"),
        ("a.mp4 120 3\n", "line 1: two numbers behind the path"),
        (
            "path,label,split\na.mp4,run,train\nd.mp4,run,train\na.mp4,run,test\n",
            "line 4: a.mp4 has the split 'test' here and 'train' before",
        ),
        ("path,label\na.mp4,run\n./a.mp4,walk\n", "line 3: ./a.mp4 has the label 'walk' here and 'run' before"),
        (
            "a.mp4 1\nd.mp4 1\na.mp4 2\n",
            "line 3: a.mp4 has the label '2' here and '1' before; 1 paths stand there more than once",
        ),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(tmp_path, text, message):
    touch(tmp_path, "a.mp4", "d.mp4")
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_layout(tmp_path / "list.txt")


def test_one_video_in_two_lists_of_splits_is_refused(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "train.txt").write_text("a.mp4 1\n")
    (tmp_path / "val.txt").write_text("b.mp4 1\na.mp4 1\n")
    with pytest.raises(DataError, match=r"val\.txt, line 2: a\.mp4 has the split 'val' here and 'train' before"):
        read_layout(f"lists:{tmp_path}")


def test_lines_that_are_there_twice_count_once_and_are_told(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "list.txt").write_text("a.mp4 1\nb.mp4 2\na.mp4 1\n")
    listing = read_layout(tmp_path / "list.txt")
    assert len(listing.entries) == 2
    assert listing.notes == ("1 lines repeat another and count once",)
