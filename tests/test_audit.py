"""The audit, proven on cheaters: a task that answers from one cue is caught by that cue's control, one that guesses by none.

The cheaters have no network: what they return is computed from the cue alone.
"""

from __future__ import annotations

import json
from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssvid.audit.audit import asked, choose
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


class Eye(nn.Module):
    """Stands where a backbone does."""

    info = model_info("r3d_18_tiny")


class Cheater(PretextTask):
    """Asks what its subclass asks, of clips of eight frames."""

    chance = 0.5

    def __init__(self, stride: int = 2, window_length: int | None = None) -> None:
        super().__init__(Eye(), Augment(size=SIZE), Window(window_length or (T - 1) * stride + 1))
        self.stride = stride
        self.eval()

    def sample(self, video, rng, training=True):
        return Clips(self.window(video, rng, training)[None, :: self.stride], np.array([0, 1]))

    def grey(self, clips: Tensor) -> np.ndarray:
        """(N,C,T,H,W) -> (N,T,H,W) on 0..255."""
        return 255 * clips.mean(1).double().numpy()


class ArrowFrom(Cheater):
    """Forward is where a cue, a function of grey frames (T,H,W), is above 0."""

    def __init__(self, cue) -> None:
        super().__init__()
        self.cue = cue

    def forward(self, clips, target):
        both = torch.cat([clips, clips.flip(3)], 1)
        backward = [[-self.cue(clip) for clip in self.grey(pair)] for pair in both]
        return {"loss": torch.zeros(()), "accuracy": binary_accuracy(torch.tensor(backward), target)}


class SpeedFrom(Cheater):
    """Which of two clips, at a stride of 1 and of 2, is sped up, from each clip's cue alone: above 0 it is."""

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
    """Are the frames in order, or is the middle one out of place? They are if their brightness is."""

    def sample(self, video, rng, training=True):
        a, b, c, d = self.window(video, rng, training)[:: self.window_length // 4][:4]
        right = int(rng.integers(2))
        return Clips(np.array([[a, b, c] if right else [a, d, c]]), np.array(right))

    def forward(self, clips, target):
        a, b, c = np.moveaxis(self.grey(clips[:, 0]).mean((2, 3)), 1, 0)
        says = torch.tensor((a - b) * (b - c) > 0)
        return {"loss": torch.zeros(()), "accuracy": (says == (target > 0)).float()}


class PlaceFrom(Cheater):
    """There and back between the nodes of two frames, by `feature` of a node's place: the share that comes home."""

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
    """Which colour has each cell of the last frame? That of the first frame in its place, or at a place found by lightness."""

    def __init__(self, looks: bool) -> None:
        super().__init__()
        self.looks = looks

    def forward(self, clips, target):
        pixels = clips[:, 0][..., 2::4, 2::4].flatten(3)  # (B,C,T,cells)
        first, last = pixels[:, :, 0], pixels[:, :, -1]
        ask, truth = (((x[:, 0] > x[:, 1]) * 2 + (x[:, 1] > x[:, 2])).long() for x in (first, last))  # four colours
        place = (first.mean(1)[:, None] - last.mean(1)[..., None]).abs().argmin(2)
        right = ((ask.gather(1, place) if self.looks else ask) == truth).float().mean(1)
        chance = torch.stack([(ask == colour).float().mean(1) for colour in range(4)], 1).max(1).values
        return {"loss": torch.zeros(()), "accuracy": right, "chance": chance}


class Clamped(SpeedFrom):
    """Shows the last frame over and over where a fast clip is longer than its video."""

    def __init__(self) -> None:
        super().__init__(lambda clip: 0.0)
        self.train_window = self.test_window = Window(T)

    def sample(self, video, rng, training=True):
        start = int(rng.integers(video.info.frames - T + 1))
        picks = start + np.stack([np.arange(T), 4 * np.arange(T)])
        return Clips(np.minimum(picks, video.info.frames - 1), np.array([0, 1]))


class Coin(Cheater):
    """Throws a coin for every clip, seeded by what it shows."""

    def forward(self, clips, target):
        both = torch.cat([clips, clips.flip(3)], 1)
        seeds = [[crc32(clip.numpy().tobytes()) for clip in pair] for pair in both]
        thrown = [[np.random.default_rng(seed).normal() for seed in pair] for pair in seeds]
        return {"loss": torch.zeros(()), "accuracy": binary_accuracy(torch.tensor(thrown), target)}


def examined(task: PretextTask, held_out, check: str, count: int = 48):
    return Auditor(task, held_out, count, 0, ALPHA, lambda what, done, total: None).check(check)


@pytest.fixture(scope="module")
def held_out(world_index):
    return world_index.videos()


def leaning(name: str, held_out) -> list:
    """Videos in which a cue runs to its first side."""
    setting = ControlSpec(30, 30.0, 40, held_out)
    return [video for video in make_videos(name, setting, 80) if video.label == CONTROLS[name].sides[0]]


@pytest.mark.parametrize(
    ("name", "cue", "count"),
    [("fade", brightening, 48), ("bars", border_growth, 48), ("pan", expansion, 96)],
)
def test_who_reads_a_one_way_cue_is_caught_where_the_videos_offer_it(name, cue, count, held_out):
    task = ArrowFrom(cue)
    found = examined(task, leaning(name, held_out), name, count)
    assert found.verdict == SHORTCUT
    first, second = CONTROLS[name].sides
    assert found.sides[first].above
    assert found.sides[second].high < 0.5
    assert not found.score.above  # the mean alone would not tell
    # the same task on videos without the cue is swayed by it, which explains none of its score
    swayed = examined(task, held_out, name, count)
    assert swayed.verdict == BIASED
    assert "no way to answer" in swayed.reason
    # and who reads it the other way round gains nothing from videos that lean to this side
    assert examined(ArrowFrom(lambda clip: -cue(clip)), leaning(name, held_out), name, count).verdict == BIASED


def test_who_orders_frames_by_brightness_is_caught_by_fade_alone(held_out):
    found = {name: examined(OrderFrom(), held_out, name).verdict for name in ("fade", "noise", "codec", "bars")}
    assert found == {"fade": SHORTCUT, "noise": CHANCE, "codec": CHANCE, "bars": found["bars"]}


def detail(clip: np.ndarray) -> np.ndarray:
    """How sharp each frame is, (T,H,W) -> (T,): what a coder keeps of noise changes along a group of pictures."""
    return np.abs(np.diff(clip, axis=2)).mean((1, 2)) / 255


def test_who_reads_the_sharpness_a_coder_leaves_is_caught_by_codec(held_out):
    task = ArrowFrom(lambda clip: np.polyfit(range(T), detail(clip), 1)[0])
    assert examined(task, held_out, "codec").verdict == SHORTCUT
    assert examined(task, held_out, "noise").verdict == CHANCE


def jumps(clip: np.ndarray) -> np.ndarray:
    """Difference of each frame to the one before, (T,H,W) -> (T-1,): between key frames a coder lets noise stand still."""
    return np.abs(np.diff(clip, axis=0)).mean((1, 2))


def noisy_stills(folder, held_out, **encoding) -> list:
    """Videos in which nothing happens, but for fresh noise in every frame."""
    made = []
    for number, video in enumerate(held_out[:24]):
        still = read_square(video, np.zeros((1, 1), int), 40)[0]
        frames = still + np.random.default_rng(number).normal(0, 4, (40, 40, 40, 1))
        path = folder / f"{number}.mp4"
        write_frames(path, frames.round().clip(0, 255).astype(np.uint8), 30.0, **encoding)
        made.append(replace(video, info=replace(video.info, path=str(path), width=40, height=40)))
    return made


def test_who_looks_for_the_key_frame_is_caught_by_reversed(tmp_path, held_out):
    late = ArrowFrom(lambda clip: jumps(clip).argmax() - (T - 2) / 2)
    assert examined(late, noisy_stills(tmp_path, held_out, crf=2), "reversed").verdict == SHORTCUT


def test_what_is_seen_backwards_is_answered_by_content(held_out):
    rising = leaning("fade", held_out)[:20]
    honest = examined(ArrowFrom(brightening), rising, "reversed")
    assert honest.verdict == CHANCE
    assert honest.score.high < 0.5  # right about what is seen, so wrong about the file


def test_who_counts_key_frames_does_not_survive_writing_again(tmp_path, held_out):
    task = SpeedFrom(lambda clip: (jumps(clip) > jumps(clip).max() / 2).sum() - 2.5)
    coded = noisy_stills(tmp_path, held_out, crf=28, gop=4, bframes=0)
    for name in ("recode", "frame_rate"):
        found = examined(task, coded, name)
        assert found.before.above
        assert found.verdict == SHORTCUT
        found = examined(ArrowFrom(brightening), leaning("fade", held_out)[:24], name)
        assert found.verdict == ROBUST
        assert found.score.above


@pytest.mark.parametrize("name", ["blank", "noise"])
def test_who_finds_home_by_place_is_caught(name, held_out):
    by_place = PlaceFrom(lambda nodes: torch.eye(16, dtype=nodes.dtype).expand(*nodes.shape[:2], 16, 16))
    assert examined(by_place, held_out, name).verdict == SHORTCUT


def test_who_finds_home_by_looks_is_not(held_out):
    by_looks = PlaceFrom(lambda nodes: nodes.flatten(3).round())
    assert examined(by_looks, held_out, "blank").verdict == CHANCE
    # there and back between frames of noise is no guess: the nearest of the nearest is oneself more often than not
    assert examined(by_looks, held_out, "noise").verdict == SHORTCUT
    by_looks.exempt_controls = {"noise": "mutual matches"}
    assert asked(by_looks)[1] == {"noise": "mutual matches"}


def test_who_copies_colours_from_the_same_place_is_caught(held_out):
    assert examined(ColourFrom(looks=False), held_out, "blocks").verdict == SHORTCUT
    assert examined(ColourFrom(looks=True), held_out, "blocks").verdict == CHANCE
    assert examined(ColourFrom(looks=False), held_out, "blank").verdict == CHANCE  # one colour is no riddle


def test_clips_that_are_padded_more_often_in_one_class_are_caught(held_out):
    found = examined(Clamped(), held_out, "padding")
    assert found.verdict == SHORTCUT
    assert "0%, " in found.reason
    assert examined(SpeedFrom(brightening), held_out, "padding").verdict == CHANCE


@pytest.mark.parametrize("task", [Coin(), ArrowFrom(lambda clip: 0.3)], ids=["coin", "blind"])
def test_who_guesses_beats_nothing(task, held_out):
    task.controls = ("reversed", "blocks")
    for name in asked(task)[0]:
        assert examined(task, held_out, name, 24).verdict in (CHANCE, ROBUST), name


def test_videos_are_asked_one_by_one(held_out):
    """Wrong answers taken from other videos are told from the right one by what those videos look like."""

    class ByCompany(Cheater):
        def forward(self, clips, target):
            right = 1.0 if len(clips) > 1 else 0.5
            return {"loss": torch.zeros(()), "accuracy": torch.full((len(clips),), right)}

    assert examined(ByCompany(), held_out, "blank").verdict == CHANCE


@pytest.mark.parametrize("threshold", [0.5, 2.0, 8.0])
def test_reading_how_fast_a_cue_runs_is_allowed_for(threshold, held_out):
    def fast(clip):
        return float(np.abs(np.diff(clip, axis=0)).mean() - threshold)

    task = SpeedFrom(fast)
    auditor = Auditor(task, held_out, 96, 0, ALPHA, lambda what, done, total: None)
    found = auditor.check("pan")
    assert found.score.chance == pytest.approx(0.5 + 0.5 * np.log2(14 / 7) / CONTROLS["pan"].octaves, abs=0.005)
    assert found.verdict == CHANCE


def test_a_task_gets_the_general_checks_and_those_it_declares():
    names, exempt_controls = asked(Coin())
    assert names == ["pan", "fade", "bars", "noise", "codec", "blank", "recode", "frame_rate", "padding"]
    task = Coin()
    task.controls, task.exempt_controls = ("blocks",), {"pan": "a pan has an honest answer"}
    names, exempt_controls = asked(task)
    assert "blocks" in names
    assert "pan" not in names
    assert exempt_controls == {"pan": "a pan has an honest answer"}
    task.controls = ("magic",)
    with pytest.raises(ConfigError, match="'magic'; there are: pan"):
        asked(task)


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


def test_command_writes_a_report_and_says_which_control_was_beaten(tmp_path, world_index, monkeypatch, capsys):
    (tmp_path / "cheat.py").write_text(CHEAT)
    for right, code in ((1.0, 1), (0.5, 0)):
        out = tmp_path / f"run{right}"
        words = ["--data", str(world_index.path), "--backbone", "tests/toy.py:toy", "-o", str(out)]
        settings = ["steps=1", "batch=2", "workers=0", f"right={right}"]
        assert called(monkeypatch, capsys, "pretrain", str(tmp_path / "cheat.py"), *settings, *words)[0] == 0
        words = ["--videos", "24", "--other", str(world_index.path), "--json"]
        found, printed, told = called(monkeypatch, capsys, "audit", str(out), *words)
        assert found == code
        report = json.loads(printed)
        assert report == json.loads((out / "audit" / "audit.json").read_text())
        checks = {check["name"]: check for check in report["checks"]}
        assert checks["pan"]["verdict"] == SKIPPED
        assert checks["pan"]["reason"] == "it may know pans"
        assert checks["blank"]["score"]["accuracy"] == right
        assert report["other"] == report["held_out"]
        text = (out / "audit" / "audit.md").read_text()
        assert all(f"| {name} |" in text for name in checks)
        assert (out / "audit" / "audit.png").stat().st_size > 10_000
        assert (out / "audit" / "videos.png").stat().st_size > 10_000
        if code:
            assert "beaten: fade, bars, noise, codec, blank" in told
            assert "blank" in report["shortcut"]
        else:
            assert report["shortcut"] == []


def test_too_few_videos_are_refused_with_the_reason(held_out):
    task = Coin()
    task.train_window = task.test_window = Window(41)
    with pytest.raises(DataError, match=r"here: 0 videos that Coin can use, and an audit needs 8: 52 shorter than 41"):
        choose(task, held_out, 64, "here")
    task.train_window = task.test_window = Window(15)
    assert len(choose(task, held_out, 20, "here")) == 20
    assert choose(task, held_out, 20, "here") == choose(task, held_out, 20, "here")


def test_a_run_without_a_checkpoint_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "config.yaml").write_text("task: speednet\n")
    code, _, told = called(monkeypatch, capsys, "audit", str(tmp_path))
    assert code == 3
    assert "has no checkpoint" in told
