"""Region similarity J and contour accuracy F of DAVIS, and their mean, recall and decay.

Perazzi et al., CVPR 2016; Pont-Tuset et al., arXiv 1704.00675. The numbers are those of the official davis2017-evaluation, with one
exception: its decay is wrong for sequences of more than 256 scored frames, where its bin borders overflow eight bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt

from ssvid.data.masks import VOID

TOLERANCE = 0.008  # share of the frame's diagonal by which two contours may be apart and still match
BINS = 4  # quarters of a sequence: decay is the first minus the last


class MaskScores(NamedTuple):
    """J and F of one sequence, float64 (N,T) each, 0..1: N objects in the T frames that count."""

    J: np.ndarray
    F: np.ndarray


class MeanRecallDecay(NamedTuple):
    """Statistics of one object's scores over time: mean, share above 0.5, first minus last quarter. NaN where no frame counts."""

    mean: float
    recall: float
    decay: float


def region_similarity(prediction: np.ndarray, truth: np.ndarray, ignored: np.ndarray | None = None) -> float:
    """J: intersection over union of two masks (H,W), 0..1; two empty masks agree fully.

    Whatever is not zero belongs to a mask. ignored: bool (H,W), pixels that do not count. Raises ValueError for masks of different size.
    """
    predicted, true = _cleared(prediction, truth, ignored)
    union = np.count_nonzero(predicted | true)
    return np.count_nonzero(predicted & true) / union if union else 1.0


def contour_accuracy(
    prediction: np.ndarray, truth: np.ndarray, ignored: np.ndarray | None = None, tolerance: float = TOLERANCE
) -> float:
    """F: harmonic mean of the precision and the recall of a mask's contour, 0..1; masks (H,W) as for `region_similarity`.

    A contour pixel matches where the other contour passes within `tolerance` of the frame's diagonal, rounded up to whole pixels: a
    dilation with a disk in place of the bipartite matching of pixels. Two masks without contour agree fully; one without gives 0.
    """
    predicted, true = (mask_boundary(mask) for mask in _cleared(prediction, truth, ignored))
    if not predicted.any() or not true.any():
        return float(predicted.any() == true.any())
    reach = math.ceil(tolerance * np.linalg.norm(true.shape))
    predicted, true = _box_of_both(predicted, true)
    near_prediction, near_truth = (distance_transform_edt(~contour) <= reach for contour in (predicted, true))
    precision = float(near_truth[predicted].mean())
    recall = float(near_prediction[true].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def mask_boundary(mask: np.ndarray) -> np.ndarray:
    """The contour of a mask bool (H,W), one pixel wide: pixels that differ from their right, lower or lower right neighbour.

    Beyond the frame nothing differs, so a mask that touches the frame's border has no contour there.
    """
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    here = padded[:-1, :-1]
    # along the last row and column the edge's own copy makes the diagonal neighbour the one next along that edge
    contour: np.ndarray = (here ^ padded[:-1, 1:]) | (here ^ padded[1:, :-1]) | (here ^ padded[1:, 1:])
    return contour


def mean_recall_decay(scores: np.ndarray) -> MeanRecallDecay:
    """Statistics of the scores (T,) of one object; the quarters share the frames at their borders, as in the official code."""
    if not len(scores):
        return MeanRecallDecay(math.nan, math.nan, math.nan)
    border = (np.round(np.linspace(1, len(scores), BINS + 1) + 1e-10) - 1).astype(int)
    first, last = scores[: border[1] + 1], scores[border[-2] :]
    return MeanRecallDecay(float(scores.mean()), float((scores > 0.5).mean()), float(first.mean() - last.mean()))


def davis_scores(
    prediction: Sequence[np.ndarray] | np.ndarray,
    truth: Sequence[np.ndarray] | np.ndarray,
    *,
    one_object: bool = False,
    all_frames: bool = False,
    ignore_void: bool = False,
) -> MaskScores:
    """J and F of every object in one sequence, from T masks of ids (H,W): 0 background, 1..N objects, 255 void (see data.masks).

    N is the largest id of the first true mask, as in the official code: an id below it that is nowhere counts as an object found, an
    object that is not predicted as an empty mask, and true objects that first appear later do not count.

    Args:
        one_object: DAVIS 2016: all objects are one. False: DAVIS 2017, each by itself.
        all_frames: also score the first frame, which is given, and the last; the official semi-supervised protocols leave both out, so
            that a sequence of one or two frames has no score, T=0.
        ignore_void: leave void pixels out. False: they are background, as in the official semi-supervised protocols.

    Raises:
        ValueError: sequences of different length, masks of different size, or a predicted id above N.
    """
    if len(prediction) != len(truth):
        raise ValueError(f"{len(prediction)} predicted masks for {len(truth)} true ones; give one for every frame")
    if not len(truth):
        raise ValueError("no masks; give one for every frame")
    count = 1 if one_object else int(_objects(truth[0]).max(initial=0))
    numbers = range(len(truth)) if all_frames else range(1, len(truth) - 1)
    scores = np.zeros((2, count, len(numbers)))
    for t, number in enumerate(numbers):
        ignored = np.asarray(truth[number]) == VOID if ignore_void else None
        predicted, true = _objects(prediction[number]), _objects(truth[number])
        highest = int(predicted.max(initial=0))
        if highest > count and not one_object:
            raise ValueError(f"frame {number}: predicted id {highest}, but the first true mask has {count} objects")
        for n in range(count):
            p, q = (predicted, true) if one_object else (predicted == n + 1, true == n + 1)
            scores[:, n, t] = region_similarity(p, q, ignored), contour_accuracy(p, q, ignored)
    return MaskScores(scores[0], scores[1])


def davis_summary(sequences: Iterable[MaskScores]) -> dict[str, float]:
    """The numbers of a DAVIS table: J&F, and mean, recall and decay of J and F, 0..1 (decay -1..1).

    Means over the objects of all sequences, so that a sequence counts as often as it has objects; what has no scored frame is left out,
    and where nothing is left every number is NaN.
    """
    found = list(sequences)
    summary: dict[str, float] = {}
    for name in ("J", "F"):
        objects = [mean_recall_decay(scores) for sequence in found for scores in getattr(sequence, name)]
        scored = np.array([statistics for statistics in objects if not math.isnan(statistics.mean)])
        means = scored.mean(0) if len(scored) else np.full(3, np.nan)
        summary |= {f"{name} {kind}": float(mean) for kind, mean in zip(MeanRecallDecay._fields, means, strict=True)}
    return {"J&F": (summary["J mean"] + summary["F mean"]) / 2} | summary


def _objects(mask: np.ndarray) -> np.ndarray:
    """A mask of ids with void as background."""
    ids = np.asarray(mask)
    return np.where(ids == VOID, 0, ids)


def _box_of_both(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both masks cut to the box around them, outside of which no distance is asked for."""
    rows, columns = (np.flatnonzero((first | second).any(axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return first[box], second[box]


def _cleared(prediction: np.ndarray, truth: np.ndarray, ignored: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Both masks as bool (H,W), False where pixels are ignored. Raises ValueError for masks that do not fit each other."""
    predicted, true = np.asarray(prediction).astype(bool), np.asarray(truth).astype(bool)
    if true.ndim != 2 or predicted.shape != true.shape or (ignored is not None and ignored.shape != true.shape):
        raise ValueError(
            f"a predicted mask of shape {predicted.shape} for a true one of {true.shape}; both must be (H,W)"
        )
    counted = True if ignored is None else ~ignored.astype(bool)
    return predicted & counted, true & counted
