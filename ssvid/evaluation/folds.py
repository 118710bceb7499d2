"""What the frozen protocols share: features fold by fold, and accuracy over all folds together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ssvid.data.video_record import VideoRecord
from ssvid.evaluation.adapter import Candidate, EvalContext, Score
from ssvid.evaluation.features import Features, View, extract
from ssvid.evaluation.inner_folds import Fold, labels_of


def chance(videos: Sequence[VideoRecord], folds: Sequence[Fold]) -> float:
    """Accuracy of guessing in percent: the share of the most frequent training class among the test videos, at least 1 / classes."""
    right = tested = 0
    labels = labels_of(videos)
    for train, test in folds:
        names, counts = np.unique(labels[train], return_counts=True)
        right += int((labels[test] == names[counts.argmax()]).sum())
        tested += len(test)
    return 100 * max(right / tested, 1 / len(set(labels)))


def features_by_fold(candidate: Candidate, context: EvalContext, view: View | None = None) -> Iterator[Features]:
    """Frozen features of every fold: once for all folds, or, where the backbone depends on the fold, those of the fold's own videos.

    Indexed by positions in `context.videos`. view: in place of the context's.
    """
    computed: Features | None = None
    for fold, (train, test) in enumerate(context.folds):
        if candidate.per_fold or computed is None:
            own = np.concatenate([train, test]) if candidate.per_fold else None
            computed = _extract(candidate, context, view or context.view, fold, own)
        yield computed


def vectors_by_fold(
    candidate: Candidate, context: EvalContext, view: View | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The mean over the clips of every training and of every test video of each fold: (n,D), (m,D). Arguments as of `features_by_fold`.

    They are read from the shards for each fold, so a table holds the vectors of one fold and nothing of the clips.
    """
    features = features_by_fold(candidate, context, view)
    for (train, test), found in zip(context.folds, features, strict=True):
        yield found.clip_means(train), found.clip_means(test)


def _extract(
    candidate: Candidate, context: EvalContext, view: View, fold: int, positions: np.ndarray | None
) -> Features:
    chosen = context.videos if positions is None else [context.videos[position] for position in positions]
    return extract(
        candidate.backbone(fold),
        chosen,
        view,
        workers=context.workers,
        device=context.device,
        positions=positions,
        progress=context.progress,
        what=f"features of {candidate.name}",
    )


def accuracy(name: str, context: EvalContext, predict: Callable[[int, np.ndarray, np.ndarray], np.ndarray]) -> Score:
    """Accuracy in percent over the test videos of all folds.

    predict(fold, train, test) gives the predicted labels of the videos at the positions `test`. A video that several folds test is right in
    part, and its entry in `predicted` is that of the last one.
    """
    labels = labels_of(context.videos)
    predicted: dict[int, str] = {}
    right = tested = 0
    for fold, (train, test) in enumerate(context.folds):
        answers = predict(fold, train, test)
        right += int((answers == labels[test]).sum())
        tested += len(test)
        predicted |= {context.videos[p].id: str(label) for p, label in zip(test, answers, strict=True)}
    return Score(name, 100 * right / tested, chance(context.videos, context.folds), predicted)
