"""Do padded or wrapped clips tell the answer? What a guesser would score who sees nothing of a clip but whether it is one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssvid.data.index import VideoRecord
from ssvid.data.sampling import Clips
from ssvid.training.task import PretextTask, usable

DRAWS = 4  # training samples a video
LEAST_WRAPPED = 8  # frames from which a clip that rises but for one step back is not a shuffled one


def padding_histogram(task: PretextTask, videos: Sequence[VideoRecord]) -> np.ndarray:
    """Padded clips a class in training samples of the task: int (N, K, 2), video by class by (whole, padded).

    The class of a clip is its target where every clip has one, its sample's target where that is a single one, else its place in the
    sample. Without a video that suits training the first axis is empty.
    """
    was_training = task.training
    kept, _ = usable(task.train(), videos)
    drawn: list[list[tuple[int, bool]]] = []
    for number, video in enumerate(kept):
        rng = np.random.default_rng([number, 3])
        drawn.append([pair for _ in range(DRAWS) for pair in _classes(task.sample(video, rng))])
    task.train(was_training)
    labels = sorted({label for row in drawn for label, _ in row})
    counts = np.zeros((len(kept), len(labels), 2), int)
    for number, row in enumerate(drawn):
        for label, padded in row:
            counts[number, labels.index(label), int(padded)] += 1
    return counts


def guess_from_padding(counts: np.ndarray) -> tuple[np.ndarray, float]:
    """Accuracy (N,) on each video of naming the commonest class of the clips that are padded, or not, as this one is; and chance.

    Chance is to name the commonest class of all. What is commonest among padded clips is learnt from the other videos, so that luck is
    not taken for knowledge.
    """
    others = counts.sum(0) - counts  # (N,K,2)
    guess = others.argmax(1)  # (N,2); equally common ones: the first, whether padded or not
    right = np.take_along_axis(counts, guess[:, None], 1).sum((1, 2)) / counts.sum((1, 2))
    return right, float(counts.sum((0, 2)).max() / counts.sum())


def is_padded(indices: np.ndarray) -> bool:
    """Whether a clip (T,) shows a frame twice, or runs on at the beginning after the end."""
    if len(np.unique(indices)) < len(indices):
        return True
    back = np.flatnonzero(np.diff(indices) < 0)
    return bool(len(indices) >= LEAST_WRAPPED and len(back) == 1 and indices[-1] < indices[0])


def _classes(clips: Clips) -> list[tuple[int, bool]]:
    """(class, padded) of every clip of a sample."""
    target, V = np.asarray(clips.target), len(clips.indices)
    if target.shape == (V,):
        labels = target.tolist()
    elif target.size == 1:
        labels = [target.item()] * V
    else:
        labels = list(range(V))
    return [(int(label), is_padded(row)) for label, row in zip(labels, clips.indices, strict=True)]
