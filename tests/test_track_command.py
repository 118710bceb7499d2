"""`ssvid track` from end to end: files, going on after an interruption, and what is refused."""

from __future__ import annotations

import csv
import errno
import json
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import ssvid
from ssvid.cli import app
from ssvid.errors import ConfigError, DataError
from ssvid.tracking import pipeline
from ssvid.tracking.frames import open_frames
from ssvid.tracking.prompts import check_mask, check_points, make_prompts, mask_of_boxes
from ssvid.tracking.rendering import overlay, palette, write_mask
from ssvid.video.writer import write_video
from tests.test_tracker import overlap, scene

FRAMES = 8
MODEL = {"model": "baseline_patches", "recent": 2, "device": "cpu"}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A folder of frames, the mask of the first, and the truth."""
    frames, masks = scene([[(8, 8 + 8 * t), (40, 80 - 8 * t)] for t in range(FRAMES)])
    (tmp_path / "clip").mkdir()
    for number, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
        Image.fromarray(frame).save(tmp_path / "clip" / f"{number:05d}.png")
        write_mask(tmp_path / "truth" / f"{number:05d}.png", mask)
    return tmp_path / "clip"


def read_masks(folder: Path) -> list[np.ndarray]:
    return [np.array(Image.open(file)) for file in sorted(folder.glob("*.png"))]


def test_a_folder_of_frames_gives_masks_tables_overlay_and_page(clip, tmp_path):
    out = tmp_path / "out"
    arguments = ["track", str(clip), "--model", "baseline_patches", "--mask", str(tmp_path / "truth" / "00000.png")]
    arguments += ["-o", str(out), "--html", str(out / "index.html"), "--recent", "2", "--device", "cpu", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["frames"] == FRAMES
    found, truth = read_masks(out / "clip"), read_masks(tmp_path / "truth")
    assert overlap(found[3], truth[3]) > 0.3  # where it was, it no longer is
    with Image.open(out / "clip" / "00003.png") as picture:
        assert picture.mode == "P"
        assert picture.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
    rows = list(csv.DictReader((out / "points.csv").read_text().splitlines()))
    assert len(rows) == 2 * FRAMES
    assert {row["name"] for row in rows} == {"1", "2"}
    last = rows[-2]
    assert float(last["x"]) == pytest.approx(8 + 8 * 7 + 11.5, abs=4)
    assert (int(last["left"]), int(last["top"])) == pytest.approx((64, 8), abs=8)
    assert json.loads((out / "points.json").read_text())["frames"][0]["found"][0]["width"] == 24
    assert len(ssvid.Video(out / "overlay.mp4")) == FRAMES
    page = (out / "index.html").read_text()
    assert page.count("data:image/png") == FRAMES + 1
    assert "http" not in page.replace("http-equiv", "")


def test_an_interrupted_job_goes_on_and_ends_the_same(clip, tmp_path):
    first = tmp_path / "truth" / "00000.png"
    whole = ssvid.track(clip, tmp_path / "whole", mask=first, **MODEL)
    lost = clip / "00005.png"
    good = lost.read_bytes()
    lost.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"00005\.png cannot be read as a picture"):
        ssvid.track(clip, tmp_path / "parts", mask=first, **MODEL)
    assert len(read_masks(tmp_path / "parts" / "clip")) == 5  # what was done is kept
    lost.write_bytes(good)
    seen = []
    parts = ssvid.track(
        clip, tmp_path / "parts", mask=first, progress=lambda what, done, total: seen.append((what, done)), **MODEL
    )
    assert [done for what, done in seen if what == "tracking"] == [6, 7, 8]  # only those that were missing
    assert parts.rows == whole.rows
    for name in ("points.csv", "frames.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    pairs = zip(read_masks(tmp_path / "parts" / "clip"), read_masks(tmp_path / "whole" / "clip"), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


def test_a_folder_that_holds_another_track_is_left_alone(clip, tmp_path):
    out = tmp_path / "out"
    ssvid.track(clip, out, box=(8, 8, 24, 24), **MODEL)
    with pytest.raises(ConfigError, match=r"holds another track \(other prompts\)"):
        ssvid.track(clip, out, box=(8, 8, 20, 24), **MODEL)
    with pytest.raises(ConfigError, match=r"other preset"):
        ssvid.track(clip, out, box=(8, 8, 24, 24), **{**MODEL, "recent": 1})
    ssvid.track(clip, out, box=(8, 8, 20, 24), overwrite=True, **MODEL)
    assert (read_masks(out / "clip")[0] > 0).sum() == 20 * 24


def test_points_of_a_video_from_some_seconds_on(tmp_path):
    frames, _ = scene([[(8 + 8 * t, 24)] for t in range(6)], 78, 116)
    write_video(tmp_path / "v.mp4", frames, fps=10, crf=10)
    (tmp_path / "p.json").write_text('{"middle": [36, 28], "ground": [100.5, 70]}')
    result = ssvid.track(tmp_path / "v.mp4", tmp_path / "o", points=tmp_path / "p.json", at=0.1, **MODEL)
    assert result.masks is None
    assert [row["frame"] for row in result.rows] == [number for number in range(1, 6) for _ in range(2)]
    assert (result.rows[0]["x"], result.rows[0]["y"]) == (36, 28)
    assert (result.rows[-2]["x"], result.rows[-2]["y"]) == pytest.approx((36, 28 + 4 * 8), abs=8)
    assert len(ssvid.Video(result.overlay)) == 5


def test_what_the_disk_refuses_is_told_and_what_was_done_is_kept(clip, tmp_path, monkeypatch):
    done = []

    def full(path, mask):
        if len(done) == 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        done.append(write_mask(path, mask))

    monkeypatch.setattr(pipeline, "write_mask", full)
    with pytest.raises(DataError, match=r"00003\.png cannot be written \(No space left on device\); make room"):
        ssvid.track(clip, tmp_path / "out", box=(8, 8, 24, 24), **MODEL)
    monkeypatch.undo()
    assert len((tmp_path / "out" / "frames.jsonl").read_text().splitlines()) == 3
    result = ssvid.track(clip, tmp_path / "out", box=(8, 8, 24, 24), **MODEL)
    assert result.rows == ssvid.track(clip, tmp_path / "whole", box=(8, 8, 24, 24), **MODEL).rows


def test_killed_it_goes_on_from_the_last_checkpoint(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "EVERY", 3)
    out = tmp_path / "out"
    copied = []

    def copy(what: str, done: int, total: int) -> None:
        if what == "tracking" and done == 4:
            copied.append((out / "checkpoint.safetensors").read_bytes())

    prompts = {"mask": [tmp_path / "truth" / f"0000{number}.png" for number in (0, 2)], "at": [0, 0.1]}
    whole = ssvid.track(clip, out, progress=copy, **prompts, **MODEL)
    (out / "checkpoint.safetensors").write_bytes(copied[0])
    with (out / "frames.jsonl").open("a") as lines:
        lines.write('{"frame": 8, "sec')  # cut short
    seen = []
    again = ssvid.track(clip, out, progress=lambda *told: seen.append(told), **prompts, **MODEL)
    assert [done for what, done, _ in seen if what == "tracking"] == [4, 5, 6, 7, 8]
    assert again.rows == whole.rows


def test_a_signal_lets_the_frame_be_finished(clip, tmp_path):
    def stop(what: str, done: int, total: int) -> None:
        if done == 2:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        ssvid.track(clip, tmp_path / "out", box=(8, 8, 24, 24), progress=stop, **MODEL)
    assert len((tmp_path / "out" / "frames.jsonl").read_text().splitlines()) == 2


def save(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path)
    return path


def test_masks_that_cannot_be_meant_are_refused(tmp_path):
    ids = np.zeros((4, 6), np.uint8)
    ids[1, 1:3] = (2, 9)
    cases = [
        (save(tmp_path / "rgb.png", ids, "RGB"), r"rgb\.png is a picture of mode RGB .* palette PNG"),
        (save(tmp_path / "deep.png", ids.astype(np.uint16)), r"deep\.png is a picture of mode I;16"),
        (save(tmp_path / "size.png", ids[:3]), r"size\.png is 6x3 px, the frames are 6x4; is it of another video"),
        (save(tmp_path / "empty.png", 0 * ids), r"empty\.png is empty"),
        (tmp_path / "missing.png", r"missing\.png cannot be read"),
        (ids.astype(np.float32), "the mask is float32"),
    ]
    for mask, message in cases:
        with pytest.raises(DataError, match=message):
            check_mask(mask, (4, 6))


def test_gaps_in_ids_stay_void_goes_and_a_binary_mask_is_one_object(tmp_path):
    ids = np.array([[0, 2, 9, 255]], np.uint8)
    assert check_mask(ids, (1, 4)).tolist() == [[0, 2, 9, 0]]
    write_mask(tmp_path / "p.png", ids)
    assert check_mask(tmp_path / "p.png", (1, 4)).tolist() == [[0, 2, 9, 0]]
    binary = np.array([[0, 255, 255, 0]], np.uint8)
    assert check_mask(save(tmp_path / "l.png", binary), (1, 4)).tolist() == [[0, 1, 1, 0]]
    assert check_mask(save(tmp_path / "1.png", binary, "1"), (1, 4)).tolist() == [[0, 1, 1, 0]]


def test_points_and_boxes_outside_are_refused(tmp_path):
    assert check_points([[0, 0], [5, 3]], (4, 6)) == {"1": (0, 0), "2": (5, 3)}
    for points, message in (
        ({"nose": (6, 1)}, "point 'nose' at 6, 1 lies outside the frames of 6x4"),
        ({"nose": (float("nan"), 1)}, "lies outside"),
        ({"nose": 3}, "does not hold points"),
        ({}, "holds no points"),
    ):
        with pytest.raises(DataError, match=message):
            check_points(points, (4, 6))
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataError, match=r"bad\.json cannot be read as JSON"):
        check_points(tmp_path / "bad.json", (4, 6))
    assert mask_of_boxes([(0, 0, 2, 2), (3, 1, 3, 3)], (4, 6)).max() == 2
    for box in ((5, 0, 2, 2), (0, 0, 0, 2), (-1, 0, 2, 2)):
        with pytest.raises(ConfigError, match="does not lie in the frames"):
            mask_of_boxes([box], (4, 6))
    with pytest.raises(ConfigError, match="box 1 is wholly covered"):
        mask_of_boxes([(1, 1, 2, 2), (0, 0, 4, 4)], (4, 6))


def test_prompts_that_do_not_go_together_are_refused(clip, tmp_path):
    source, mask = open_frames(clip), tmp_path / "truth" / "00000.png"
    assert list(make_prompts(source, [mask, mask], at=[0, 0.1])) == [0, 2]  # 24 frames a second
    for given, message in (
        ({}, "in one way"),
        ({"masks": [mask], "points": [(1, 1)]}, "in one way"),
        ({"masks": [mask, mask]}, "give --at once for every --mask"),
        ({"masks": [mask, mask], "at": [0, 0.01]}, "two masks are of the same frame"),
        ({"masks": [mask], "at": [99]}, "no frame at 99 s; it lasts 0.33 s"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_prompts(source, **given)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--box", "1,2,3"], 2, "is no box"),
        (["--box", "1,2,3,4", "--preset", "sam"], 2, "there are: crw"),
        (["--box", "1,2,3,4", "--layer", "x"], 2, "has no layer"),
        (["--mask", "nowhere.png"], 3, "nowhere.png cannot be read"),
    ],
)
def test_the_command_says_what_is_wrong(clip, tmp_path, arguments, code, message):
    done = CliRunner().invoke(
        app, ["track", str(clip), "--model", "resnet18_tiny", "-o", str(tmp_path / "o"), *arguments]
    )
    assert message in str(done.exception)
    assert done.exception.exit_code == code
    assert not (tmp_path / "o").exists()


def test_frames_that_are_none_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        open_frames(tmp_path / "empty")
    for number, width in ((9, 6), (10, 7)):
        save(tmp_path / "empty" / f"{number}.png", np.zeros((4, width, 3), np.uint8))
    source = open_frames(tmp_path / "empty")
    assert source.names == ["9", "10"]
    with pytest.raises(DataError, match=r"10\.png is 7x4 px, the first frame 6x4"):
        list(source)


def test_colours_of_davis_and_overlays():
    assert palette()[[1, 2, 3, 8, 255]].tolist() == [
        [128, 0, 0],
        [0, 128, 0],
        [128, 128, 0],
        [64, 0, 0],
        [224, 224, 192],
    ]
    frame, mask = np.full((40, 60, 3), 100, np.uint8), np.zeros((40, 60), np.uint8)
    mask[10:20, 10:20] = 4
    drawn = overlay(frame, mask, {"a": (50.0, 30.0), "gone": (float("nan"), 0.0)}, ["a", "gone"])
    assert (drawn[0, 0] == 100).all()
    assert (drawn[15, 15] != 100).any()
    assert drawn[10, 15].sum() > drawn[15, 15].sum()  # the outline is lighter
    assert (drawn[30, 50] != 100).any()
