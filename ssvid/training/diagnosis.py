"""Why is it at chance? What was measured of a run, turned into sentences: where it stays at chance, and what to try.

A task can end in three places: at chance on its training videos (it learns nothing), at chance on held-out videos (it learns what does not
carry over), or at the audit (it learns a shortcut). Each has causes of its own, and each cause here is named only where its number was
measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from ssvid.video.shots import STILL

LEAST_GAIN = 0.02  # of the way from chance to 1; less is chance in practice, however many samples prove it
ERRORS = 3.0  # standard errors above chance
UNMOVED = (
    0.01  # change of the weights, relative to their size; 60 steps of AdamW at lr=0.001 change them by about a half
)
RISE = 1.5  # times the first loss
FEW_SAMPLES = 4000  # steps x batch up to which a network from scratch has hardly begun
SHORT = 0.25  # seconds; less shows a fraction of most actions
NARROW = 8  # videos a step, of which batch norm makes poor statistics
COLLAPSED = 0.02  # spread of the features, 1 where they fill the space
MANY_TIMES = 30.0  # epochs after which a video can be known by heart
PER_CLASS = 50  # videos for each possible answer, fewer of which can be known by heart
FEW_HELD_OUT = 30

REMEDIES = {
    "pan": "camera motion answers it: raise drift where the task has it, or read input=flow",
    "fade": "a drifting brightness answers it: raise jitter, with colours drawn for every clip, or drift",
    "bars": "moving bars answer it: leave out such videos, or train on smaller crops",
    "overlay": "a clock or progress bar answers it: overlays=mask takes out what all videos have burned in",
    "noise": "it reads the file and not the scene: train on copies at a smaller size (ssvid index --transcode), and raise noise",
    "codec": "it reads the encoder: train on copies at a smaller size (ssvid index --transcode), and raise noise",
    "recode": "it reads the encoder: train on copies that are all encoded alike (ssvid index --transcode)",
    "frame_rate": "it reads the frame rate or the encoder: set fps, and train on copies that are all encoded alike",
    "reversed": "it reads the order in which the file was encoded: train on copies at a smaller size (ssvid index --transcode)",
    "blank": "it answers without a picture, by place or padding of the network: crop every frame on its own",
    "blocks": "it reads colours that stay in place: crop every frame on its own",
    "padding": "which clips are padded gives the answer away: take shorter windows or longer videos, and pad no clip",
}


@dataclass(frozen=True)
class RunFacts:
    """What was measured of a run.

    chance: accuracy of guessing. trained: mean accuracy over the last quarter of the training, of `samples` samples; None where nothing was
    logged. videos, steps, batch, lr: of the run. losses: as logged. weight_change: length of the change of the weights, relative to theirs.
    motion: median over training windows of the mean grey difference between frames, 0..255. seconds: median length of a clip.
    spread: of the features at the end, 0..1. batch_norm: whether the network has it. options: names of the task's options.
    held_out: accuracy on `held_out_videos` videos. evaluated: accuracy on training videos in eval mode. shortcuts: found by the audit.
    padding: what the audit says of padded clips. Accuracies lie on 0..1; None and empty: not measured.
    """

    chance: float
    trained: float | None
    samples: int
    videos: int
    steps: int
    batch: int
    lr: float
    losses: Sequence[float] = ()
    weight_change: float | None = None
    motion: float | None = None
    seconds: float | None = None
    spread: float | None = None
    batch_norm: bool = False
    options: Collection[str] = ()
    held_out: float | None = None
    held_out_videos: int = 0
    evaluated: float | None = None
    shortcuts: Sequence[str] = field(default_factory=tuple)
    padding: str = ""

    @property
    def learns(self) -> bool:
        """Whether it is above chance on its training videos."""
        return self.trained is None or self.above_chance(self.trained, self.samples)

    @property
    def generalises(self) -> bool:
        """Whether it is above chance on held-out videos; yes where none were asked."""
        return self.held_out is None or self.above_chance(self.held_out, self.held_out_videos)

    def above_chance(self, accuracy: float, samples: int) -> bool:
        """Whether an accuracy is above chance by 3 standard errors, and by a fiftieth of what there is to gain."""
        return accuracy - self.chance > max(self.error(samples), LEAST_GAIN * (1 - self.chance))

    def error(self, samples: int) -> float:
        """Three standard errors of guessing on some samples."""
        return float(ERRORS * (self.chance * (1 - self.chance) / max(samples, 1)) ** 0.5)


def diagnose(facts: RunFacts) -> list[str]:
    """Where a run stays at chance or ends, and what to try, most likely first; empty where it is above chance and has no shortcut."""
    sentences: list[str] = []
    guess = f"chance is {_percent(facts.chance)}"
    if not facts.learns:
        right = f"{_percent(facts.trained)} right over the last {facts.samples} samples, {guess}"
        sentences = [f"At chance on its training videos: {right}.", *(_untrained(facts))]
    elif not facts.generalises:
        right = f"{_percent(facts.held_out)} right on {facts.held_out_videos}, {guess}"
        known = "" if facts.trained is None else f"; in training {_percent(facts.trained)}"
        sentences = [f"At chance on held-out videos: {right}{known}.", *(_unseen(facts))]
    if facts.shortcuts:
        sentences.append(
            f"Ends at the audit, with the shortcut{'s' * (len(facts.shortcuts) > 1)} {', '.join(facts.shortcuts)}."
        )
        for name in facts.shortcuts:
            more = f" ({facts.padding})" if name == "padding" and facts.padding else ""
            sentences.append(f"{name}: {REMEDIES.get(name, 'see the audit')}{more}.")
    return sentences


def _untrained(facts: RunFacts) -> list[str]:
    """What keeps a run from learning its own training videos."""
    causes = [*_of_optimisation(facts), *_of_clips(facts)]
    return causes or [
        f"Nothing measured stands out{_course(facts)}: try lr={3 * facts.lr:.2g} and lr={facts.lr / 3:.2g}, more steps, or a backbone that "
        "sees more of time (ssvid list models)."
    ]


def _of_optimisation(facts: RunFacts) -> Iterator[str]:
    """Learning rate, steps, batch."""
    rises = len(facts.losses) > 1 and max(facts.losses[1:]) > RISE * facts.losses[0]
    if rises:
        yield f"The loss rose from {facts.losses[0]:.3g} up to {max(facts.losses):.3g}: lower lr, as lr={facts.lr / 10:.2g}."
    if facts.weight_change is not None and facts.weight_change < UNMOVED:
        yield (
            f"The weights changed by {facts.weight_change:.2%} only{_course(facts)}: raise lr, as lr={max(10 * facts.lr, 1e-3):.2g}, "
            "or steps."
        )
    elif not rises and facts.steps * facts.batch < FEW_SAMPLES:
        yield f"{facts.steps} steps of {facts.batch} videos are few{_course(facts)}: raise steps, as steps={10 * facts.steps}."
    if facts.spread is not None and facts.spread < COLLAPSED:
        yield f"All clips get nearly the same features (spread {facts.spread:.3f}): lower lr, or raise batch."
    if facts.batch_norm and facts.batch < NARROW:
        yield f"Batch statistics over {facts.batch} videos are mostly noise: raise batch to {NARROW} or more."


def _of_clips(facts: RunFacts) -> Iterator[str]:
    """What the sampled windows show."""
    if facts.motion is not None and facts.motion < 2 * STILL:
        tasks = "min_motion=1, " if "min_motion" in facts.options else ""
        yield (
            f"Windows are too still: half of them change by less than {facts.motion:.2f} grey levels a frame, and coding noise alone makes "
            f"up to {STILL}: set {tasks}a larger stride, or take videos that move."
        )
    if facts.seconds is not None and facts.seconds < SHORT:
        asked = [name for name in ("stride", "frames") if name in facts.options] or ["the length of its clips"]
        yield f"Clips are short, {facts.seconds:.2f} s: raise {' or '.join(asked)}."


def _unseen(facts: RunFacts) -> list[str]:
    """What keeps a run from answering videos it has not seen."""
    causes, epochs = [], facts.steps * facts.batch / max(facts.videos, 1)
    rests = facts.evaluated is not None and not facts.above_chance(facts.evaluated, min(facts.samples, facts.videos))
    if rests:
        causes.append(
            f"On training videos too it is right on {_percent(facts.evaluated)} only, once batch norm uses its running statistics: the "
            f"answers rest on batch statistics, over {facts.batch} videos: raise batch and steps, or lower lr."
        )
    elif epochs > MANY_TIMES or facts.videos < PER_CLASS / max(facts.chance, 1e-3):
        causes.append(
            f"Too few videos: {facts.videos}, each seen {epochs:.0f} times, for a question with {1 / max(facts.chance, 1e-3):.0f} answers; "
            "they are known by heart: take more videos or fewer steps, or augment more."
        )
    if facts.held_out_videos < FEW_HELD_OUT:
        least = min(1.0, facts.chance + facts.error(facts.held_out_videos))
        causes.append(
            f"{facts.held_out_videos} held-out videos tell no accuracy below {_percent(least)} from chance: hold out more."
        )
    causes += _of_clips(facts)
    return causes or [
        "Its training videos differ from the held-out ones: compare rates, sizes and sources (ssvid index)."
    ]


def _course(facts: RunFacts) -> str:
    """How the loss went, in brackets."""
    return (
        f" (loss {facts.losses[0]:.3f} to {facts.losses[-1]:.3f}, lr={facts.lr:g})"
        if len(facts.losses) > 1
        else f" (lr={facts.lr:g})"
    )


def _percent(share: float | None) -> str:
    return f"{100 * (share or 0):.1f} %"
