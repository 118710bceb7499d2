"""Accuracy of predicting the label of a clip from its padding alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssvid.data.sampling import Clips
from ssvid.data.video_record import VideoRecord
from ssvid.training.task import PretextTask, usable

DRAWS = 4  # training samples a video
MIN_WRAPPED = 8  # frames; a shorter clip whose indices rise except for one step back may be a shuffled one


def padding_histogram(task: PretextTask, videos: Sequence[VideoRecord]) -> np.ndarray:
    """Number of clips in training samples of the task by video, class and padding: int (N,K,2), where 1 on the last axis means padded.

    The class of a clip is its own target where every clip has one, the target of its sample where there is a single one, and otherwise
    its position in the sample. N is 0 where no video can be trained on.
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
    """Accuracy (N,) on each video of predicting a clip's class from whether it is padded, and the accuracy of guessing.

    The prediction is the most common class among the clips of the other videos with the same padding: counting the video itself would
    raise its accuracy above chance. Guessing is to name the most common class of all clips.
    """
    others = counts.sum(0) - counts  # (N,K,2)
    guess = others.argmax(1)  # (N,2); among equally common classes the first
    right = np.take_along_axis(counts, guess[:, None], 1).sum((1, 2)) / counts.sum((1, 2))
    return right, float(counts.sum((0, 2)).max() / counts.sum())


def is_padded(indices: np.ndarray) -> bool:
    """Whether the frame indices (T,) of a clip repeat a frame, or wrap from the end of the video to its beginning."""
    if len(np.unique(indices)) < len(indices):
        return True
    back = np.flatnonzero(np.diff(indices) < 0)
    return bool(len(indices) >= MIN_WRAPPED and len(back) == 1 and indices[-1] < indices[0])


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
