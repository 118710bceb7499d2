"""How well frozen features follow the progress of an action (TCC, arXiv 1904.07846): phase classification, phase progression, tau.

Every moment of a video gets a short window of its own, so that the padding at the ends of one long clip cannot show where a moment
lies. Windows are spread evenly over the video and stand for the frame in their middle. Every action is evaluated for itself, and the
actions are averaged.

The phase of every frame is read from `annotations/NAME.json` ({"phase": [0..1, ...]}) beside the folder of videos, as the motion world has
it. A phase that is the time of the video, as of a motion without an end, does not count.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import kendalltau
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssvid.data.video_record import VideoRecord
from ssvid.errors import ConfigError, DataError
from ssvid.evaluation.adapter import Candidate, EvalContext, Score
from ssvid.evaluation.folds import features_by_fold

PROTOCOLS = {
    "alignment": {
        "summary": "Progress of an action: phase classification, phase progression, Kendall's tau",
        "after": "TCC (arXiv 1904.07846)",
        "differs": "phases are equal parts of the annotated progress, where TCC has key events; ridge instead of plain regression, its "
        "strength chosen on training videos; logistic regression with fixed C; needs annotated phases",
        "trains": "head",
        "needs_classes": False,
    },
}

PENALTIES = tuple(10.0**power for power in range(-2, 6))  # of the regression


def alignment(
    candidate: Candidate,
    context: EvalContext,
    *,
    moments: int = 16,
    frames: int = 8,
    stride: int = 1,
    phases: int = 4,
    shares: tuple[float, ...] = (0.1, 0.5, 1.0),
    strength: float = 0.1,
) -> Iterator[Score]:
    """Scores "phase@10", "phase@50", "phase@100" (percent of moments classified right with that share of the labelled videos), "progress
    R2" and "tau" (at most 1, 0 for features that know nothing; not percent).

    Raises DataError where no video has annotated phases, or no two test videos show the same action.
    """
    if min(moments, phases) < 2 or min(frames, stride) < 1:
        raise ConfigError("alignment: moments and phases must be at least 2, frames and stride at least 1")
    if not all(0 < share <= 1 for share in shares) or strength <= 0:
        raise ConfigError("alignment: shares must lie above 0 and up to 1, strength must be positive")
    view = replace(context.view, clips=moments, frames=frames, stride=stride)
    middles = [view.indices(video)[:, frames // 2] for video in context.videos]
    at = {number: phase[middles[number]] for number, phase in annotated(context.videos).items()}
    right: dict[str, list[tuple[float, float]]] = {f"phase@{100 * share:g}": [] for share in shares}
    fits, taus = [], []
    for (train, test), features in zip(context.folds, features_by_fold(candidate, context, view), strict=True):
        for known, asked in _by_action(context.videos, at, train, test):
            x, y = features[asked], np.stack([at[number] for number in asked])
            for share in shares:
                shown = known[: max(1, int(share * len(known)))]
                shown_phase = np.stack([at[number] for number in shown])
                right[f"phase@{100 * share:g}"].append(classify(features[shown], shown_phase, x, y, phases, strength))
            fits.append(progression(features[known], np.stack([at[number] for number in known]), x, y))
            taus += [kendall(x)] if len(x) > 1 else []
    if not taus:
        raise DataError(
            "alignment compares videos of one action, and no fold tests two of them; use a train/test split"
        )
    for name, found in right.items():
        accuracy, guess = np.mean(found, axis=0)
        yield Score(name, float(accuracy), float(guess), {})
    yield Score("progress R2", float(np.mean(fits)), 0.0, {})
    yield Score("tau", float(np.mean(taus)), 0.0, {})


def _by_action(
    videos: Sequence[VideoRecord], annotated: Collection[int], train: np.ndarray, test: np.ndarray
) -> Iterator[tuple[list[int], list[int]]]:
    """For every action, its annotated training and test videos; actions that lack one of the two are left out."""
    for action in sorted({str(videos[number].label) for number in annotated}):
        known, asked = ([n for n in side if n in annotated and videos[n].label == action] for side in (train, test))
        if known and asked:
            yield known, asked


def annotated(videos: Sequence[VideoRecord]) -> dict[int, np.ndarray]:
    """Phase (frames,) of every video, by its position, of the actions whose phase tells more than the time.

    Raises DataError where there is none.
    """
    read = {number: found for number, video in enumerate(videos) if (found := read_phase(video)) is not None}
    real = {videos[number].label for number, (phase, clock) in read.items() if not np.allclose(phase, clock, atol=1e-3)}
    if not real:
        raise DataError(
            f"no video has annotated phases, as {phase_file(videos[0])} would hold; use the motion world (ssvid make-world) or write "
            '{"phase": [...]} with a number from 0 to 1 for every frame there'
        )
    return {number: phase for number, (phase, _) in read.items() if videos[number].label in real}


def read_phase(video: VideoRecord) -> tuple[np.ndarray, np.ndarray] | None:
    """(phase, time as a share of the whole), each (frames,), of one video; None where it has no annotation.

    Raises DataError for an annotation that does not fit the video.
    """
    path = phase_file(video)
    if not path.is_file():
        return None
    try:
        note = json.loads(path.read_text())
        phase = np.array(note["phase"], float)
        speed = np.array(note.get("speed", [1.0] * len(phase)), float)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f'{path} is not an annotation with {{"phase": [...]}}: {error}') from error
    if len(phase) != video.info.frames or len(speed) != len(phase):
        raise DataError(
            f"{path} annotates {len(phase)} frames, {video.path} has {video.info.frames}; write one number a frame"
        )
    clock = np.concatenate([[0.0], np.cumsum(speed[:-1])])
    return phase, clock / max(clock[-1], 1e-9)


def phase_file(video: VideoRecord) -> Path:
    """Where the annotation of a video is looked for: ROOT/annotations/NAME.json for ROOT/videos/CLASS/NAME.mp4."""
    path = Path(video.path)
    root = path.parents[min(2, len(path.parents) - 1)]
    return root / "annotations" / f"{path.stem}.json"


def classify(
    train: np.ndarray, phase: np.ndarray, test: np.ndarray, truth: np.ndarray, phases: int, strength: float
) -> tuple[float, float]:
    """Percent of the test moments (m,T,D) whose phase, one of `phases` equal parts, is predicted right, and that of the most frequent one.

    train: features (n,T,D) with their phase (n,T), 0 to 1; truth: (m,T).
    """
    parts, wanted = (np.minimum((values * phases).astype(int), phases - 1).ravel() for values in (phase, truth))
    common = np.bincount(parts).argmax()
    predicted = np.full(len(wanted), common)
    if len(set(parts)) > 1:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000))
        predicted = model.fit(_flat(train), parts).predict(_flat(test))
    return 100 * float((predicted == wanted).mean()), 100 * float((common == wanted).mean())


def progression(train: np.ndarray, phase: np.ndarray, test: np.ndarray, truth: np.ndarray) -> float:
    """R2 of the phase of the test moments (m,T,D) by linear regression on the training moments; negative where it is
    worse than their mean."""
    videos = np.repeat(np.arange(len(train)), train.shape[1])  # moments of one video know each other
    folds = list(GroupKFold(min(5, len(train))).split(videos, groups=videos)) if len(train) > 1 else None
    scaled = make_pipeline(StandardScaler(), Ridge(max(PENALTIES)))
    model = GridSearchCV(scaled, {"ridge__alpha": PENALTIES}, cv=folds) if folds else scaled
    return float(r2_score(truth.ravel(), model.fit(_flat(train), phase.ravel()).predict(_flat(test))))


def kendall(videos: np.ndarray) -> float:
    """Mean of Kendall's tau-b over all ordered pairs of at least two videos (n,T,D); a pair without a tau is left out, and the mean is 0
    where no pair has one."""
    taus = np.array([alignment_tau(a, b) for a, b in permutations(videos, 2)])
    finite = taus[np.isfinite(taus)]
    return float(finite.mean()) if len(finite) else 0.0


def alignment_tau(query: np.ndarray, other: np.ndarray) -> float:
    """Kendall's tau-b between the order of the moments of `query` (T,D) and that of their nearest neighbours in `other` (S,D).

    1 for the same order, -1 for the reversed one; ties count as in tau-b, so that aligning 10 moments with 5 perfectly gives 0.943. NaN
    where all have the same neighbour.
    """
    nearest = cdist(query, other, "sqeuclidean").argmin(1)
    return float(kendalltau(np.arange(len(nearest)), nearest).statistic)


def _flat(features: np.ndarray) -> np.ndarray:
    return features.reshape(-1, features.shape[-1])
