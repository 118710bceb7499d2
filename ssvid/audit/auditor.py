"""How a task is examined: one check after the other, each with an interval and a verdict.

Control videos hold no honest answer (controls.py), so a task above chance there reads the one cue that is left. Variants are held-out
videos written again (reencodings.py), so a task that falls there read the file and not the video. And the padding of training clips
must not
tell their class (padding.py).

A cue with a direction needs more care. A task that reads brightness is right on all fades of one direction and wrong on all of the
other, so each side is judged. But a task that never met a fade answers it somehow too, and nothing makes that answer the same for a clip
and its reverse: it is swayed without having learnt anything (untrained networks were, at 88 % on one side and 27 % on the other). A
shortcut takes two, a network that reads the cue and data that offer it; so a side above chance is a beaten control only where the cue
runs to that side in the held-out videos as well. Else it is reported as swayed: harmless on these videos, not on others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ssvid.audit.confidence_interval import confidence_interval
from ssvid.audit.controls import CONTROLS, Control, control_spec, make_videos
from ssvid.audit.padding_check import guess_from_padding, padding_histogram
from ssvid.audit.reencodings import REENCODINGS, make_reencodings
from ssvid.data.index import VideoRecord
from ssvid.data.loader import read_square
from ssvid.errors import DataError
from ssvid.progress import Progress
from ssvid.training.task import CaptionedFrames, PretextTask
from ssvid.training.validate import per_video
from ssvid.video.shots import grey

FEWEST = 8  # videos below which no accuracy is judged
LEAN_SIDE = 64  # px at which the direction of a cue is measured
PADDING = "padding"

SHORTCUT, BIASED, CHANCE, ROBUST, SKIPPED = "shortcut", "biased", "at chance", "robust", "not asked"


@dataclass(frozen=True)
class Score:
    """Mean accuracy over n videos (twos, for a task of pairs), the ends of its interval, and what guessing scores; all 0..1."""

    n: int
    accuracy: float
    low: float
    high: float
    chance: float

    @property
    def above(self) -> bool:
        """Whether it is certainly above chance."""
        return self.low > self.chance


@dataclass(frozen=True)
class Check:
    """One verdict: "shortcut", "biased", "at chance", "robust" or "not asked".

    about: what the videos show. reason: why this verdict, where it is not plain. score: accuracy on them. sides: the same by direction.
    before: accuracy on the same videos as they were, for reencodings.
    """

    name: str
    about: str
    verdict: str
    reason: str = ""
    score: Score | None = None
    sides: dict[str, Score] = field(default_factory=dict)
    before: Score | None = None

    @property
    def shortcuts(self) -> bool:
        """Whether the task took this shortcut."""
        return self.verdict == SHORTCUT


def about(name: str) -> str:
    """What the videos of a check show."""
    return "clips of training samples, and no video" if name == PADDING else (CONTROLS | REENCODINGS)[name].about


class Auditor:
    """Asks one task one check after the other."""

    def __init__(
        self,
        task: PretextTask,
        held_out: Sequence[VideoRecord],
        count: int,
        workers: int,
        alpha: float,
        progress: Progress,
    ) -> None:
        self.task, self.held_out, self.count, self.workers = task, held_out, count, workers
        self.alpha, self.progress = alpha, progress
        self.setting = control_spec(task, held_out)
        self.samples: list[CaptionedFrames] = []
        self.before = self.score(held_out)

    def check(self, name: str) -> Check:
        """One check by its name."""
        if name == PADDING:
            return self.padding()
        return self.control(name) if name in CONTROLS else self.variant(name)

    def control(self, name: str) -> Check:
        """Accuracy where no honest answer is left."""
        control, told = CONTROLS[name], self._counter(f"making videos: {name}", self.count)
        made = make_videos(name, self.setting, self.count, told)
        self._sample(name, made)
        values, null, labels = self.ask(made)
        null = null + self.allowance(control, made)
        score = self._score(values, null)
        sides = {
            side: self._score(values[labels == side], null[labels == side])
            for side in control.sides
            if (labels == side).any()
        }
        if score.above:
            return Check(name, control.about, SHORTCUT, "", score, sides)
        for side in (side for side, found in sides.items() if found.above):
            return self._one_sided(name, side, score, sides)
        vacuous = "guessing is always right here" if score.chance >= 1 else ""
        return Check(name, control.about, CHANCE, vacuous, score, sides)

    def _one_sided(self, name: str, side: str, score: Score, sides: dict[str, Score]) -> Check:
        """The verdict where one direction of a cue is above chance: whether the held-out videos offer it too."""
        lean = self.lean(CONTROLS[name], side)
        verdict = SHORTCUT if lean.above else BIASED
        reason = (
            f"right on {sides[side].accuracy:.0%} where {side}; of the held-out videos {lean.accuracy:.0%} are {side} "
            f"({lean.low:.0%} to {lean.high:.0%}), "
            + ("so the cue is there to be taken" if lean.above else "so this is no way to answer them")
        )
        return Check(name, CONTROLS[name].about, verdict, reason, score, sides)

    def variant(self, name: str) -> Check:
        """Accuracy on held-out videos written again. Backwards, what the file says and what is seen part ways."""
        variant = REENCODINGS[name]
        told = self._counter(f"writing again: {name}", len(self.held_out))
        made = make_reencodings(name, self.task, self.held_out, told)
        pairs = [(video, copy) for video, copy in zip(self.held_out, made, strict=True) if copy is not None]
        if len(pairs) < FEWEST:
            return Check(name, variant.about, SKIPPED, "the held-out videos are too short for it")
        copies = [copy for _, copy in pairs]
        self._sample(name, copies)
        values, null, _ = self.ask(copies)
        score = self._score(values, null)
        if variant.backwards:
            return Check(name, variant.about, SHORTCUT if score.above else CHANCE, "", score)
        before, _, _ = self.ask([video for video, _ in pairs])
        was = self._score(before, null)
        if not was.above:
            return Check(name, variant.about, ROBUST, "the held-out accuracy leaves nothing to lose", score, before=was)
        halfway = (before + null) / 2  # to chance, video by video
        lost = confidence_interval(values, halfway, self.alpha)[1] < halfway.mean()
        return Check(name, variant.about, SHORTCUT if lost else ROBUST, "", score, before=was)

    def padding(self) -> Check:
        """What the padding of training clips tells of their class."""
        counts = padding_histogram(self.task, self.held_out)
        if len(counts) < FEWEST:
            return Check(PADDING, about(PADDING), SKIPPED, "too few of the held-out videos suit training")
        if not counts[..., 1].any():
            return Check(PADDING, about(PADDING), CHANCE, "no clip is padded")
        right, chance = guess_from_padding(counts)
        score = self._score(right, np.full(len(right), chance))
        shares = ", ".join(f"{share:.0%}" for share in counts[..., 1].sum(0) / counts.sum((0, 2)))
        reason = f"padded clips by class: {shares}"
        return Check(PADDING, about(PADDING), SHORTCUT if score.above else CHANCE, reason, score)

    def ask(self, videos: Sequence[VideoRecord]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Accuracy (N,), accuracy of guessing (N,) and label (N,) of each video; for a task of pairs of each two, as they share clips.

        Asked one by one: a task that takes its wrong answers from the rest of the batch would else tell the videos apart.
        """
        order, metrics = per_video(self.task, videos, self.workers, batch=2 if self.task.pairs else 1)
        if "accuracy" not in metrics or not len(order):
            raise DataError(f"{type(self.task).__name__} gives no accuracy on these videos")
        values = metrics["accuracy"]
        null = metrics.get("chance", np.full(len(values), self.task.chance))
        labels = np.array([video.label or "" for video in order])
        if self.task.pairs:
            return values.reshape(-1, 2).mean(1), null.reshape(-1, 2).mean(1), labels[::2]
        return values, null, labels

    def score(self, videos: Sequence[VideoRecord]) -> Score:
        """Accuracy on some videos as they are."""
        values, null, _ = self.ask(videos)
        return self._score(values, null)

    def allowance(self, control: Control, made: Sequence[VideoRecord]) -> float:
        """What knowing how fast a cue runs gains at most, in a task whose clips play at rates up to D octaves apart: chance * D / octaves.

        Speeds log-uniform over R octaves are, at each rate, as likely as at any other but for D octaves at the ends, so the best guesser is
        right in (R + D) / R of the cases it would be anyway. Only clips in order play at a rate at all.
        """
        if not control.octaves:
            return 0.0
        reach = []
        for number, video in enumerate(made[:16]):
            indices = self.task.sample(video, np.random.default_rng([0, number]), training=False).indices
            reach += [int(np.ptp(row)) for row in indices if (np.diff(row) > 0).all() and len(row) > 1]
        apart = float(np.log2(max(reach) / min(reach))) if reach else 0.0
        return self.task.chance * apart / control.octaves

    def lean(self, control: Control, side: str) -> Score:
        """Share of the held-out videos in which a cue runs to one side, beside one half."""
        assert control.trend is not None  # every control with sides has one
        sign = 1 if side == control.sides[0] else -1
        shares = []
        for number, video in enumerate(self.held_out):
            indices = self.task.sample(video, np.random.default_rng([0, number]), training=False).indices
            frames = read_square(video, np.unique(indices)[None], LEAN_SIDE)[0]
            shares.append((1 + np.sign(sign * control.trend(grey(frames)))) / 2)
        return self._score(np.array(shares), np.full(len(shares), 0.5))

    def _score(self, values: np.ndarray, null: np.ndarray) -> Score:
        low, high = confidence_interval(values, null, self.alpha)
        return Score(len(values), float(values.mean()), low, high, float(null.mean()))

    def _counter(self, what: str, total: int) -> Callable[[], None]:
        """A callable that tells the progress each time it is called."""
        done = 0

        def one() -> None:
            nonlocal done
            done += 1
            self.progress(what, done, total)

        return one

    def _sample(self, name: str, videos: Sequence[VideoRecord]) -> None:
        """Keep two videos of a check to look at, one of each side."""
        for number, video in enumerate(videos[:2]):
            indices = self.task.sample(video, np.random.default_rng([0, number]), training=False).indices
            frames = read_square(video, np.unique(indices)[None], self.task.augment.decode_size)[0]
            side = f", {video.label}" if name in CONTROLS and video.label else ""
            self.samples.append((name + side, torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 255))
