"""The files behind an index: told when they change, left out when they are copies, found again in a new place."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from ssvid.cli import app
from ssvid.data.index import Index
from ssvid.data.index_files import check_files, leave_out_copies, move_index
from ssvid.data.scanning import scan_videos, write_training_copies
from ssvid.errors import ConfigError, DataError
from ssvid.video.writer import write_video


def clip(path, seed):
    write_video(path, np.random.default_rng(seed).integers(0, 255, (6, 32, 32, 3), np.uint8), 10)


@pytest.fixture
def made(tmp_path):
    """An index of three videos in two classes, with training copies."""
    folder = tmp_path / "old" / "v"
    for number, name in enumerate(("a/0.mp4", "a/1.mp4", "b/2.mp4")):
        clip(folder / name, number)
    index = Index(tmp_path / "i.sqlite", create=True)
    scan_videos([folder], index, engine="local:1")
    return folder, index


def test_what_changed_moved_or_is_gone(made):
    folder, index = made
    assert not check_files(index)
    clip(folder / "a" / "0.mp4", 9)
    (folder / "a" / "1.mp4").rename(folder / "b" / "other.mp4")
    (folder / "b" / "2.mp4").unlink()
    clip(folder / "b" / "new.mp4", 5)  # another file, not the one that is gone
    found = check_files(index)
    assert found.changed == [str(folder / "a" / "0.mp4")]
    assert found.gone == [str(folder / "b" / "2.mp4")]
    assert found.moved == [(str(folder / "a" / "1.mp4"), str(folder / "b" / "other.mp4"))]


def test_a_touched_file_is_the_same(made):
    folder, index = made
    (folder / "a" / "0.mp4").touch()
    assert not check_files(index)


def test_copies_are_left_out_and_stay_so(made):
    folder, index = made
    shutil.copy(folder / "a" / "0.mp4", folder / "b" / "again.mp4")
    scan_videos([folder], index, engine="local:1")
    assert len(index) == 4
    assert leave_out_copies(index) == 1
    assert [bad.path for bad in index.bad()] == [str(folder / "b" / "again.mp4")]
    assert index.bad()[0].reason == f"the same content as {folder / 'a' / '0.mp4'}"
    scan_videos([folder], index, engine="local:1")
    assert len(index) == 3
    assert leave_out_copies(index) == 0


def test_of_copies_the_tested_one_stays(tmp_path):
    clip(tmp_path / "train" / "a" / "0.mp4", 0)
    (tmp_path / "test" / "a").mkdir(parents=True)
    shutil.copy(tmp_path / "train" / "a" / "0.mp4", tmp_path / "test" / "a" / "1.mp4")
    index = Index(tmp_path / "i.sqlite", create=True)
    scan_videos([tmp_path], index, engine="local:1")
    assert leave_out_copies(index) == 1
    assert [video.split for video in index.videos()] == ["test"]


def test_an_index_goes_with_its_data(made, tmp_path):
    _folder, index = made
    write_training_copies(index, tmp_path / "old" / "copies", short_side=16, raw=True, engine="local:1")
    before = [(video.info.frames, video.label, video.info.times.tolist()) for video in index.videos()]
    (tmp_path / "old").rename(tmp_path / "new")
    assert move_index(index, tmp_path / "old", tmp_path / "new") == 3
    moved = index.videos()
    assert [(video.info.frames, video.label, video.info.times.tolist()) for video in moved] == before
    assert moved[0].path == str(tmp_path / "new" / "v" / "a" / "0.mp4")
    assert moved[0].source.path.startswith(str(tmp_path / "new" / "copies"))
    assert not check_files(index)
    assert scan_videos([tmp_path / "new" / "v"], index, engine="local:1").scanned == 0  # its sources moved too
    assert not index.gone()


def test_a_move_that_cannot_be_is_refused(made, tmp_path):
    folder, index = made
    with pytest.raises(ConfigError, match=r"no path of .* is below .*elsewhere; the first is .*0.mp4"):
        move_index(index, tmp_path / "elsewhere", tmp_path / "new")
    with pytest.raises(DataError, match=r"0.mp4 is not there; copy the videos first"):
        move_index(index, tmp_path / "old", tmp_path / "new")
    with pytest.raises(ConfigError, match=r"no path"):
        move_index(index, tmp_path / "ol", tmp_path)  # the beginning of a name is no folder
    shutil.copytree(folder / "a", folder / "c")
    scan_videos([folder], index, engine="local:1")
    with pytest.raises(DataError, match=r"is in .* already; nothing was moved"):
        move_index(index, folder / "a", folder / "c")
    assert len(index) == 5


def test_the_commands(made, tmp_path):
    folder, index = made

    def call(*arguments):
        return CliRunner().invoke(app, list(map(str, arguments)))

    assert call("check-index", index.path).exit_code == 0
    folder.parent.rename(tmp_path / "new")
    told = call("check-index", index.path, "--json")
    assert told.exit_code == 3
    assert len(json.loads(told.stdout)["gone"]) == 3
    assert "ssvid move-index" in call("check-index", index.path).stdout
    assert "3 videos are now below" in call("move-index", index.path, tmp_path / "old", tmp_path / "new").stdout
    assert call("check-index", index.path).exit_code == 0
    shutil.copy(tmp_path / "new" / "v" / "a" / "0.mp4", tmp_path / "new" / "v" / "a" / "9.mp4")
    told = call("index", tmp_path / "new" / "v", "-o", index.path, "--dedupe", "--engine", "local:1")
    assert "3 videos, 1 bad files (1 scanned now, 0 copies written, 1 duplicates)" in told.stdout
