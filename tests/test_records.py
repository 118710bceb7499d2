"""Records of an index are light: arrays of frames are read when they are asked for, and only those of the index that was opened."""

import pickle
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ssvid.bench.rows import copy_video
from ssvid.data.frame_table import RECENT
from ssvid.data.index import Index
from ssvid.data.layouts import Entry
from ssvid.data.loader import ClipReader, SamplePlan, collate, load
from ssvid.data.sampling import Window, clock, window_starts
from ssvid.data.scanning import scan_videos, write_training_copies
from ssvid.data.usability import plainly_fits, tick_count
from ssvid.data.video_record import VideoRecord
from ssvid.errors import DataError
from ssvid.video.info import VideoInfo
from ssvid.video.on_demand import Stored, held
from ssvid.video.shots import STILL, Shots
from ssvid.video.writer import write_video


def noise(path: Path, frames: int, seed: int) -> None:
    small = np.random.default_rng(seed).integers(0, 256, (frames, 6, 8, 3), dtype=np.uint8)
    write_video(path, small.repeat(8, 1).repeat(8, 2))


@pytest.fixture(scope="module")
def scanned(tmp_path_factory) -> Path:
    """An index of three videos of 20, 21 and 22 frames."""
    folder = tmp_path_factory.mktemp("records")
    for number in range(3):
        noise(folder / "v" / f"{number}.mp4", 20 + number, seed=number)
    scan_videos([folder / "v"], Index(folder / "i.sqlite", create=True), engine="local:1")
    return folder / "i.sqlite"


@pytest.fixture
def index(scanned, tmp_path) -> Index:
    """A copy of that index, which a test may change."""
    return Index(shutil.copy(scanned, tmp_path / "i.sqlite"))


def changed(index: Index, *statements: str) -> None:
    with sqlite3.connect(index.path) as database:
        for statement in statements:
            database.execute(statement)


def stored(index: Index) -> list[tuple[np.ndarray, np.ndarray]]:
    with sqlite3.connect(index.path) as database:
        rows = database.execute("SELECT times, motion FROM frames ORDER BY video").fetchall()
    return [(np.frombuffer(times, np.float64), np.frombuffer(motion, np.float32)) for times, motion in rows]


def test_arrays_are_those_of_the_scan_and_are_read_when_asked_for(index):
    videos, expected = index.videos(), stored(index)
    for video, (times, motion) in zip(videos[:2], expected, strict=False):
        np.testing.assert_array_equal(video.info.times, times)
        np.testing.assert_array_equal(video.shots.motion, motion)
        assert (video.info.times.dtype, video.shots.motion.dtype) == (np.float64, np.float32)
        assert len(video.info.times) == len(video.shots.motion) == video.info.frames
    changed(index, "DELETE FROM frames")
    assert len(videos[0].info.times) == 20  # asked for a moment ago
    with pytest.raises(DataError, match=r"i\.sqlite was changed while it was in use.*2\.mp4; start again"):
        videos[2].info.times  # noqa: B018 it is read here


def test_records_are_made_chosen_and_fingerprinted_without_arrays(index):
    changed(index, "DELETE FROM frames")
    videos = index.videos()
    known = index.videos(paths=[videos[1].path])
    assert [video.info.frames for video in (*videos, *known)] == [20, 21, 22, 21]
    assert [Window(8, min_motion=0.1).why_unusable(video) for video in videos] == [None] * 3
    assert Window(21).why_unusable(videos[0]) == "shorter than 21 frames"
    assert replace(videos[0], label="b").label == "b"


def test_only_the_last_videos_are_kept(index):
    with index.database() as database:
        copy_video(database, 1, [f"/nowhere/{number}.mp4" for number in range(RECENT)])
    videos = index.videos()
    for video in videos:
        assert len(video.info.times) == video.info.frames
    changed(index, "DELETE FROM frames")
    assert len(videos[-1].info.times) == 20
    with pytest.raises(DataError, match="was changed"):
        videos[0].info.times  # noqa: B018 it is read here


def test_replace_keeps_or_changes_what_is_read(index):
    video = index.videos()[0]
    moved = replace(video, info=replace(video.info, path="elsewhere.mp4"), shots=replace(video.shots, cuts=(5,)))
    short = replace(video.info, frames=3, times=video.info.times[:3])
    changed(index, "DELETE FROM frames")
    assert moved.path == "elsewhere.mp4"
    np.testing.assert_array_equal(moved.info.times, video.info.times)
    np.testing.assert_array_equal(moved.shots.motion, video.shots.motion)
    assert moved.shots.cuts == (5,)
    assert len(short.times) == 3
    with pytest.raises(AttributeError):
        video.info.times = np.zeros(20)  # frozen as ever


def test_a_copy_has_the_times_of_its_video(index):
    write_training_copies(index, index.path.parent / "copies", short_side=24, engine="local:1")
    for video, (times, _) in zip(index.videos(), stored(index), strict=True):
        assert video.source.path != video.path
        np.testing.assert_array_equal(video.source.times, times)


def test_a_pickled_record_is_small_and_reads_for_itself(index):
    whole = shutil.copy(index.path, index.path.parent / "whole.sqlite")
    video = index.videos()[0]
    changed(index, "DELETE FROM frames")
    sent = pickle.dumps(video)  # does not read them
    assert len(sent) < 1500
    Path(whole).replace(index.path)
    before = stored(index)[0][0]
    again = pickle.loads(sent)
    assert again.path == video.path
    np.testing.assert_array_equal(again.info.times, before)
    np.testing.assert_array_equal(again.shots.motion, video.shots.motion)
    made = pickle.loads(pickle.dumps(replace(video.info, times=np.arange(20.0))))
    assert made.times.tolist() == list(range(20))


def plans_of(videos: list[VideoRecord]) -> list[list[SamplePlan]]:
    nothing = np.zeros(0, np.float32)
    return [
        [SamplePlan(video, number, np.array([[1, 7, 12]]), nothing, {}, 0.5, 16)] for number, video in enumerate(videos)
    ]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_give_the_batches_of_the_process_itself(index, start):
    videos = index.videos()
    expected = [batch.clips for batch in load(plans_of(videos), 16)]
    loader = DataLoader(
        ClipReader(16),
        batch_sampler=plans_of(index.videos()),
        num_workers=1,
        collate_fn=collate,
        multiprocessing_context=start,
    )
    found = [(batch.clips, batch.paths) for batch in loader]
    assert [paths for _, paths in found] == [[video.path] for video in videos]
    for ours, (theirs, _) in zip(expected, found, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_index_that_was_replaced_is_an_error_and_no_wrong_times(index, scanned, workers):
    videos = index.videos()
    for swap in (
        "UPDATE frames SET content = '1-0000000000000000'",  # the file was scanned again
        "UPDATE videos SET path = '/other/' || id",  # other videos have these rows
        "DELETE FROM videos",
    ):
        other = shutil.copy(scanned, index.path.parent / "other.sqlite")
        changed(Index(other), swap)
        Path(other).replace(index.path)
        with pytest.raises(
            DataError, match=r"^\S*i\.sqlite was changed while it was in use"
        ):  # and no worker's traceback
            list(load(plans_of(videos), 16, workers))
    index.path.unlink()
    with pytest.raises(DataError, match=r"i\.sqlite can no longer be read"):
        list(load(plans_of(videos), 16, workers))
    assert not index.path.exists()


def test_a_removed_row_takes_its_arrays_along_and_adopt_brings_them(index, tmp_path):
    paths = [video.path for video in index.videos()]
    other = Index(tmp_path / "o.sqlite", create=True)
    other.add(Entry(Path(path)) for path in reversed(paths))
    other.adopt(index.path)
    for video, (times, motion) in zip(other.videos(), reversed(stored(index)), strict=True):
        np.testing.assert_array_equal(video.info.times, times)
        np.testing.assert_array_equal(video.shots.motion, motion)
    changed(other, "DELETE FROM videos WHERE id = 1")
    assert len(stored(other)) == 2


class InMemory(Stored):
    """Arrays that a test can ask whether they were read."""

    def __init__(self, times: np.ndarray, motion: np.ndarray) -> None:
        self.arrays, self.reads = {"times": times, "motion": motion}, 0

    def read(self, name: str) -> np.ndarray:
        self.reads += 1
        return self.arrays[name]


def drawn(rng: np.random.Generator) -> VideoRecord:
    """A video with cuts and still frames, of constant rate as files have it: rounded to a coarse tick, frames dropped here and there."""
    frames, tick = int(rng.integers(2, 120)), 1 / rng.choice([30, 60, 90, 1000])
    usual = max(tick, round(1 / 30 / tick) * tick)
    dense = np.arange(frames - 1) < rng.integers(frames)  # of a file whose parts have different gaps
    step = np.where(dense, -1 if usual > tick else 0, 1) if rng.random() < 0.5 else rng.integers(0, 2, frames - 1)
    gaps = usual + tick * step
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    motion = np.where(rng.random(frames) < rng.choice([0, 0.1, 0.9]), 0.0, STILL + rng.random(frames)).astype(
        np.float32
    )
    motion[0] = 0
    cuts = tuple(sorted({int(cut) for cut in rng.integers(1, frames, rng.integers(0, 3))}))
    fps = (frames - 1) / times[-1]
    place = InMemory(times, motion)
    info = VideoInfo("v", frames, fps, times[-1] + 1 / fps, 8, 8, "h264", "mp4", 0, False, True, False, place)
    return VideoRecord(1, info, Shots(place, cuts, (0, 0, 0, 0), float((motion[1:] <= STILL).mean())))


def test_what_is_told_by_a_whole_video_is_true_of_its_windows():
    rng, told = np.random.default_rng(0), 0
    for _ in range(3000):
        video = drawn(rng)
        length, fps = int(rng.integers(1, 24)), rng.choice([None, 6.0, 12.0, 25.0])
        min_motion = float(rng.choice([0.0, 0.1, 0.25, 0.4]))
        fits = plainly_fits(video, length, fps, min_motion)
        assert held(video.info, "times").reads == 0
        ticks = clock(video, fps)
        assert tick_count(video.info, fps) == len(ticks)
        exact = len(window_starts(video, ticks, length, min_motion)) > 0
        assert exact or not fits
        told += fits == exact
    assert told > 2000  # the others are looked at frame by frame


def test_a_shot_of_dense_frames_has_few_ticks():
    gaps = np.repeat([1, 2, 3], 40) / 60  # within 1.5 ticks of the usual gap: a constant rate of 30 by the index
    times, motion = np.concatenate([[0.0], np.cumsum(gaps)]), np.ones(121, np.float32)
    place = InMemory(times, motion)
    info = VideoInfo("v", 121, 30.0, times[-1] + 1 / 30, 8, 8, "h264", "mp4", 0, False, True, False, place)
    video = VideoRecord(1, info, Shots(place, tuple(range(41, 121, 8)), (0, 0, 0, 0), 0.0))
    assert [plainly_fits(video, length, 12.0, 0.0) for length in (4, 10)] == [True, False]
    assert [Window(length, fps=12.0).why_unusable(video) for length in (4, 10)] == [None, "no shot of 10 frames"]
