"""The official data sets, imitated small: lists as they really are, counts, missing videos, lists in every place they may lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssvid.data.layouts import read_layout
from ssvid.errors import DataError
from tests.test_layouts import found, touch, ucf

HEADER = "label,youtube_id,time_start,time_end,split\n"


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, newline="")


def hmdb(folder: Path) -> Path:
    """Two classes of HMDB51 with the signs its names hold, a trailing space in every line."""
    lists = folder / "testTrainMulti_7030_splits"
    clap = {"#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi": "120", "Film_[1]_clap_u_nm_np1_le_med_1.avi": "201"}
    climb = {"(HQ)_Rock!_climb_f_cm_np1_le_med_2.avi": "012"}
    for label, videos in {"clap": clap, "climb_stairs": {}, "climb": climb}.items():
        for split in (1, 2, 3):
            lines = "".join(f"{name} {codes[split - 1]} \n" for name, codes in videos.items())
            write(lists, **{f"{label}_test_split{split}.txt": lines})
        touch(folder / "hmdb51_org", *(f"{label}/{name}" for name in videos))
    return folder / "hmdb51_org"


def something(folder: Path, **more: str) -> Path:
    """Five videos of Something-Something v2 as published: string labels, bracketed templates, a test list without labels."""
    labels = {"Moving something up": "0", "Moving something down": "1", "Putting something onto something": "2"}
    train = [
        {"id": "1", "label": "moving cup up", "template": "Moving [something] up", "placeholders": ["cup"]},
        {"id": "2", "label": "x", "template": "Putting [something] onto [something]", "placeholders": ["a", "b"]},
        {"id": "3", "label": "x", "template": "Moving [something] down", "placeholders": ["a"]},
    ]
    files = {"labels": labels, "train": train, "validation": [train[0] | {"id": "10"}], "test": [{"id": "11"}]}
    lists = {f"something-something-v2-{name}.json": json.dumps(value) for name, value in files.items()}
    write(folder, **(lists | more))
    touch(folder / "videos", *(f"{number}.webm" for number in (1, 2, 3, 10, 11)))
    return folder / "videos"


def test_ucf101_takes_each_of_its_splits(tmp_path):
    videos = [f"{name}/v_{name}_g{group}_c01.avi" for name in ("Run", "Walk") for group in ("01", "08")]
    folder = ucf(tmp_path, *videos)
    assert found(f"ucf101:{folder}") == found(f"ucf101@split=1:{folder}")
    assert sorted(found(f"ucf101@1:{folder}")) == [
        ("v_Run_g01_c01.avi", "Run", "test", "group 1"),
        ("v_Run_g08_c01.avi", "Run", "train", "group 8"),
        ("v_Walk_g01_c01.avi", "Walk", "test", "group 1"),
        ("v_Walk_g08_c01.avi", "Walk", "train", "group 8"),
    ]
    swapped = {name: split for name, _, split, _ in found(f"ucf101@2:{folder}")}
    assert swapped["v_Run_g01_c01.avi"] == "train"
    listing = read_layout(f"ucf101@2:{folder}")
    assert (listing.title, listing.flip) == ("UCF101 split 2", True)
    assert "the lists name 2 train videos, officially 9,586" in listing.notes
    assert "the lists name 2 classes, officially 101" in listing.notes
    assert not any("missing" in note for note in listing.notes)


def test_ucf101_names_differ_in_case_and_lie_anywhere(tmp_path):
    folder = ucf(tmp_path, "HandStandPushups/v_HandstandPushups_g08_c01.AVI", "flat/v_handstandpushups_g01_c01.mp4")
    lists = tmp_path / "ucfTrainTestlist"
    (lists / "trainlist01.txt").write_text("HandstandPushups/v_HandStandPushups_g08_c01.avi 37\r\n")
    (lists / "testlist01.txt").write_text("HandstandPushups/v_HandStandPushups_g01_c01.avi\r\n")
    listing = read_layout(f"ucf101:{folder}")
    assert {entry.label for entry in listing.entries} == {"HandstandPushups"}
    assert all(entry.path.exists() and not entry.missing for entry in listing.entries)


def test_a_partial_copy_is_told_never_refused(tmp_path):
    folder = ucf(tmp_path, "Run/v_Run_g08_c01.avi", "Run/v_Run_g25_c01.avi", "b/v_Run_g08_c01.avi")
    listing = read_layout(f"ucf101:{folder}")
    assert len(listing.entries) == 4
    assert [entry.path.name for entry in listing.entries if not entry.missing] == ["v_Run_g08_c01.avi"]
    assert listing.entries[0].missing == f"missing: named in testlist01.txt but not found under {folder}"
    assert listing.entries[0].path == folder / "Run/v_Run_g01_c01.avi"
    assert listing.notes[3:] == (
        "1 of 2 train videos are missing",
        "2 of 2 test videos are missing",
        "1 of 2 classes have no video: Walk",
        f"1 videos under {folder} are in no list and left out: v_Run_g25_c01.avi",
        "1 videos are there more than once and read from the first place: v_Run_g08_c01.avi",
    )


@pytest.mark.parametrize(
    "place", ["UCF-101", "UCF-101/ucfTrainTestlist", "annotations", "annotations/ucfTrainTestlist", "."]
)
def test_lists_are_found_where_people_put_them(tmp_path, place):
    folder = ucf(tmp_path, "Run/v_Run_g08_c01.avi")
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for path in list((tmp_path / "ucfTrainTestlist").iterdir()):
        path.rename(tmp_path / place / path.name)
    assert len(read_layout(f"ucf101:{folder}").entries) == 4


def test_lists_may_be_named(tmp_path):
    folder = ucf(tmp_path, "Run/v_Run_g08_c01.avi")
    (tmp_path / "ucfTrainTestlist").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"no split files in .*ucfTrainTestlist.*ucf101@1,lists=FOLDER:"):
        read_layout(f"ucf101:{folder}")
    assert len(read_layout(f"ucf101@2,lists={tmp_path / 'elsewhere'}:{folder}").entries) == 4
    (tmp_path / "elsewhere" / "testlist02.txt").unlink()
    with pytest.raises(DataError, match=r"elsewhere has no testlist02\.txt; get trainlist02\.txt"):
        read_layout(f"ucf101@2,lists={tmp_path / 'elsewhere'}:{folder}")


def test_a_folder_with_none_of_the_videos_is_refused(tmp_path):
    folder = ucf(tmp_path, "cat.mp4")
    with pytest.raises(DataError, match=r"not one of 4 videos is there .*; name the folder that holds them"):
        read_layout(f"ucf101:{folder}")
    (tmp_path / "ucfTrainTestlist" / "testlist01.txt").write_text("Run/other.avi\n")
    with pytest.raises(DataError, match=r"testlist01\.txt, line 1: 'Run/other\.avi' is not <class>/v_"):
        read_layout(f"ucf101:{folder}")


def test_hmdb51_codes_and_signs(tmp_path):
    folder = hmdb(tmp_path)
    assert found(f"hmdb51:{folder}") == [
        ("#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi", "clap", "train", "clap #20_Rhythm"),
        ("Film_[1]_clap_u_nm_np1_le_med_1.avi", "clap", "test", "clap Film_[1]"),
        ("(HQ)_Rock!_climb_f_cm_np1_le_med_2.avi", "climb", "unused", "climb (HQ)_Rock!"),
    ]
    assert [split for _, _, split, _ in found(f"hmdb51@2:{folder}")] == ["test", "unused", "train"]
    assert [split for _, _, split, _ in found(f"hmdb51@3:{folder}")] == ["unused", "train", "test"]
    listing = read_layout(f"hmdb51@3:{folder}")
    assert listing.title == "HMDB51 split 3"
    assert "the lists name 1 train videos, officially 3,570" in listing.notes
    write(tmp_path / "testTrainMulti_7030_splits", **{"clap_test_split1.txt": "a.avi 4 \n"})
    with pytest.raises(DataError, match=r"clap_test_split1\.txt, line 1: 'a\.avi 4' does not end in a code 0, 1 or 2"):
        read_layout(f"hmdb51:{folder}")


def test_kinetics_lists_and_zero_padded_names(tmp_path):
    folder = tmp_path / "k"
    touch(folder, "train/air drumming/-_aBcDeFgHi_000001_000011.mp4", "val/_abcdefghij_000120_000130.webm")
    touch(folder, "plain/AAAAAAAAAAA.mp4")
    train = HEADER + '"air drumming",-_aBcDeFgHi,1,11,train\nyoga,AAAAAAAAAAA,5,15,train\nyoga,-_abcdefghi,1,11,train\n'
    write(folder, train__csv=train, validate__csv=HEADER + "yoga,_abcdefghij,120,130,validate\n")
    write(folder, other__csv="name,age\nx,1\n")
    listing = read_layout(f"kinetics400:{folder}")
    rows = [(e.path.name, e.label, e.split, e.group, bool(e.missing)) for e in listing.entries]
    assert rows == [
        ("-_aBcDeFgHi_000001_000011.mp4", "air drumming", "train", "-_aBcDeFgHi", False),
        ("AAAAAAAAAAA.mp4", "yoga", "train", "AAAAAAAAAAA", False),
        (
            "-_abcdefghi_000001_000011.mp4",
            "yoga",
            "train",
            "-_abcdefghi",
            True,
        ),  # ids differ in case alone: another video
        ("_abcdefghij_000120_000130.webm", "yoga", "val", "_abcdefghij", False),
    ]
    assert listing.title == "Kinetics-400"
    assert listing.notes == ("the lists name 2 classes, officially 400", "1 of 3 train videos are missing")
    assert "the lists name 2 classes, officially 600" in read_layout(f"kinetics600:{folder}").notes


def test_kinetics_test_list_without_labels(tmp_path):
    touch(tmp_path, "AAAAAAAAAAA_000001_000011.mp4")
    write(tmp_path, test__csv="youtube_id,time_start,time_end,split\r\nAAAAAAAAAAA,1,11,test\r\n")
    assert found(f"kinetics700:{tmp_path}") == [("AAAAAAAAAAA_000001_000011.mp4", None, "test", "AAAAAAAAAAA")]
    write(tmp_path, test__csv="youtube_id,time_start,time_end,split\nAAAAAAAAAAA,one,11,test\n")
    with pytest.raises(DataError, match=r"test\.csv, line 2: time_start and time_end must be seconds"):
        read_layout(f"kinetics700:{tmp_path}")


def test_kinetics_as_folders(tmp_path):
    folder = tmp_path / "k"
    touch(folder, "train/air_drumming/a.mp4", "val/yoga/b.mp4")
    listing = read_layout(f"kinetics400:{folder}")
    assert [(entry.label, entry.split) for entry in listing.entries] == [("air drumming", "train"), ("yoga", "val")]
    assert listing.notes == (
        "no CSV lists found: which videos are missing is not known",
        "2 class folders, officially 400 classes",
    )
    with pytest.raises(DataError, match=r"kinetics400@lists=FOLDER"):
        read_layout(f"kinetics400:{folder / 'train'}")
    with pytest.raises(DataError, match=r"no split files in .*; name a folder with the official CSV lists"):
        read_layout(f"kinetics400@{tmp_path}:{folder}")


def test_mini_kinetics_joins_labels_by_id(tmp_path):
    folder = tmp_path / "k"
    touch(folder, "train/yoga/AAAAAAAAAAA_000001_000011.mp4", "val/BBBBBBBBBBB_000002_000012.mp4")
    touch(folder, "train/yoga/XXXXXXXXXXX_000002_000012.mp4")  # of Kinetics-400 only
    lists = tmp_path / "mini_kinetics_200"
    write(lists, train_ytid_list__txt="AAAAAAAAAAA\nCCCCCCCCCCC\n", val_ytid_list__txt="BBBBBBBBBBB\n")
    listing = read_layout(f"mini_kinetics:{folder}")
    assert [(entry.label, entry.split, bool(entry.missing)) for entry in listing.entries] == [
        ("yoga", "train", False),
        (None, "train", True),
        (None, "val", False),
    ]
    assert listing.notes[-1] == "1 videos have no label: their ids are not in the CSV lists of Kinetics-400"
    write(lists, train__csv=HEADER + "yoga,AAAAAAAAAAA,1,11,train\ngolf,CCCCCCCCCCC,4,14,train\n")
    write(lists, val__csv=HEADER + "golf,BBBBBBBBBBB,2,12,val\n")
    listing = read_layout(f"mini_kinetics:{folder}")
    assert [entry.label for entry in listing.entries] == ["yoga", "golf", "golf"]
    assert listing.entries[1].path.name == "CCCCCCCCCCC_000004_000014.mp4"
    assert listing.notes == (
        "the lists name 2 train videos, officially 80,000",
        "the lists name 1 val videos, officially 5,000",
        "the lists name 2 classes, officially 200",
        "1 of 2 train videos are missing",
    )


def test_mini_kinetics_without_any_label_is_refused(tmp_path):
    folder = tmp_path / "k"
    touch(folder, "val/BBBBBBBBBBB_000002_000012.mp4")
    write(tmp_path, train_ytid_list__txt="AAAAAAAAAAA\n", val_ytid_list__txt="BBBBBBBBBBB\n")
    with pytest.raises(DataError, match=r"no label is known: put train\.csv and val\.csv of Kinetics-400 into"):
        read_layout(f"mini_kinetics:{folder}")


def test_ssv2_templates_lose_their_brackets(tmp_path):
    listing = read_layout(f"ssv2:{something(tmp_path)}")
    assert {(entry.path.stem, entry.label, entry.split) for entry in listing.entries} == {
        ("1", "Moving something up", "train"),
        ("2", "Putting something onto something", "train"),
        ("3", "Moving something down", "train"),
        ("10", "Moving something up", "val"),
        ("11", None, "test"),
    }
    assert (listing.title, listing.flip) == ("Something-Something v2", False)
    assert "the lists name 3 train videos, officially 168,913" in listing.notes
    assert "the lists name 3 classes, officially 174" in listing.notes


def test_ssv2_lists_of_the_newer_release(tmp_path):
    folder = something(tmp_path)
    for path in list(tmp_path.glob("*.json")):
        (tmp_path / "labels").mkdir(exist_ok=True)
        path.rename(tmp_path / "labels" / path.name.removeprefix("something-something-v2-"))
    assert len(read_layout(f"ssv2:{folder}").entries) == 5
    (tmp_path / "labels" / "validation.json").unlink()
    with pytest.raises(DataError, match=r"has no validation\.json"):
        read_layout(f"ssv2:{folder}")


def test_ssv2_templates_are_joined_into_classes(tmp_path):
    folder = something(tmp_path)
    groups = tmp_path / "moves.json"
    groups.write_text(json.dumps({"Moving something up": "move", "Moving [something] down": "move"}))
    listing = read_layout(f"ssv2@{groups}:{folder}")
    assert {(entry.path.stem, entry.label, entry.split) for entry in listing.entries} == {
        ("1", "move", "train"),
        ("2", None, "unused"),
        ("3", "move", "train"),
        ("10", "move", "val"),
        ("11", None, "test"),
    }
    assert listing.title == "Something-Something v2, moves"
    assert listing.notes == (f"1 videos of templates that are not in {groups} are left out",)
    groups.write_text(json.dumps({"Moving something sideways": "move"}))
    with pytest.raises(DataError, match=r"labels\.json does not have: Moving something sideways"):
        read_layout(f"ssv2@groups={groups}:{folder}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"id": "1", "template": "Eating [something]"}]', "'Eating something' is not in labels.json"),
        ("{}", "holds no JSON list"),
        ("[", "cannot be read as JSON"),
    ],
)
def test_ssv2_broken_lists_are_told(tmp_path, text, message):
    folder = something(tmp_path, **{"something-something-v2-train.json": text})
    with pytest.raises(DataError, match=message):
        read_layout(f"ssv2:{folder}")


def test_ut_interaction_groups_by_sequence(tmp_path):
    touch(tmp_path, "hug/10_2_1.avi", "kick/3_1_2.avi")
    assert found(f"ut_interaction:{tmp_path}") == [
        ("10_2_1.avi", "hug", None, "sequence 2"),
        ("3_1_2.avi", "kick", None, "sequence 1"),
    ]
    assert read_layout(f"ut_interaction:{tmp_path}").notes == ("2 videos in 2 sequences, officially 12",)
    touch(tmp_path, "kick/other.avi")
    with pytest.raises(DataError, match="not a UT-Interaction name"):
        read_layout(f"ut_interaction:{tmp_path}")


def test_ut_interaction_as_published_in_one_folder(tmp_path):
    touch(tmp_path, *(f"segmented_set1/{number}_1_{number}.avi" for number in range(6)))
    listing = read_layout(f"ut_interaction:{tmp_path}")
    assert [entry.label for entry in listing.entries] == ["shake_hands", "hug", "kick", "point", "punch", "push"]
    assert listing.notes == ()
