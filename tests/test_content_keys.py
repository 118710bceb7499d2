"""What is kept is known by the content of the videos: a file that was overwritten never gets an old number."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from ssvid.audit.controls import ControlSpec, make_videos
from ssvid.audit.survey import held_out_accuracies
from ssvid.config import PretrainConfig
from ssvid.data.index import Index
from ssvid.data.scanning import open_data, scan_videos
from ssvid.data.video_record import fingerprint
from ssvid.errors import VideoError
from ssvid.evaluation.features import View, extract
from ssvid.evaluation.splits import open_labelled
from ssvid.search.near_duplicates import make_copies
from ssvid.training.fit import pretrain
from ssvid.training.resuming import data_mark
from ssvid.video.writer import write_video
from ssvid.zoo import create_model

VIEW = View(clips=1, frames=4, stride=1, size=32)


def picture(level: int) -> np.ndarray:
    """A short clip of one brightness; all clips have the same length, size and frame rate."""
    rng = np.random.default_rng(level)
    return (rng.integers(0, 60, (8, 32, 32, 3)) + level).astype(np.uint8)


@pytest.fixture
def clips(tmp_path):
    """A folder of two classes, each with a training and a test video, and another clip to put in place of one of them."""
    for number, (split, label) in enumerate([("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")]):
        write_video(tmp_path / "v" / split / label / f"{number}.mp4", picture(40 * number), fps=25)
    write_video(tmp_path / "other.mp4", picture(190), fps=25)
    return tmp_path / "v"


def overwrite(clips) -> None:
    shutil.copy(clips.parent / "other.mp4", clips / "test" / "b" / "3.mp4")


def test_features_of_an_overwritten_video_are_those_of_what_is_there_now(clips):
    backbone = create_model("baseline_mean_frame")
    before = extract(backbone, open_data([str(clips)]).videos(), VIEW)[[0, 1, 2, 3]]
    overwrite(clips)
    after = extract(backbone, open_data([str(clips)]).videos(), VIEW)[[0, 1, 2, 3]]
    changed = np.abs(after - before).reshape(4, -1).max(1) > 1e-3
    assert changed.sum() == 1


def test_what_is_kept_changes_its_name_with_the_file(clips, tmp_path):
    videos = open_data([str(clips)]).videos()
    copies = make_copies(videos, tmp_path / "copies")
    spec = ControlSpec(8, 25.0, 32, stills=tuple(videos))
    stills = [video.path for video in make_videos("pan", spec, 8)]
    overwrite(clips)
    now = open_data([str(clips)]).videos()
    assert fingerprint(now) != fingerprint(videos)
    assert sum(a.path != b.path for a, b in zip(copies, make_copies(now, tmp_path / "copies"), strict=True)) == 1
    assert [video.path for video in make_videos("pan", replace(spec, stills=tuple(now)), 8)] != stills


def test_a_masked_video_is_another_one(clips):
    videos = open_data([str(clips)]).videos()
    masked = [replace(video, hidden=np.eye(4, dtype=bool)) for video in videos]
    other = [replace(video, hidden=~np.eye(4, dtype=bool)) for video in videos]
    assert len({fingerprint(found) for found in (videos, masked, other)}) == 3


def test_an_index_with_changed_files_is_refused(clips, tmp_path):
    index = tmp_path / "index.sqlite"
    scan_videos([clips], Index(index, create=True), engine="local:1")
    path = clips / "test" / "b" / "3.mp4"
    open_labelled(str(index))
    os.utime(path, (1, 1))  # touched, and the same
    open_labelled(str(index))
    overwrite(clips)
    with pytest.raises(VideoError, match=r"3\.mp4: has changed since it was indexed; index it again"):
        open_labelled(str(index))


def test_a_run_goes_on_with_moved_videos_and_not_with_overwritten_ones(clips):
    before = data_mark(open_data([str(clips)]).videos())
    shutil.copytree(clips, clips.parent / "moved")  # with new times
    assert data_mark(open_data([str(clips.parent / "moved")]).videos()) == before
    overwrite(clips)
    assert data_mark(open_data([str(clips)]).videos()) != before


def test_a_survey_measures_again_what_was_asked_of_other_videos(clips, tmp_path):
    index = tmp_path / "index.sqlite"
    scan_videos([clips], Index(index, create=True), engine="local:1")
    config = PretrainConfig(
        task="speednet",
        backbone="tests/toy.py:toy",
        data=[str(index)],
        out=str(tmp_path / "run"),
        steps=1,
        batch=2,
        workers=0,
        options={"frames": 2, "size": 24},
    )
    run = pretrain(config)
    (run.path / "audit").mkdir()
    tested = [video for video in Index(index).videos() if video.split == "test"]
    first = held_out_accuracies(run, config, tested)
    assert json.loads((run.path / "held_out.json").read_text()) == first
    assert held_out_accuracies(run, config, tested) == first
    assert (run.path / "audit").exists()
    held_out_accuracies(run, config, tested[:1])
    assert not (run.path / "audit").exists()
    assert json.loads((run.path / "held_out.json").read_text())["fingerprint"] != first["fingerprint"]
