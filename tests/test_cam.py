"""The activation map: what it has to do with the answer, and where it lands in the video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssvid.config import PretrainConfig
from ssvid.data.augment import Augment
from ssvid.errors import ConfigError, DataError
from ssvid.plugins import load_task
from ssvid.speedup.cam import frame_maps, load_map_model, render_cam
from ssvid.training.build import build_task
from ssvid.training.run import Run
from ssvid.video.reader import Video
from ssvid.video.scan import scan
from ssvid.video.writer import write_video
from ssvid.zoo import create_model
from tests.videos import uneven_times

TOY = str(Path(__file__).with_name("toy.py")) + ":toy"


@pytest.fixture
def clips() -> Tensor:
    return torch.randn(2, 1, 3, 8, 32, 48, generator=torch.Generator().manual_seed(0))


def test_the_map_of_speednet_is_its_head_before_the_maximum(clips):
    torch.manual_seed(0)
    task = load_task("speednet")(create_model(TOY), frames=8, size=(32, 32)).eval()
    nn.init.zeros_(task.head.weight)
    with torch.no_grad():
        task.head.weight[0, 3] = 2.0
        task.head.bias.fill_(-0.5)
        maps, logits = task.cam(clips), task.logits(clips)
        features = task.backbone(clips.flatten(0, 1))
    assert maps.shape == (2, 1, 8, 8, 12)
    torch.testing.assert_close(maps[:, 0], 2 * features[:, 3] - 0.5)
    # one channel alone: its largest place decides in every frame, and the frames are averaged
    torch.testing.assert_close(maps.amax((3, 4)).mean(2), logits)
    with torch.no_grad():
        task.head.weight[0, 5] = 1.0  # with more channels the largest places differ, so the map only stays below
        assert (task.cam(clips).amax((3, 4)).mean(2) <= task.logits(clips) + 1e-6).all()


@pytest.mark.parametrize("head", ["mean", "tcam"])
def test_the_mean_of_the_map_of_arrow_of_time_is_the_answer(clips, head):
    torch.manual_seed(0)
    task = load_task("arrow_of_time")(create_model(TOY), frames=8, head=head, stride=1).eval()
    with torch.no_grad():
        torch.testing.assert_close(task.cam(clips).mean((2, 3, 4)), task.logits(clips)[:, :1])


class Brightness(nn.Module):
    """A task whose map is how bright each quarter of the picture is, above the middle grey."""

    def __init__(self, frames: int, fps: float | None = None) -> None:
        super().__init__()
        self.frames, self.window_length, self.fps, self.augment = frames, frames, fps, Augment(size=32)

    def cam(self, clips: Tensor) -> Tensor:
        B, V, _, T, H, W = clips.shape
        return (clips.mean(2) - 0.5).reshape(B, V, T, 2, H // 2, 2, W // 2).mean((4, 6))


def lit(row: int, column: int) -> np.ndarray:
    """A dark frame with one quarter lit."""
    frame = np.full((64, 64, 3), 30, np.uint8)
    frame[32 * row : 32 * row + 32, 32 * column : 32 * column + 32] = 230
    return frame


def moving(count: int) -> list[np.ndarray]:
    return [lit(0, 0) if number < count // 2 else lit(1, 1) for number in range(count)]


def silent(what: str, done: int, total: int) -> None:
    """Nobody is told."""


def test_every_frame_gets_the_map_of_its_own_time_and_place(tmp_path):
    path = tmp_path / "v.mp4"
    write_video(path, moving(21), fps=30)
    maps = frame_maps(Brightness(6), *scan(path), silent)
    assert maps.shape == (21, 2, 2)
    assert (maps[:10, 0, 0] > 0.2).all()
    assert (maps[:10, 1, 1] < -0.2).all()
    assert (maps[10:, 1, 1] > 0.2).all()
    assert (maps[10:, 0, 0] < -0.2).all()


def test_on_a_slower_clock_frames_between_ticks_have_the_map_of_the_last(tmp_path):
    path = tmp_path / "v.mp4"
    write_video(path, moving(24), fps=30)
    maps = frame_maps(Brightness(4, fps=10.0), *scan(path), silent)
    assert (maps[:12, 0, 0] > 0.2).all()
    assert (maps[12:, 1, 1] > 0.2).all()


def test_the_picture_is_red_where_the_map_is_high_and_keeps_its_frames(tmp_path):
    path, out = tmp_path / "v.mp4", tmp_path / "out.mp4"
    times = uneven_times(24)
    write_video(path, moving(24), times=times)
    told = []
    render_cam(path, out, Brightness(6), progress=lambda *line: told.append(line))
    result = Video(out)
    assert len(result) == 24
    assert told[-1] == ("drawing", 24, 24)
    np.testing.assert_allclose(result.times, times, atol=2e-3)
    first, last = result.frames([2, 21]).astype(int)
    bright, dark = np.s_[2:14, 2:14], np.s_[50:62, 50:62]
    assert (first[bright][..., 0] > first[bright][..., 2] + 30).all()  # red over blue
    assert (first[dark][..., 2] > first[dark][..., 0] + 30).all()
    assert (last[dark][..., 0] > last[dark][..., 2] + 30).all()


def test_a_video_shorter_than_a_window_is_told(tmp_path):
    path = tmp_path / "v.mp4"
    write_video(path, moving(5), fps=30)
    with pytest.raises(DataError, match="no shot is as long as a window"):
        render_cam(path, tmp_path / "out.mp4", Brightness(6))
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("name", ["arrow_of_time", "frame_order"])
def test_a_run_of_another_task_is_used_where_it_has_a_map(tmp_path, name):
    config = PretrainConfig(task=name, backbone="s3dg_tiny", out=str(tmp_path / "run"))
    config.options = {"frames": 8, "stride": 2, "size": 32} if name == "arrow_of_time" else {}
    run = Run.create(config)
    run.save({"task": build_task(config).state_dict(), "optimizer": {}, "step": 1})
    if name != "arrow_of_time":
        with pytest.raises(ConfigError, match="no activation map"):
            load_map_model(run.path)
        return
    path = tmp_path / "v.mp4"
    write_video(path, moving(30), fps=30)
    render_cam(path, tmp_path / "out.mp4", run.path)
    assert len(Video(tmp_path / "out.mp4")) == 30
