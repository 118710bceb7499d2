"""How a task is audited: one check after the other, each with a confidence interval and a verdict.

There are three kinds of checks. The videos of a control (controls.py) hold no legitimate answer: a task above chance on them reads the one
cue they contain. Re-encodings (reencodings.py) are held-out videos written again: a task whose accuracy falls on them read traces of the
encoder. The padding check (padding_check.py) asks whether the padding of training clips gives their class away.

Some cues have a direction. A task that reads brightness is right on all fades of one direction and wrong on all of the other, so each
direction is judged on its own. An untrained network also answers fades somehow, and its answer need not be the same for a clip and its
reverse: networks without any training were right on 88 % of one direction and on 27 % of the other. Such a network is biased, but has
learnt no shortcut. A shortcut needs a network that reads the cue and data that contain it. Accuracy above chance in one direction is
therefore called a shortcut only where the cue runs in that direction in the held-out videos too. Elsewhere it is called biased: the bias
does no harm on these videos, but may on others.

A clock or a progress bar also moves, and a task that sees motion may answer what it honestly sees. It is a shortcut where the held-out
videos have one, all of them alike (ssvid.data.overlays); the control then shows that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ssvid.audit.confidence_interval import confidence_interval
from ssvid.audit.controls import CONTROLS, OVERLAY, Control, control_spec, make_videos
from ssvid.audit.padding_check import guess_from_padding, padding_histogram
from ssvid.audit.reencodings import REENCODINGS, make_reencodings
from ssvid.data.loader import hidden_square, read_square
from ssvid.data.overlays import Overlay, hide
from ssvid.data.video_record import VideoRecord
from ssvid.errors import DataError
from ssvid.progress import Progress, counter, silent
from ssvid.training.task import CaptionedFrames, PretextTask
from ssvid.training.validate import per_video
from ssvid.video.shots import grey

MIN_VIDEOS = 8  # with fewer videos no accuracy is judged
TREND_SIZE = 64  # px at which the direction of a cue is measured
PADDING = "padding"

SHORTCUT, BIASED, CHANCE, ROBUST, SKIPPED = "shortcut", "biased", "at chance", "robust", "skipped"


@dataclass(frozen=True)
class Accuracy:
    """Mean accuracy over `n` videos (pairs of videos, for a task of pairs), its confidence interval, and the accuracy of guessing.

    All but `n` lie on 0..1.
    """

    n: int
    accuracy: float
    low: float
    high: float
    chance: float

    @property
    def above_chance(self) -> bool:
        """Whether the whole confidence interval lies above chance."""
        return self.low > self.chance


@dataclass(frozen=True)
class Check:
    """One check and its verdict: "shortcut", "biased", "at chance", "robust" or "skipped".

    description: what the videos show.
    reason: why the verdict was given, where the accuracy alone does not say it.
    score: accuracy on the videos; None where the check was skipped.
    sides: accuracy in each direction of the cue.
    before: accuracy on the original videos, for re-encodings.
    """

    name: str
    description: str
    verdict: str
    reason: str = ""
    score: Accuracy | None = None
    sides: dict[str, Accuracy] = field(default_factory=dict)
    before: Accuracy | None = None

    @property
    def is_shortcut(self) -> bool:
        """Whether the task uses this shortcut."""
        return self.verdict == SHORTCUT


def description(name: str) -> str:
    """What the videos of a check show."""
    return "training clips; no video is made" if name == PADDING else (CONTROLS | REENCODINGS)[name].description


class Auditor:
    """Runs the checks on one task.

    task: in eval mode, on `device`. held_out: videos it was not trained on. count: videos made for each control. workers: decoding
    processes. alpha: probability of error of one comparison with chance. overlay: what all held-out videos have burned in, if anything.
    Where the held-out videos are masked, so are the videos of every check.
    Raises DataError where no control video can be made for the task, and where the task returns no accuracy.
    """

    def __init__(
        self,
        task: PretextTask,
        held_out: Sequence[VideoRecord],
        count: int,
        *,
        alpha: float,
        workers: int = 0,
        device: torch.device | None = None,
        overlay: Overlay | None = None,
        progress: Progress = silent,
    ) -> None:
        self.task, self.held_out, self.count, self.overlay = task, held_out, count, overlay
        self.alpha, self.workers, self.progress = alpha, workers, progress
        self.device = device or torch.device("cpu")
        moving = overlay.mask if overlay is not None and overlay.changes else None
        self.spec = control_spec(task, [replace(video, hidden=None) for video in held_out], moving)
        self.samples: list[CaptionedFrames] = []
        self.held_out_accuracy = self.accuracy(held_out)

    def check(self, name: str) -> Check:
        """Run one check, given by its name."""
        if name == PADDING:
            return self.padding()
        return self.control(name) if name in CONTROLS else self.reencoding(name)

    def control(self, name: str) -> Check:
        """Accuracy on videos that hold no legitimate answer."""
        control = CONTROLS[name]
        made = make_videos(name, self.spec, self.count, counter(self.progress, f"making videos: {name}", self.count))
        if self.held_out[0].hidden is not None:  # a control is the square that a task sees of a video
            made = hide(made, hidden_square(self.held_out[0], self.spec.size))
        self._keep_samples(name, made)
        values, null, labels = self.per_video(made)
        null = null + self.gain_from_speed(control, made)
        score = self._estimate(values, null)
        sides = {
            side: self._estimate(values[labels == side], null[labels == side])
            for side in control.sides
            if (labels == side).any()
        }
        if name == OVERLAY:
            return self._overlay(score, sides)
        if score.above_chance:
            return Check(name, control.description, SHORTCUT, "", score, sides)
        for side, found in sides.items():
            if found.above_chance:
                return self._one_sided(name, side, score, sides)
        reason = "guessing is always right here" if score.chance >= 1 else ""
        return Check(name, control.description, CHANCE, reason, score, sides)

    def _overlay(self, score: Accuracy, sides: dict[str, Accuracy]) -> Check:
        """The verdict on overlays: a shortcut where they are read as they run in the held-out videos."""
        shows, forward = CONTROLS[OVERLAY].description, CONTROLS[OVERLAY].sides[0]
        if not any(found.above_chance for found in (score, *sides.values())):
            reason = "guessing is always right here" if score.chance >= 1 else ""
            return Check(OVERLAY, shows, CHANCE, reason, score, sides)
        if self.spec.overlay is None or self.overlay is None:
            return Check(
                OVERLAY, shows, BIASED, "the held-out videos have no overlay in common that changes", score, sides
            )
        reason = f"the held-out videos have one ({self.overlay.describe()})"
        if not (score.above_chance or sides[forward].above_chance):
            return Check(OVERLAY, shows, BIASED, f"{reason}, which runs the other way", score, sides)
        without = self.accuracy(hide(self.held_out, self.overlay.mask))
        reason += f"; with it masked, {without.accuracy:.0%} are right; pretrain again with overlays=mask"
        return Check(OVERLAY, shows, SHORTCUT, reason, score, sides)

    def _one_sided(self, name: str, side: str, score: Accuracy, sides: dict[str, Accuracy]) -> Check:
        """The verdict where one direction of a cue is above chance: a shortcut if the held-out videos run in that direction too."""
        share = self.share_of_side(CONTROLS[name], side)
        reason = (
            f"right on {sides[side].accuracy:.0%} of the {side} videos; {share.accuracy:.0%} of the held-out videos are {side} "
            f"({share.low:.0%} to {share.high:.0%}), "
            + ("so they contain the cue" if share.above_chance else "so the cue does not help on them")
        )
        verdict = SHORTCUT if share.above_chance else BIASED
        return Check(name, CONTROLS[name].description, verdict, reason, score, sides)

    def reencoding(self, name: str) -> Check:
        """Accuracy on held-out videos written again.

        On videos played backwards, a task that reads the content is wrong and one that reads the file is right.
        """
        recipe = REENCODINGS[name]
        advance = counter(self.progress, f"re-encoding: {name}", len(self.held_out))
        made = make_reencodings(name, self.task, self.held_out, advance)
        pairs = [(video, copy) for video, copy in zip(self.held_out, made, strict=True) if copy is not None]
        if len(pairs) < MIN_VIDEOS:
            return Check(name, recipe.description, SKIPPED, "the held-out videos are too short for it")
        copies = [copy for _, copy in pairs]
        self._keep_samples(name, copies)
        values, null, _ = self.per_video(copies)
        score = self._estimate(values, null)
        if recipe.backwards:
            return Check(name, recipe.description, SHORTCUT if score.above_chance else CHANCE, "", score)
        original, _, _ = self.per_video([video for video, _ in pairs])
        before = self._estimate(original, null)
        if not before.above_chance:
            reason = "the held-out accuracy is not above chance, so nothing can be lost"
            return Check(name, recipe.description, ROBUST, reason, score, before=before)
        halfway = (original + null) / 2  # between the original accuracy and chance, video by video
        lost = confidence_interval(values, halfway, self.alpha)[1] < halfway.mean()
        return Check(name, recipe.description, SHORTCUT if lost else ROBUST, "", score, before=before)

    def padding(self) -> Check:
        """Accuracy of predicting the class of a training clip from its padding alone."""
        counts = padding_histogram(self.task, self.held_out)
        if len(counts) < MIN_VIDEOS:
            return Check(PADDING, description(PADDING), SKIPPED, "too few of the held-out videos can be trained on")
        if not counts[..., 1].any():
            return Check(PADDING, description(PADDING), CHANCE, "no clip is padded")
        right, chance = guess_from_padding(counts)
        score = self._estimate(right, np.full(len(right), chance))
        shares = ", ".join(f"{share:.0%}" for share in counts[..., 1].sum(0) / counts.sum((0, 2)))
        reason = f"padded clips by class: {shares}"
        return Check(PADDING, description(PADDING), SHORTCUT if score.above_chance else CHANCE, reason, score)

    def per_video(self, videos: Sequence[VideoRecord]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Accuracy (N,), accuracy of guessing (N,) and label (N,) of each video.

        For a task of pairs, N counts pairs: the two videos share clips, so their accuracies are not independent. The task sees one video
        (or pair) at a time, since a task that takes its wrong answers from the rest of the batch could tell the videos apart instead.
        """
        batch = 2 if self.task.pairs else 1
        order, metrics = per_video(self.task, videos, self.workers, batch, self.device)
        if "accuracy" not in metrics or not len(order):
            raise DataError(f"{type(self.task).__name__} returns no accuracy on these videos")
        values = metrics["accuracy"]
        null = metrics.get("chance", np.full(len(values), self.task.chance))
        labels = np.array([video.label or "" for video in order])
        if self.task.pairs:
            return values.reshape(-1, 2).mean(1), null.reshape(-1, 2).mean(1), labels[::2]
        return values, null, labels

    def accuracy(self, videos: Sequence[VideoRecord]) -> Accuracy:
        """Accuracy on some videos as they are."""
        values, null, _ = self.per_video(videos)
        return self._estimate(values, null)

    def gain_from_speed(self, control: Control, videos: Sequence[VideoRecord]) -> float:
        """The most that knowing the speed of a cue adds to chance: chance * D / R, for clips that play at rates up to D octaves apart.

        The speed of a cue is log-uniform over R octaves. Any observed speed is equally likely at every rate, except in D octaves at the
        ends, so the best guesser is right (R + D) / R times as often as by chance. Only clips whose frames are in order have a rate.
        """
        if not control.octaves:
            return 0.0
        reach: list[int] = []
        for number, video in enumerate(videos[:16]):
            indices = self._test_indices(number, video)
            reach += [int(np.ptp(row)) for row in indices if (np.diff(row) > 0).all() and len(row) > 1]
        apart = float(np.log2(max(reach) / min(reach))) if reach else 0.0
        return self.task.chance * apart / control.octaves

    def share_of_side(self, control: Control, side: str) -> Accuracy:
        """Share of the held-out videos in which a cue runs in one direction; its chance is one half."""
        assert control.trend is not None  # every control with sides has one
        sign = 1 if side == control.sides[0] else -1
        shares = []
        for number, video in enumerate(self.held_out):
            frames = read_square(video, np.unique(self._test_indices(number, video))[None], TREND_SIZE)[0]
            shares.append((1 + np.sign(sign * control.trend(grey(frames)))) / 2)
        return self._estimate(np.array(shares), np.full(len(shares), 0.5))

    def _estimate(self, values: np.ndarray, null: np.ndarray) -> Accuracy:
        low, high = confidence_interval(values, null, self.alpha)
        return Accuracy(len(values), float(values.mean()), low, high, float(null.mean()))

    def _test_indices(self, number: int, video: VideoRecord) -> np.ndarray:
        """Frames (V,T) of the test sample of a video."""
        return self.task.sample(video, np.random.default_rng([0, number]), training=False).indices

    def _keep_samples(self, name: str, videos: Sequence[VideoRecord]) -> None:
        """Keep the frames of two videos of a check for the report, one of each direction."""
        for number, video in enumerate(videos[:2]):
            indices = np.unique(self._test_indices(number, video))
            frames = read_square(video, indices[None], self.task.augment.decode_size)[0]
            side = f", {video.label}" if name in CONTROLS and video.label else ""
            self.samples.append((name + side, torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 255))
