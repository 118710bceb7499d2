"""One answer to what is trained on and what is held out, for every command."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ssvid.data.index import Index
from ssvid.data.layouts import Entry
from ssvid.data.scanning import scan_videos
from ssvid.data.splits import held_out, not_trained_on, training_part
from ssvid.errors import DataError
from ssvid.evaluation.splits import folds
from tests.test_index import noise
from tests.test_sampling import even


def videos_in(*splits: str | None):
    return [replace(even(8), id=number, label="a", split=split) for number, split in enumerate(splits)]


def ids(videos) -> list[int]:
    return [video.id for video in videos]


@pytest.mark.parametrize(
    ("splits", "trained", "tested"),
    [
        (("train", "val", "train"), [0, 2], [1]),
        (("train", "val", "test"), [0], [2]),
        (("train", "test", None, "unused"), [0, 2], [1]),  # as where a folder stands beside a data set with a split
        (("test", None, "val", None), [1, 3], [0]),  # no train: those without a split, and never the test rows
        ((None, None, "unused"), [0, 1], [0, 1]),  # no split at all: one and the same
    ],
)
def test_what_is_trained_on_and_what_is_held_out(splits, trained, tested):
    videos = videos_in(*splits)
    assert ids(training_part(videos)) == trained
    assert ids(held_out(videos)) == tested


def test_folds_hold_out_the_same_videos():
    for splits in (("train", "val", "train"), ("train", "val", "test")):
        videos = videos_in(*splits)
        [(train, test)] = folds(videos)
        assert (train.tolist(), test.tolist()) == (ids(training_part(videos)), ids(held_out(videos)))


def test_what_is_held_out_is_never_trained_on_unasked():
    videos = videos_in("test", "val")
    with pytest.raises(DataError, match=r"no video to train on in the split 'auto' \(1 test, 1 val\); split=all"):
        training_part(videos)
    assert ids(training_part(videos, "all")) == [0, 1]
    assert ids(training_part(videos, "val")) == [1]


def test_what_was_trained_on_is_not_held_out():
    with pytest.raises(DataError, match="all 2 videos with a split are for training"):
        held_out(videos_in("train", "train", None))
    for split in ("all", "test"):
        with pytest.raises(DataError, match=rf"the test videos were trained on \(split={split}\)"):
            held_out(videos_in("train", "test"), split)
    assert ids(held_out(videos_in(None, None), "all")) == [0, 1]


def test_an_index_knows_splits_by_one_name(tmp_path):
    index = Index(tmp_path / "i.sqlite", create=True)
    for number, split in enumerate(("Training", " VALIDATION", "testing", "mine")):
        index.add([Entry(noise(tmp_path / f"{number}.mp4", seed=number), None, split)])
    with index.database() as database:  # as an older version wrote it
        database.execute("UPDATE videos SET split = 'Validation' WHERE split = 'val'")
    scan_videos([], index, engine="local:1")
    assert [video.split for video in index.videos()] == ["train", "val", "test", "mine"]
    assert [len(index.videos(split)) for split in ("train", "val", "test", "mine", "other")] == [1, 1, 1, 1, 0]


def test_a_video_without_a_split_is_not_trained_on_where_its_group_is_held_out():
    videos = [
        replace(video, group=group) for video, group in zip(videos_in("train", "test", None, None), "abbc", strict=True)
    ]
    assert ids(training_part(videos)) == [0, 3]
    assert not_trained_on(videos) == {"held out (test)": 1, "without a split, of a group that is held out": 1}


def test_every_video_that_is_left_out_is_counted():
    videos = videos_in("train", "test", "val", None, "unused", "mine")
    reasons = {
        "held out (test)": 1,
        "held out (val)": 1,
        "left out by its data set (unused)": 1,
        "of the split 'mine'": 1,
    }
    assert not_trained_on(videos) == reasons
    assert not_trained_on(videos, "all") == {}
    assert not_trained_on(videos, "train") == {"not of the split 'train'": 5}
    for split in ("auto", "all", "train", "mine"):
        assert len(training_part(videos, split)) + sum(not_trained_on(videos, split).values()) == len(videos)
