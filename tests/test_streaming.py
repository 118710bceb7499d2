"""A video classified frame by frame: heads that a table keeps, the answers of a stream, their file, and what is refused."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

import ssvid
from ssvid.cli import app
from ssvid.data.index import Index
from ssvid.data.loader import read_square
from ssvid.data.scanning import scan_videos
from ssvid.errors import ConfigError, DataError
from ssvid.evaluation.features import View, encode
from ssvid.evaluation.saved_head import SavedHead, load_head
from ssvid.streaming.answer_file import answer_file
from ssvid.streaming.classify import answers, open_classifier
from ssvid.streaming.frames import Ticks, stream_frames
from ssvid.training.models import load
from ssvid.video.writer import write_video
from ssvid.zoo import clip_vector, create_model
from tests.videos import numbers

VIEW = {"clips": 1, "frames": 8, "stride": 1, "size": 24}
NAME = "r3d_18_tiny"


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Ten videos of eight frames that grow brighter and ten that grow darker, 40 x 24 px, the last four of each to test on."""
    folder = tmp_path_factory.mktemp("light")
    rng = np.random.default_rng(0)
    for number in range(20):
        ramp = np.linspace(40, 200, 8)
        light = ramp if number % 2 else ramp[::-1]
        pixels = (light[:, None, None, None] + rng.normal(0, 8, (8, 24, 40, 3))).clip(0, 255).astype(np.uint8)
        part = "test" if number >= 12 else "train"
        write_video(folder / part / ("up" if number % 2 else "down") / f"{number:02d}.mp4", pixels)
    index = Index(folder / "index.sqlite", create=True)
    scan_videos([folder], index, engine="local:1")
    return index


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_file(create_model(NAME).state_dict(), path)
    return f"{NAME}@{path}"


@pytest.fixture(scope="module")
def table(videos, model, tmp_path_factory):
    """A table of three protocols, and the folder of the heads that it keeps."""
    folder = tmp_path_factory.mktemp("heads")
    made = ssvid.transfer(
        [model],
        [videos.path],
        protocols=["linear", "linear_sgd", "finetune"],
        options=["finetune.steps=4", "finetune.clips=1", "linear_sgd.epochs=20"],
        view=VIEW,
        seeds=1,
        out=folder / "t",
        save_heads=folder / "heads",
        device="cpu",
        workers=0,
    )
    return made, folder / "heads"


def head_of(table, protocol: str):
    (path,) = (path for path in table[1].iterdir() if path.stem.endswith(f"-{protocol}"))
    return path


@pytest.mark.parametrize("protocol", ["linear", "linear_sgd", "finetune"])
def test_a_kept_head_answers_as_the_table_did(table, videos, model, protocol):
    head = load_head(head_of(table, protocol))
    assert head.classes == ("down", "up")
    about = {"model": model, "protocol": protocol, "data": "index", "seed": 0}
    assert {name: head.about[name] for name in about} == about
    assert head.about["view"] == {**VIEW, "fps": None, "pool": "mean"}
    ((_, cell),) = [
        (key, cell)
        for cells in table[0].cells.values()
        for key, cell in cells
        if cell["protocol"] == protocol and cell["row"].startswith(NAME)
    ]
    backbone = load(model)
    head.fit_network(backbone)
    tested = [video for video in videos.videos() if video.split == "test"] or videos.videos()[12:]
    view = View(**head.about["view"])
    rows = [vector for _, vector in encode(backbone, tested, [view.indices(video) for video in tested], view)]
    told = head.shares(torch.from_numpy(np.concatenate(rows))).argmax(1).tolist()
    assert told == cell["scores"][0]["predicted"]


def test_what_has_no_head_to_keep_is_said_before_anything_is_computed(videos, model, tmp_path):
    def kept(name: str, protocols: list[str], who: str = model) -> None:
        ssvid.transfer(
            [who], [videos.path], protocols=protocols, view=VIEW, save_heads=tmp_path / name, out=tmp_path / "t"
        )

    with pytest.raises(ConfigError, match="no head to save"):
        kept("h", ["knn"])
    with pytest.raises(ConfigError, match="no head to save"):
        kept("h", ["linear"], NAME)  # random weights teach nothing worth keeping
    with pytest.raises(ConfigError, match="one file and the table trains 2 heads"):
        kept("h.safetensors", ["linear", "finetune"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("classes", [2, 3])
def test_an_affine_function_becomes_a_layer(classes):
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(5, classes)), rng.normal(size=classes)
    x = rng.normal(size=(4, 5))
    scores = (lambda x: x @ weight + bias) if classes > 2 else (lambda x: x @ weight[:, 1] + bias[1])
    head = SavedHead.affine(scores, 5, list("abc")[:classes])
    logits = x @ weight + bias if classes > 2 else np.stack([np.zeros(4), x @ weight[:, 1] + bias[1]], 1)
    shares = torch.from_numpy(logits).softmax(1).float()
    torch.testing.assert_close(head.shares(torch.from_numpy(x).float()), shares, rtol=1e-4, atol=1e-5)


def test_files_that_are_no_heads_are_refused(table, model, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_head(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        load_head(tmp_path / "broken.safetensors")
    with pytest.raises(DataError, match="no classifier"):
        load_head(model.split("@")[1])
    with pytest.raises(DataError, match="takes vectors of 64 numbers and x3d_tiny gives 24"):
        open_classifier("x3d_tiny", head_of(table, "linear"))
    with pytest.raises(DataError, match="name that model"):
        open_classifier("c3d_tiny", head_of(table, "finetune"))


@pytest.mark.parametrize("protocol", ["linear", "linear_sgd", "finetune"])
def test_the_last_answer_is_that_of_the_clip(table, videos, model, protocol):
    head = load_head(head_of(table, protocol))
    backbone = load(model)
    head.fit_network(backbone)
    video = videos.videos()[3]
    pixels = read_square(video, np.arange(8)[None], 24)
    with torch.no_grad():
        maps = backbone(torch.from_numpy(pixels).permute(0, 4, 1, 2, 3).float() / 255)
        shares = head.shares(clip_vector(maps))[0]
    told = list(ssvid.stream(video.path, model, head_of(table, protocol), window=0))
    assert len(told) == maps.shape[2]
    assert told[-1].exact
    assert told[-1].frame == 7
    assert told[-1].mean_label == head.classes[int(shares.argmax())]
    assert told[-1].mean_probability == pytest.approx(float(shares.max()), abs=1e-4)
    assert all(one.latency > 0 for one in told)


def test_a_network_that_sees_whole_clips_goes_over_windows(videos, tmp_path):
    dim = create_model("s3dg_tiny").info.dim
    head = SavedHead(torch.randn(2, dim), torch.zeros(2), ("a", "b"), about={"view": VIEW})
    head.save(tmp_path / "h.safetensors")
    (told,) = ssvid.stream(videos.videos()[0].path, "s3dg_tiny", tmp_path / "h.safetensors")
    assert not told.exact
    assert told.frame == 7


def test_frames_are_those_of_the_clock(tmp_path):
    path = tmp_path / "numbers.mp4"
    write_video(path, numbers(20), fps=10)
    seen = [(frame.number, round(frame.time, 2)) for frame in stream_frames(path, 96, 3, None)]
    assert seen == [(0, 0.0), (3, 0.3), (6, 0.6), (9, 0.9), (12, 1.2), (15, 1.5), (18, 1.8)]
    assert [frame.number for frame in stream_frames(path, 96, 1, 5.0)] == list(range(0, 20, 2))
    assert [frame.picture.shape for frame in stream_frames(path, 48, 10, None)] == [(48, 48, 3)] * 2
    slow = Ticks(1, 10.0)
    assert [slow(time) for time in (0.0, 0.05, 0.1, 0.75, 0.79, 0.8)] == [True, False, True, True, False, True]


def test_lines_and_files_of_the_command(table, videos, model, tmp_path):
    def told(*more: str) -> str:
        path = str(videos.videos()[1].path)
        words = [
            "stream",
            path,
            "--model",
            model,
            "--classifier",
            str(head_of(table, "linear")),
            "--device",
            "cpu",
            *more,
        ]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        return done.stdout

    lines = told("-o", str(tmp_path / "a.csv")).splitlines()
    assert lines[0].startswith("seconds\tclass")
    assert len(lines) == 3
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["mean_label"] for row in rows] == [line.split("\t")[3] for line in lines[1:]]
    objects = [json.loads(line) for line in told("--json", "-o", str(tmp_path / "a.json")).splitlines()]
    kept = json.loads((tmp_path / "a.json").read_text())
    assert [one["label"] for one in kept] == [one["label"] for one in objects] == [row["label"] for row in rows]


def test_what_was_told_before_an_interruption_stays(table, videos, model, tmp_path):
    how = open_classifier(model, head_of(table, "linear"), device="cpu")
    (first, *_) = answers(how, videos.videos()[0].path)
    for error in (KeyboardInterrupt, DataError("camera 0 broke off")):
        for name in ("x.csv", "x.json"):
            with pytest.raises((KeyboardInterrupt, DataError)), answer_file(tmp_path / name) as add:  # noqa: PT012
                add(first)
                raise error
        assert len((tmp_path / "x.csv").read_text().splitlines()) == 2
        assert json.loads((tmp_path / "x.json").read_text())[0]["label"] == first.label
    with pytest.raises(ConfigError, match=r"csv or \.json"), answer_file(tmp_path / "x.txt"):
        pass


@pytest.mark.parametrize("camera", ["7", "/dev/video7", "rtsp://127.0.0.1:9/none"])
def test_a_camera_that_is_not_there_is_told(table, model, camera):
    with pytest.raises(DataError, match="cannot be opened"):
        list(ssvid.stream(camera, model, head_of(table, "linear")))


def test_the_square_of_a_stream_is_that_of_a_clip(videos):
    video = videos.videos()[0]
    ours = np.stack([frame.picture for frame in stream_frames(video.path, 16, 1, None)])
    theirs = read_square(video, np.arange(8)[None], 16)[0]
    assert np.abs(ours.astype(int) - theirs).max() <= 1
