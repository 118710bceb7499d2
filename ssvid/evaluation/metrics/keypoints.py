"""PCK, the percentage of correct keypoints, as self-supervised methods report it on JHMDB (Yang and Ramanan, TPAMI 2013).

The numbers are those of the evaluation of video-walk (arXiv 2006.14613), which later work uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

PCK_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
BOX_SHARE = 0.6  # of the diagonal of the person's box, about the length of a torso


class Keypoints(NamedTuple):
    """PCK in percent at one threshold: the mean over joints, and of every joint (J,), NaN for one that is never counted."""

    mean: float
    joints: np.ndarray


def normalized_distances(
    prediction: np.ndarray, truth: np.ndarray, visible: np.ndarray | None = None, *, all_frames: bool = False
) -> np.ndarray:
    """Distances of predicted from true joints (T,J,2) in x, y pixels, as shares of the person's size: float64 (T,J).

    The size in a frame is 0.6 times the diagonal of the box around the true joints that are visible there.

    Args:
        visible: bool (T,J), which joints count. None: those whose predicted x is not below 0, which is how a prediction says that a joint
            is out of sight; such joints are left out of the distances and of the box, as in the official code. To count a lost joint as
            an error predict NaN.
        all_frames: count the first frame too, which is given, and is otherwise left out.

    Returns:
        NaN for what is not counted: the first frame, joints that are not visible, joints without a true place (NaN). Infinity for a joint
        that counts but was predicted nowhere (NaN), and for every joint of a person without size.

    Raises:
        ValueError: arrays that do not fit each other.
    """
    predicted, true = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)
    if true.ndim != 3 or true.shape[2] != 2 or predicted.shape != true.shape:
        raise ValueError(
            f"predicted joints of shape {predicted.shape} for true ones of {true.shape}; both must be (T,J,2)"
        )
    seen = ~(predicted[..., 0] < 0) if visible is None else np.asarray(visible, bool)
    if seen.shape != true.shape[:2]:
        raise ValueError(f"visible has shape {seen.shape}; for joints of {true.shape} it must be {true.shape[:2]}")
    counted = seen & ~np.isnan(true).any(-1)
    corners = np.where(counted[..., None], true, np.inf).min(1), np.where(counted[..., None], true, -np.inf).max(1)
    size = BOX_SHARE * np.linalg.norm(corners[1] - corners[0], axis=-1)
    distance = np.linalg.norm(predicted - true, axis=-1)
    share = np.divide(distance, size[:, None], out=np.full(distance.shape, np.inf), where=size[:, None] > 0)
    share = np.where(counted, np.where(np.isnan(share), np.inf, share), np.nan)
    if not all_frames:
        share[:1] = np.nan
    return share


def pck(distances: Iterable[np.ndarray], thresholds: Sequence[float] = PCK_THRESHOLDS) -> dict[float, Keypoints]:
    """PCK in percent at each threshold, from the normalised distances (T,J) of any number of videos.

    A joint is correct within the threshold, borders included. Each joint has its own share over all frames of all videos; the mean is
    over joints. A joint that is counted in no frame is left out; where none is counted the mean is NaN.
    Raises ValueError for no video.
    """
    videos = list(distances)
    if not videos:
        raise ValueError("PCK of no video; give the distances of one at least")
    together = np.concatenate(videos)
    counted = (~np.isnan(together)).sum(0)
    found = {}
    for threshold in thresholds:
        correct = (together <= threshold).sum(0)
        joints = np.divide(100.0 * correct, counted, out=np.full(len(counted), np.nan), where=counted > 0)
        known = joints[counted > 0]
        found[threshold] = Keypoints(float(known.mean()) if len(known) else float("nan"), joints)
    return found
