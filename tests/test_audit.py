"""The audit on tasks with a known shortcut: a task that reads one cue fails that cue's control, a task that guesses passes all.

These tasks have no network: they compute their answers from the cue alone.
"""

from __future__ import annotations

import json
from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssvid.audit.audit import audit, select_checks, select_videos
from ssvid.audit.auditor import BIASED, CHANCE, ROBUST, SHORTCUT, SKIPPED, Auditor
from ssvid.audit.controls import CONTROLS, ControlSpec, make_videos, write_frames
from ssvid.audit.trends import border_growth, brightening, expansion
from ssvid.data.loader import read_square
from ssvid.errors import ConfigError, DataError
from ssvid.training.task import Augment, Clips, PretextTask, Window, binary_accuracy
from ssvid.zoo import model_info
from tests.test_cli import called

T, SIZE = 8, 32
ALPHA = 0.01 / 18  # as strict as in an audit of all checks


class FakeBackbone(nn.Module):
    """Takes the place of a backbone; the tasks below never call it."""

    info = model_info("r3d_18_tiny")


class Cheater(PretextTask):
    """Samples one clip of eight frames; subclasses answer the question."""

    chance = 0.5

    def __init__(self, stride: int = 2, window_length: int | None = None) -> None:
        super().__init__(FakeBackbone(), Augment(size=SIZE), Window(window_length or (T - 1) * stride + 1))
        self.stride = stride
        self.eval()

    def sample(self, video, rng, training=True):
        return Clips(self.window(video, rng, training)[None, :: self.stride], np.array([0, 1]))

    def grey(self, clips: Tensor) -> np.ndarray:
        """(N,C,T,H,W) -> (N,T,H,W) on 0..255."""
        return 255 * clips.mean(1).double().numpy()


class ArrowFrom(Cheater):
    """Answers "forward" where a cue, a function of grey frames (T,H,W), is above 0."""

    def __init__(self, cue) -> None:
        super().__init__()
        self.cue = cue

    def forward(self, clips, target):
        both = torch.cat([clips, clips.flip(3)], 1)
        backward = [[-self.cue(clip) for clip in self.grey(pair)] for pair in both]
        return {"loss": torch.zeros(()), "accuracy": binary_accuracy(torch.tensor(backward), target)}


class SpeedFrom(Cheater):
    """Clips at strides 1 and 2; answers "sped up" where a cue of the clip is above 0."""

    def __init__(self, cue) -> None:
        super().__init__(stride=1, window_length=2 * T - 1)
        self.cue = cue

    def sample(self, video, rng, training=True):
        window = self.window(video, rng, training)
        return Clips(np.stack([window[:T], window[::2]]), np.array([0, 1]))

    def forward(self, clips, target):
        fast = [[self.cue(clip) for clip in self.grey(pair)] for pair in clips]
        return {"loss": torch.zeros(()), "accuracy": binary_accuracy(torch.tensor(fast), target)}


class OrderFrom(Cheater):
    """Three frames, in order or with the middle one replaced; answers "in order" where their brightness is monotonic."""

    def sample(self, video, rng, training=True):
        a, b, c, d = self.window(video, rng, training)[:: self.window_length // 4][:4]
        right = int(rng.integers(2))
        return Clips(np.array([[a, b, c] if right else [a, d, c]]), np.array(right))

    def forward(self, clips, target):
        a, b, c = np.moveaxis(self.grey(clips[:, 0]).mean((2, 3)), 1, 0)
        says = torch.tensor((a - b) * (b - c) > 0)
        return {"loss": torch.zeros(()), "accuracy": (says == (target > 0)).float()}


class PlaceFrom(Cheater):
    """Walks between the nodes of two frames and back by nearest features; accuracy is the share of nodes that return to themselves."""

    chance = 1 / 16

    def __init__(self, feature) -> None:
        super().__init__()
        self.feature = feature

    def forward(self, clips, target):
        grey = torch.from_numpy(self.grey(clips[:, 0]))
        nodes = self.feature(grey.unfold(2, 8, 8).unfold(3, 8, 8).flatten(2, 3))  # (B,T,16,D)
        there = torch.cdist(nodes[:, 0], nodes[:, -1]).argmin(2)
        back = torch.cdist(nodes[:, -1], nodes[:, 0]).argmin(2)
        home = back.gather(1, there) == torch.arange(16)
        return {"loss": torch.zeros(()), "accuracy": home.float().mean(1)}


class ColourFrom(Cheater):
    """Colours each cell of the last frame with the first frame's colour at the same place, or at the place of most similar lightness."""

    def __init__(self, by_lightness: bool) -> None:
        super().__init__()
        self.by_lightness = by_lightness

    def forward(self, clips, target):
        pixels = clips[:, 0][..., 2::4, 2::4].flatten(3)  # (B,C,T,cells)
        first, last = pixels[:, :, 0], pixels[:, :, -1]
        ask, truth = (((x[:, 0] > x[:, 1]) * 2 + (x[:, 1] > x[:, 2])).long() for x in (first, last))  # four colours
        place = (first.mean(1)[:, None] - last.mean(1)[..., None]).abs().argmin(2)
        right = ((ask.gather(1, place) if self.by_lightness else ask) == truth).float().mean(1)
        chance = torch.stack([(ask == colour).float().mean(1) for colour in range(4)], 1).max(1).values
        return {"loss": torch.zeros(()), "accuracy": right, "chance": chance}


class Clamped(SpeedFrom):
    """Repeats the last frame where a fast clip is longer than its video, and so pads fast clips only."""

    def __init__(self) -> None:
        super().__init__(lambda clip: 0.0)
        self.train_window = self.test_window = Window(T)

    def sample(self, video, rng, training=True):
        start = int(rng.integers(video.info.frames - T + 1))
        picks = start + np.stack([np.arange(T), 4 * np.arange(T)])
        return Clips(np.minimum(picks, video.info.frames - 1), np.array([0, 1]))


class Coin(Cheater):
    """Answers at random, with a seed computed from the clip."""

    def forward(self, clips, target):
        both = torch.cat([clips, clips.flip(3)], 1)
        seeds = [[crc32(clip.numpy().tobytes()) for clip in pair] for pair in both]
        thrown = [[np.random.default_rng(seed).normal() for seed in pair] for pair in seeds]
        return {"loss": torch.zeros(()), "accuracy": binary_accuracy(torch.tensor(thrown), target)}


def examined(task: PretextTask, held_out, check: str, count: int = 48):
    return Auditor(task, held_out, count, alpha=ALPHA).check(check)


@pytest.fixture(scope="module")
def held_out(world_index):
    return world_index.videos()


def leaning(name: str, held_out) -> list:
    """Videos in which a cue runs in its first direction."""
    spec = ControlSpec(30, 30.0, 40, held_out)
    return [video for video in make_videos(name, spec, 80) if video.label == CONTROLS[name].sides[0]]


@pytest.mark.parametrize(
    ("name", "cue", "count"),
    [("fade", brightening, 48), ("bars", border_growth, 48), ("pan", expansion, 96)],
)
def test_reading_a_directed_cue_is_a_shortcut_where_the_videos_contain_it(name, cue, count, held_out):
    task = ArrowFrom(cue)
    found = examined(task, leaning(name, held_out), name, count)
    assert found.verdict == SHORTCUT
    first, second = CONTROLS[name].sides
    assert found.sides[first].above_chance
    assert found.sides[second].high < 0.5
    assert not found.score.above_chance  # the mean over both directions hides it
    # on videos without the cue the same task is biased: the cue explains none of its accuracy
    biased = examined(task, held_out, name, count)
    assert biased.verdict == BIASED
    assert "the cue does not help on them" in biased.reason
    # reading the cue the other way round does not help on videos that run in its first direction
    assert examined(ArrowFrom(lambda clip: -cue(clip)), leaning(name, held_out), name, count).verdict == BIASED


def test_ordering_frames_by_brightness_fails_fade_alone(held_out):
    found = {name: examined(OrderFrom(), held_out, name).verdict for name in ("fade", "noise", "codec", "bars")}
    assert found == {"fade": SHORTCUT, "noise": CHANCE, "codec": CHANCE, "bars": found["bars"]}


def detail(clip: np.ndarray) -> np.ndarray:
    """Sharpness of each frame, (T,H,W) -> (T,): how much noise an encoder keeps changes along a group of pictures."""
    return np.abs(np.diff(clip, axis=2)).mean((1, 2)) / 255


def test_reading_sharpness_left_by_the_encoder_fails_codec(held_out):
    task = ArrowFrom(lambda clip: np.polyfit(range(T), detail(clip), 1)[0])
    assert examined(task, held_out, "codec").verdict == SHORTCUT
    assert examined(task, held_out, "noise").verdict == CHANCE


def jumps(clip: np.ndarray) -> np.ndarray:
    """Difference of each frame to the one before, (T,H,W) -> (T-1,): between key frames an encoder repeats noise."""
    return np.abs(np.diff(clip, axis=0)).mean((1, 2))


def noisy_stills(folder, held_out, **encoding) -> list:
    """Videos of a still picture with new noise in every frame."""
    made = []
    for number, video in enumerate(held_out[:24]):
        still = read_square(video, np.zeros((1, 1), int), 40)[0]
        frames = still + np.random.default_rng(number).normal(0, 4, (40, 40, 40, 1))
        path = folder / f"{number}.mp4"
        write_frames(path, frames.round().clip(0, 255).astype(np.uint8), 30.0, **encoding)
        made.append(replace(video, info=replace(video.info, path=str(path), width=40, height=40, identity="")))
    return made


def test_finding_the_key_frame_fails_reversed(tmp_path, held_out):
    late = ArrowFrom(lambda clip: jumps(clip).argmax() - (T - 2) / 2)
    assert examined(late, noisy_stills(tmp_path, held_out, crf=2), "reversed").verdict == SHORTCUT


def test_reading_content_passes_reversed(held_out):
    rising = leaning("fade", held_out)[:20]
    found = examined(ArrowFrom(brightening), rising, "reversed")
    assert found.verdict == CHANCE
    assert found.score.high < 0.5  # right about the content, so wrong about the file


def test_counting_key_frames_fails_reencodings(tmp_path, held_out):
    task = SpeedFrom(lambda clip: (jumps(clip) > jumps(clip).max() / 2).sum() - 2.5)
    coded = noisy_stills(tmp_path, held_out, crf=28, gop=4, bframes=0)
    for name in ("recode", "frame_rate"):
        found = examined(task, coded, name)
        assert found.before.above_chance
        assert found.verdict == SHORTCUT
        found = examined(ArrowFrom(brightening), leaning("fade", held_out)[:24], name)
        assert found.verdict == ROBUST
        assert found.score.above_chance


@pytest.mark.parametrize("name", ["blank", "noise"])
def test_returning_by_position_is_a_shortcut(name, held_out):
    by_position = PlaceFrom(lambda nodes: torch.eye(16, dtype=nodes.dtype).expand(*nodes.shape[:2], 16, 16))
    assert examined(by_position, held_out, name).verdict == SHORTCUT


def test_returning_by_appearance_is_not(held_out):
    by_appearance = PlaceFrom(lambda nodes: nodes.flatten(3).round())
    assert examined(by_appearance, held_out, "blank").verdict == CHANCE
    # between frames of noise a node often is the nearest neighbour of its nearest neighbour, so the walk returns above chance
    assert examined(by_appearance, held_out, "noise").verdict == SHORTCUT
    by_appearance.exempt_controls = {"noise": "mutual matches"}
    assert select_checks(by_appearance)[1] == {"noise": "mutual matches"}


def test_copying_colours_from_the_same_place_fails_blocks(held_out):
    assert examined(ColourFrom(by_lightness=False), held_out, "blocks").verdict == SHORTCUT
    assert examined(ColourFrom(by_lightness=True), held_out, "blocks").verdict == CHANCE
    assert (
        examined(ColourFrom(by_lightness=False), held_out, "blank").verdict == CHANCE
    )  # with one colour guessing is always right


def test_padding_one_class_more_often_fails_padding(held_out):
    found = examined(Clamped(), held_out, "padding")
    assert found.verdict == SHORTCUT
    assert "0%, " in found.reason
    assert examined(SpeedFrom(brightening), held_out, "padding").verdict == CHANCE


@pytest.mark.parametrize("task", [Coin(), ArrowFrom(lambda clip: 0.3)], ids=["coin", "blind"])
def test_guessing_passes_every_check(task, held_out):
    task.controls = ("reversed", "blocks")
    for name in select_checks(task)[0]:
        assert examined(task, held_out, name, 24).verdict in (CHANCE, ROBUST), name


def test_the_task_sees_one_video_at_a_time(held_out):
    """A task that takes its wrong answers from other videos could recognise them by what those videos look like."""

    class NeedsOtherVideos(Cheater):
        def forward(self, clips, target):
            right = 1.0 if len(clips) > 1 else 0.5
            return {"loss": torch.zeros(()), "accuracy": torch.full((len(clips),), right)}

    assert examined(NeedsOtherVideos(), held_out, "blank").verdict == CHANCE


@pytest.mark.parametrize("threshold", [0.5, 2.0, 8.0])
def test_chance_includes_what_the_speed_of_a_cue_adds(threshold, held_out):
    def fast(clip):
        return float(np.abs(np.diff(clip, axis=0)).mean() - threshold)

    task = SpeedFrom(fast)
    found = examined(task, held_out, "pan", 96)
    assert found.score.chance == pytest.approx(0.5 + 0.5 * np.log2(14 / 7) / CONTROLS["pan"].octaves, abs=0.005)
    assert found.verdict == CHANCE


def test_a_task_gets_the_general_checks_and_those_it_declares():
    names, exempt = select_checks(Coin())
    assert exempt == {}
    assert names == ["pan", "fade", "bars", "overlay", "noise", "codec", "blank", "recode", "frame_rate", "padding"]
    task = Coin()
    task.controls, task.exempt_controls = ("blocks",), {"pan": "a pan has an honest answer"}
    names, exempt = select_checks(task)
    assert "blocks" in names
    assert "pan" not in names
    assert exempt == {"pan": "a pan has an honest answer"}
    task.controls = ("magic",)
    with pytest.raises(ConfigError, match="'magic'; there are: pan"):
        select_checks(task)


CHEAT = """
from ssvid.training.task import Augment, Clips, PretextTask, Window
import numpy as np, torch

class Cheat(PretextTask):
    '''Is right about everything.'''
    chance = 0.5
    exempt_controls = {"pan": "it may know pans"}

    def __init__(self, backbone, *, right: float = 1.0):
        super().__init__(backbone, Augment(size=16), Window(4))
        self.right = right

    def sample(self, video, rng, training=True):
        return Clips(self.window(video, rng, training)[None])

    def forward(self, clips, target):
        level = self.backbone(clips[:, 0]).mean()
        return {"loss": level.square(), "accuracy": torch.full((len(clips),), self.right)}
"""


def test_the_command_writes_a_report_and_names_the_shortcuts(tmp_path, world_index, monkeypatch, capsys):
    (tmp_path / "cheat.py").write_text(CHEAT)
    for right, code in ((1.0, 1), (0.5, 0)):
        out = tmp_path / f"run{right}"
        words = ["--data", str(world_index.path), "--backbone", "tests/toy.py:toy", "-o", str(out)]
        settings = ["steps=1", "batch=16", "workers=0", f"right={right}"]
        assert called(monkeypatch, capsys, "pretrain", str(tmp_path / "cheat.py"), *settings, *words)[0] == 0
        words = ["--videos", "24", "--other", str(world_index.path), "--json"]
        found, printed, log = called(monkeypatch, capsys, "audit", str(out), *words)
        assert found == code
        report = json.loads(printed)
        assert report == json.loads((out / "audit" / "audit.json").read_text())
        checks = {check["name"]: check for check in report["checks"]}
        assert checks["pan"]["verdict"] == SKIPPED
        assert checks["pan"]["reason"] == "it may know pans"
        assert checks["blank"]["score"]["accuracy"] == right
        assert report["other"] == report["held_out"]
        assert report["shortcuts"] == audit(out, videos=24, device="cpu").shortcuts
        text = (out / "audit" / "audit.md").read_text()
        assert all(f"| {name} |" in text for name in checks)
        assert (out / "audit" / "audit.png").stat().st_size > 10_000
        assert (out / "audit" / "videos.png").stat().st_size > 10_000
        assert report["diagnosis"][0].startswith("Ends at the audit" if code else "At chance on its training videos")
        if code:
            assert any(line.startswith("codec: it reads the encoder") for line in report["diagnosis"])
            assert "shortcuts: fade, bars, noise, codec, blank" in log
            assert "Shortcuts: fade, bars, noise, codec, blank" in text
            assert "blank" in report["shortcuts"]
        else:
            assert "no shortcut found; see" in log
            assert "No shortcut found." in text
            assert report["shortcuts"] == []


def test_too_few_videos_are_refused_with_the_reason(held_out):
    task = Coin()
    task.train_window = task.test_window = Window(41)
    with pytest.raises(DataError, match=r"here: 0 videos that Coin can use, and an audit needs 8: 52 shorter than 41"):
        select_videos(task, held_out, 64, "here")
    task.train_window = task.test_window = Window(15)
    assert len(select_videos(task, held_out, 20, "here")) == 20
    assert select_videos(task, held_out, 20, "here") == select_videos(task, held_out, 20, "here")


def test_a_run_without_a_checkpoint_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "config.yaml").write_text("task: speednet\n")
    code, _, log = called(monkeypatch, capsys, "audit", str(tmp_path))
    assert code == 3
    assert "has no checkpoint" in log
