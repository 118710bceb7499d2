"""The control videos: they show one cue and nothing else, alike in both directions, in real files that are made once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ssvid.audit.controls import CONTROLS, ControlSpec, control_spec, make_videos
from ssvid.audit.reencodings import excerpt, make_reencodings
from ssvid.audit.trends import border_growth, brightening, expansion
from ssvid.data.color import rgb_to_lab
from ssvid.data.loader import read_square
from ssvid.data.sampling import Window, clock, window_starts
from ssvid.errors import DataError
from ssvid.training.task import Augment, Clips, PretextTask
from ssvid.video.reader import Video, probe
from ssvid.video.shots import Shots, grey
from ssvid.zoo import model_info

T, S = 24, 32
STILL = np.random.default_rng(0).uniform(0, 255, (3, 8, 8)).repeat(8, 1).repeat(8, 2).astype(np.float32)


class OneWindow(PretextTask):
    """Samples one window of frames."""

    def __init__(self, window_length: int = 16, fps: float | None = None, min_motion: float = 0.0) -> None:
        backbone = nn.Module()
        backbone.info = model_info("r3d_18_tiny")
        super().__init__(backbone, Augment(size=S), Window(window_length, fps=fps, min_motion=min_motion))

    def sample(self, video, rng, training=True):
        return Clips(self.window(video, rng, training)[None])

    def forward(self, clips, target):
        return {}


def drawn(name: str, direction: int, seed: int) -> np.ndarray:
    """Frames (T,S,S,3) of a recipe, before any codec."""
    frames = CONTROLS[name].frames(np.random.default_rng(seed), direction, STILL, T, S)
    return np.broadcast_to(frames, (T, S, S, 3))


@pytest.mark.parametrize(("name", "trend"), [("fade", brightening), ("bars", border_growth), ("pan", expansion)])
def test_a_cue_runs_in_the_direction_of_its_side(name, trend):
    sizes = []
    for seed in range(12):
        there, back = (trend(drawn(name, direction, seed).mean(-1)) for direction in (1, -1))
        sizes.append((there, back))
    strong = sorted(sizes, key=lambda pair: -abs(pair[0]))[:6]  # in the slowest, noise hides the cue
    assert all(there > 0 > back for there, back in strong)


def test_speeds_are_spread_over_octaves():
    depths = [abs(np.diff(drawn("fade", 1, seed).mean((1, 2, 3))[[0, -1]])[0]) for seed in range(200)]
    shares, _ = np.histogram(np.log2(depths), bins=np.log2(180) - np.arange(6, -1, -1))
    assert shares.sum() > 180  # noise moves a few of the faintest
    assert shares.min() > 15
    assert shares.max() < 55


@pytest.mark.parametrize("name", ["noise", "fade", "codec"])
def test_frames_of_noise_are_uncorrelated(name):
    frames = drawn(name, 1, 3)[..., 0]
    fresh = frames - frames.mean((1, 2), keepdims=True) - (frames.mean(0) if name == "codec" else 0)
    correlation = np.corrcoef(fresh.reshape(T, -1))
    assert np.abs(correlation[~np.eye(T, dtype=bool)]).mean() < 0.12


def test_blocks_keep_their_colour_under_any_lightness():
    frames = drawn("blocks", 1, 2)
    light, *colours = rgb_to_lab(torch.from_numpy(frames.copy() / 255).permute(3, 0, 1, 2))
    for colour in colours:
        assert colour.std(0).mean() < 0.5  # over time
        assert colour[0].std() > 5  # over the picture
    fresh = (light - light.mean((1, 2), keepdim=True)).flatten(1)
    assert torch.corrcoef(fresh).fill_diagonal_(0).abs().mean() < 0.12
    assert torch.corrcoef(torch.stack([light[0].flatten(), colours[0][0].flatten()]))[0, 1].abs() < 0.15


def test_blank_is_one_colour_after_the_codec_too():
    for video in make_videos("blank", ControlSpec(8, 30.0, 40), 6):
        frames = read_square(video, np.array([[0, 3, 7]]), 40)
        assert (frames == frames[0, 0, 0, 0]).all()


def test_bars_are_black_and_stand_at_the_border():
    widest = max((drawn("bars", 1, seed) for seed in range(12)), key=lambda frames: (frames[-1] == 0).mean())
    black = (widest == 0).all(-1)
    assert not black[0].any()
    assert black[-1].any()
    assert not black[-1, S // 2 - 2 : S // 2 + 2, S // 2 - 2 : S // 2 + 2].any()
    assert (black[-1] == black[-1, ::-1, ::-1]).all()


def test_pans_and_zooms_are_steady():
    """Acceleration would give the direction of time away."""
    fastest = max((drawn("pan", 1, seed).mean(-1) for seed in range(12)), key=expansion)
    first, second = expansion(fastest[: T // 2]), expansion(fastest[T // 2 :])
    assert first == pytest.approx(second, rel=0.25)


def test_videos_are_real_files_made_once(world_index):
    spec = ControlSpec(20, 25.0, 40, world_index.videos()[:3])
    calls = []
    first = make_videos("pan", spec, 6, lambda: calls.append(1))
    assert len(calls) == 6
    assert [video.label for video in first] == ["zooming in", "zooming out"] * 3
    found = probe(first[0].path)
    assert (found.frames, found.width, found.height, found.codec) == (20, 40, 40, "h264")
    assert found.fps == pytest.approx(25)
    written = {video.path: Path(video.path).stat().st_mtime_ns for video in first}
    again = make_videos("pan", spec, 8)
    assert [video.path for video in again][:6] == list(written)
    assert all(Path(path).stat().st_mtime_ns == time for path, time in written.items())
    other = make_videos("pan", replace(spec, frames=21), 1)
    assert other[0].path not in written


def test_pans_show_synthetic_textures_and_stills_of_the_data(world_index):
    data = world_index.videos()[:1]
    textures = make_videos("pan", ControlSpec(16, 30.0, 40), 4)
    mixed = make_videos("pan", ControlSpec(16, 30.0, 40, data), 4)
    assert [a.path == b.path for a, b in zip(textures, mixed, strict=True)] == [True, True, False, False]
    middle = read_square(data[0], np.array([[20]]), 40)[0, 0].reshape(-1, 3).mean(0)
    shown = read_square(mixed[2], np.array([[8]]), 40)[0, 0].reshape(-1, 3).mean(0)
    assert np.abs(middle - shown).max() < 30


@pytest.mark.parametrize(
    "task", [OneWindow(), OneWindow(31, min_motion=2.0), OneWindow(10, fps=8.0), OneWindow(40, fps=60.0)]
)
def test_videos_suit_the_task(task, world_index):
    spec = control_spec(task, world_index.videos())
    assert spec.size == task.augment.decode_size
    assert spec.fps == max(30.0, task.fps or 0)
    for video in make_videos("bars", spec, 2):
        assert task.why_unusable(video) is None
        indices = task.sample(video, np.random.default_rng(0), False).indices
        assert indices.min() > 0  # the first frame is a key frame
        assert indices.max() < spec.frames


def test_a_task_that_no_video_suits_is_named(world_index):
    class Never(OneWindow):
        def why_unusable(self, video):
            return "never"

    with pytest.raises(DataError, match="Never: never"):
        control_spec(Never(), world_index.videos())


@pytest.mark.parametrize("name", ["recode", "frame_rate", "reversed"])
def test_reencodings_show_what_the_videos_show(name, world_index):
    task, videos = OneWindow(), world_index.videos()[:3]
    for video, copy in zip(videos, make_reencodings(name, task, videos), strict=True):
        assert task.why_unusable(copy) is None
        first, last = excerpt(task, video)
        sampled = task.sample(video, np.random.default_rng(0), False).indices
        assert first <= sampled.min()
        assert sampled.max() < last
        assert len(clock(copy)) == copy.info.frames == probe(copy.source.path).frames
        at = np.arange(copy.info.frames)
        written = read_square(copy, at[None], 40)[0].astype(float)
        seconds = copy.info.times if name != "reversed" else copy.info.times[-1] - copy.info.times
        there = Video(video.path, video.info).index_at(
            np.minimum(video.info.times[first] + seconds, video.info.times[-1])
        )
        shown = read_square(video, there[None], 40)[0].astype(float)
        assert 0 < np.abs(written - shown).mean() < 9  # what hard compression loses
        assert np.abs(written - shown).mean() < np.abs(written - np.roll(shown, 6, 0)).mean()


def test_another_rate_is_slower_where_the_video_is_long_enough_and_quicker_else(world_index):
    video = world_index.videos()[0]
    (slow,) = make_reencodings("frame_rate", OneWindow(16), [video])
    (quick,) = make_reencodings("frame_rate", OneWindow(40), [video])
    assert slow.info.fps == pytest.approx(24)
    assert quick.info.fps == pytest.approx(37.5)
    assert quick.info.frames >= 40


def test_cuts_and_motion_move_with_the_frames(world_index):
    video = world_index.videos()[0]
    motion = np.arange(40, dtype=np.float32)
    cut = replace(video, shots=Shots(motion, (5, 30), (0, 0, 0, 0), 0.0))
    task = OneWindow(20)
    for name in ("recode", "frame_rate", "reversed"):
        (copy,) = make_reencodings(name, task, [cut])
        first, _ = excerpt(task, cut)
        assert first == 0
        assert len(copy.shots.cuts) == 2
        inside = window_starts(copy, clock(copy), task.window_length)
        assert len(inside) >= 1
        if name == "reversed":
            assert copy.shots.cuts == (10, 35)
            assert copy.shots.motion[1:].tolist() == motion[:0:-1].tolist()
        elif name == "recode":
            assert copy.shots.cuts == (5, 30)
            assert copy.shots.motion.tolist() == motion.tolist()


def test_trends_of_plain_courses():
    y, x = np.meshgrid(*[np.arange(32) - 15.5] * 2, indexing="ij")

    def waves(scale):
        return 128 + 50 * np.sin(x / 3 / scale) * np.cos(y / 4 / scale)

    growing = np.stack([waves(1.02**t) for t in range(6)])
    assert expansion(growing) == pytest.approx(0.02, rel=0.1)
    assert expansion(growing[::-1]) == pytest.approx(-0.02, rel=0.1)
    shifted = np.stack([128 + 50 * np.sin((x - 0.3 * t) / 3) * np.cos(y / 4) for t in range(6)])
    assert abs(expansion(shifted)) < 0.002
    assert brightening(np.arange(5.0)[:, None, None] * np.ones((1, 8, 8))) == pytest.approx(1)
    closing = np.full((5, 20, 20), 200.0)
    for number, frame in enumerate(closing):
        frame[:number] = 0
    assert border_growth(closing) > 0 > border_growth(closing[::-1])
    assert border_growth(grey(np.full((4, 8, 8, 3), 200, np.uint8))) == 0
