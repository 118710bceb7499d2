"""What a user names becomes entries with label, split and group; what is wrong is said with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssvid.data.index import Index
from ssvid.data.layouts import LAYOUTS, place_of, read_layout
from ssvid.data.scanning import open_data, scan_videos
from ssvid.errors import ConfigError, DataError
from ssvid.files import cache_folder
from tests.videos import numbers, write_video


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def found(source, root=None) -> list[tuple]:
    return [(entry.path.name, entry.label, entry.split, entry.group) for entry in read_layout(source, root).entries]


def film(path: Path, frames: int = 5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, numbers(frames, 32, 48))


def ucf(folder: Path, *videos: str) -> Path:
    """A copy of two classes of UCF101 with its lists beside it; the videos in it are empty files, made by `videos` or by film()."""
    lists = folder / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    for number, (train, test) in enumerate(((8, 1), (1, 8), (1, 8)), 1):
        names = [f"{name}/v_{name}_g{group:02d}_c01.avi" for name in ("Run", "Walk") for group in (train, test)]
        (lists / f"trainlist0{number}.txt").write_text(f"{names[0]} 1\r\n{names[2]} 2\r\n", newline="")
        (lists / f"testlist0{number}.txt").write_text(f"{names[1]}\r\n{names[3]}\r\n", newline="")
    touch(folder / "UCF-101", *videos)
    (folder / "UCF-101").mkdir(exist_ok=True)
    return folder / "UCF-101"


def test_folder_per_class(tmp_path):
    touch(tmp_path, "run/a.mp4", "run/b.AVI", "walk fast/c.webm", "walk fast/notes.txt", "d.mkv", ".trash/e.mp4")
    touch(tmp_path, "subtitles/a.srt")
    assert found(tmp_path) == [
        ("d.mkv", None, None, None),
        ("a.mp4", "run", None, None),
        ("b.AVI", "run", None, None),
        ("c.webm", "walk fast", None, None),
    ]
    assert found(f"folder:{tmp_path}") == found(tmp_path)
    assert read_layout(tmp_path).notes == ("1 folders hold files but no video and are no class: subtitles",)
    assert read_layout(tmp_path).flip


def test_split_folders_above_classes(tmp_path):
    touch(tmp_path, "train/run/a.mp4", "Validation/run/b.mp4", "test/walk/c.mp4")
    assert {(name, label, split) for name, label, split, _ in found(tmp_path)} == {
        ("a.mp4", "run", "train"),
        ("b.mp4", "run", "val"),
        ("c.mp4", "walk", "test"),
    }


@pytest.mark.parametrize("place", ["walk", "train/walk"])
def test_a_class_without_a_video_is_told(tmp_path, place):
    touch(tmp_path, "train/run/a.mp4", "test/run/b.mp4")
    (tmp_path / place).mkdir()
    with pytest.raises(DataError, match=r"class 'walk' has no video: .*walk is empty; fill it or remove it"):
        read_layout(tmp_path)


def test_links_are_followed_once(tmp_path):
    touch(tmp_path, "store/a.mp4", "set/run/b.mp4")
    (tmp_path / "set" / "walk").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "back").symlink_to(tmp_path / "set")  # a circle
    assert {name for name, *_ in found(tmp_path / "set")} == {"a.mp4", "b.mp4"}


def test_path_label_list(tmp_path):
    touch(tmp_path, "x/a b.mp4", "c.mp4", "deep/down/d.mp4", "un labelled.mp4")
    text = (
        "x/a b.mp4 3\r\nc.mp4 1\r\n\r\nd.mp4 2\r\nun labelled.mp4\r\n"  # CRLF, spaces in names, a name that lies deeper
    )
    (tmp_path / "list.txt").write_text(text)
    assert found(tmp_path / "list.txt") == [
        ("a b.mp4", "3", None, None),
        ("c.mp4", "1", None, None),
        ("d.mp4", "2", None, None),
        ("un labelled.mp4", None, None, None),
    ]
    assert read_layout(tmp_path / "list.txt").entries[2].path == (tmp_path / "deep/down/d.mp4").resolve()


def test_names_with_signs_are_not_patterns_or_comments(tmp_path):
    name = "#20_Rhythm_[clap]_u_nm;np1(x)!.avi"
    touch(tmp_path, name)
    (tmp_path / "list.txt").write_text(f"{name} 1\n")
    assert read_layout(tmp_path / "list.txt").entries[0].path.exists()


def test_csv(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "v.csv").write_text("path,label,split,group\na.mp4,run,train,g1\nb.mp4,walk,test,\n")
    assert found(tmp_path / "v.csv") == [("a.mp4", "run", "train", "g1"), ("b.mp4", "walk", "test", None)]
    (tmp_path / "bad.csv").write_text("file,label\na.mp4,run\n")
    with pytest.raises(DataError, match="path"):
        read_layout(tmp_path / "bad.csv")
    (tmp_path / "bad.csv").write_text("label,path\nrun,a.mp4\nwalk\n")
    with pytest.raises(DataError, match=r"bad\.csv, line 3: no path"):
        read_layout(tmp_path / "bad.csv")
    (tmp_path / "bad.csv").write_bytes("path,label\na.mp4,J\xe4ger\n".encode("latin-1"))
    with pytest.raises(DataError, match="not a text in UTF-8"):
        read_layout(tmp_path / "bad.csv")


def test_lists_of_splits_with_spaces_or_commas(tmp_path):
    touch(tmp_path, "videos/a.mp4", "videos/b.mp4", "videos/c.mp4")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.csv").write_text("a.mp4 0\nb.mp4 1\n")
    (tmp_path / "lists" / "my_val_list.txt").write_text("c.mp4,1\n")
    (tmp_path / "lists" / "readme.txt").write_text("hello\n")
    assert found(f"lists@{tmp_path / 'videos'}:{tmp_path / 'lists'}") == [
        ("c.mp4", "1", "val", None),
        ("a.mp4", "0", "train", None),
        ("b.mp4", "1", "train", None),
    ]
    with pytest.raises(DataError, match=r"train\.csv"):
        read_layout(f"lists:{tmp_path / 'videos'}")


def test_a_list_may_not_leave_its_folder(tmp_path):
    inner = tmp_path / "inner"
    touch(tmp_path, "secret.mp4", "inner/a.mp4")
    (inner / "list.txt").write_text("../secret.mp4 1\n")
    with pytest.raises(DataError, match="--root"):
        read_layout(inner / "list.txt")
    (inner / "list.txt").write_text("inner/a.mp4 1\n")
    assert read_layout(inner / "list.txt", root=tmp_path).entries[0].path == (inner / "a.mp4").resolve()


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_layout(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no video"):
        read_layout(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        read_layout(f"ucf101:{tmp_path / 'nowhere'}")
    (tmp_path / "list.txt").write_text("a.mp4 1\nb.mp4 2\n")
    with pytest.raises(DataError, match=r"not one of 2 videos is there.*--root"):
        read_layout(tmp_path / "list.txt")
    touch(tmp_path, "a.mp4")
    listing = read_layout(tmp_path / "list.txt")
    assert [entry.missing for entry in listing.entries] == [
        None,
        f"missing: named in list.txt but not found under {tmp_path}",
    ]
    assert listing.notes == ("1 of 2 videos are missing",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("ucf1001", "unknown layout 'ucf1001'.*Did you mean ucf101"),
        ("bananas", "Known layouts: folder, lists, ucf101"),
        ("ucf101@4", "splits 1, 2 and 3, not 4; write ucf101@2:"),
        ("hmdb51@split=0", "splits 1, 2 and 3, not 0"),
        ("ucf101@two", "split: 'two' is not int"),
        ("ucf101@fold=2", "no option 'fold'. Its options: split, lists"),
        ("ut_interaction@2", "no option '2'. Its options: none"),
    ],
)
def test_wrong_names_and_options_are_told(tmp_path, words, message):
    touch(tmp_path, "a.mp4")
    with pytest.raises(ConfigError, match=message):
        read_layout(f"{words}:{tmp_path}")


def test_layouts_describe_themselves_in_one_line():
    for name, layout in LAYOUTS.items():
        line = (layout.__doc__ or "").partition("\n")[0]
        assert line.endswith("."), name
        assert len(line) < 140, name


def test_missing_videos_are_rows_and_found_ones_take_their_place(tmp_path):
    folder = ucf(tmp_path)
    film(folder / "Run" / "v_Run_g08_c01.mp4")
    index = Index(tmp_path / "i.sqlite", create=True)
    summary = scan_videos([f"ucf101:{folder}"], index, engine="local:1")
    assert (summary.usable, summary.bad, summary.scanned) == (1, 3, 1)
    lost = {Path(video.path).name: video for video in index.bad()}
    assert all(video.missing for video in lost.values())
    assert lost["v_Walk_g01_c01.avi"].reason == f"missing: named in testlist01.txt but not found under {folder}"
    assert index.titles == ["UCF101 split 1"]
    assert "UCF101 split 1: 1 of 2 train videos are missing" in index.notes
    film(folder / "more" / "v_Walk_g01_c01.mp4")  # elsewhere, in another container
    summary = scan_videos([f"ucf101:{folder}"], index, engine="local:1")
    assert (summary.usable, summary.bad, summary.scanned) == (2, 2, 1)
    for path in list(folder.rglob("v_Walk*.mp4")):
        path.unlink()
    assert (
        scan_videos([f"ucf101:{folder}"], index, engine="local:1").usable == 1
    )  # its row stays, out of use: the file may come back
    assert [Path(path).name for path in index.gone()] == ["v_Walk_g01_c01.mp4"]
    assert index.titles == ["UCF101 split 1"]


def test_a_video_that_is_lost_after_its_scan_becomes_a_bad_row(tmp_path):
    film(tmp_path / "a.mp4")
    film(tmp_path / "b.mp4")
    (tmp_path / "list.txt").write_text("a.mp4 1\nb.mp4 2\n")
    index = Index(tmp_path / "i.sqlite", create=True)
    assert scan_videos([tmp_path / "list.txt"], index, engine="local:1").usable == 2
    (tmp_path / "a.mp4").unlink()
    assert scan_videos([tmp_path / "list.txt"], index, engine="local:1").scanned == 0
    assert [video.missing for video in index.bad()] == [True]
    film(tmp_path / "a.mp4")
    assert scan_videos([tmp_path / "list.txt"], index, engine="local:1").scanned == 1
    assert index.bad() == []


def test_another_split_needs_no_other_scan(tmp_path):
    folder = ucf(tmp_path)
    for name in ("Run/v_Run_g08_c01", "Run/v_Run_g01_c01", "Walk/v_Walk_g08_c01", "Walk/v_Walk_g01_c01"):
        film(folder / f"{name}.mp4")
    index = Index(tmp_path / "i.sqlite", create=True)
    assert scan_videos([f"ucf101:{folder}"], index, engine="local:1").scanned == 4
    first = {video.path: video.split for video in index.videos()}
    assert scan_videos([f"ucf101@2:{folder}"], index, engine="local:1").scanned == 0
    assert {video.split for video in index.videos()} == {"train", "test"}
    assert all(video.split != first[video.path] for video in index.videos())
    assert index.titles == ["UCF101 split 2"]

    seen = []
    one = open_data([f"ucf101:{folder}"], progress=lambda *told: seen.append(told))
    assert seen[-1] == ("scanning", 4, 4)
    two = open_data([f"ucf101@2:{folder}"], progress=lambda *told: seen.append(told))
    assert len(seen) == 4
    assert one.path != two.path  # both splits can be used at once
    assert cache_folder() in two.path.parents
    splits = [{video.path: video.split for video in index.videos()} for index in (one, two)]
    assert splits[0] == first
    assert splits[1] != first
    np_times = [[video.info.times.tolist() for video in index.videos()] for index in (one, two)]
    assert np_times[0] == np_times[1]
    film(folder / "Run" / "v_Run_g08_c01.mp4", frames=9)  # changed: what the other index knows is old
    third = open_data([f"ucf101@3:{folder}"], progress=lambda *told: seen.append(told))
    assert sorted(video.info.frames for video in third.videos()) == [5, 5, 5, 9]


def test_place_and_options_of_a_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert place_of("ucf101@2,lists=x:UCF") == (f"ucf101:{tmp_path / 'UCF'}", "2,lists=x")
    assert place_of("videos") == (str(tmp_path / "videos"), "")


def test_an_index_forbids_mirroring_when_one_of_its_data_sets_does(tmp_path):
    index = Index(tmp_path / "i.sqlite", create=True)
    assert index.flip  # an index that knows nothing of its sources
    folder = ucf(tmp_path, "Run/v_Run_g08_c01.avi")
    index.enter("a", read_layout(f"ucf101:{folder}"))
    assert Index(index.path).flip
    touch(tmp_path, "ss/1.webm")
    for name, text in {
        "labels": '{"Moving something up": "0"}',
        "train": '[{"id": "1", "template": "Moving [something] up"}]',
        "validation": "[]",
    }.items():
        (tmp_path / "ss" / f"{name}.json").write_text(text)
    index.enter("b", read_layout(f"ssv2:{tmp_path / 'ss'}"))
    assert not Index(index.path).flip
