"""mIoU over the parts of a data set, from one confusion matrix: how VIP is evaluated (Zhou et al., ACM MM 2018)."""

from __future__ import annotations

import numpy as np
from PIL import Image


class ConfusionMatrix:
    """Pixels by true and predicted class, summed over all frames of all videos.

    classes: number of classes, background included. counts: int64 (classes,classes), rows true, columns predicted.
    """

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes), np.int64)

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Count one frame: masks of classes (H,W); true pixels of no known class (255 void) are not counted.

        A prediction of another size is resized to that of the truth, each pixel taking the class nearest to it.
        Raises ValueError for a predicted class that does not exist, or for what is no mask.
        """
        predicted, true = np.asarray(prediction), np.asarray(truth)
        classes = len(self.counts)
        if predicted.ndim != 2 or true.ndim != 2:
            raise ValueError(f"masks of shape {predicted.shape} and {true.shape}; both must be (H,W)")
        if predicted.size and not 0 <= predicted.min() <= predicted.max() < classes:
            raise ValueError(f"predicted classes {predicted.min()} to {predicted.max()}; there are 0 to {classes - 1}")
        if predicted.shape != true.shape:
            size = (true.shape[1], true.shape[0])
            predicted = np.asarray(Image.fromarray(predicted.astype(np.int32)).resize(size, Image.Resampling.NEAREST))
        counted = (true >= 0) & (true < classes)
        pairs = classes * true[counted].astype(np.int64) + predicted[counted]
        self.counts += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    def iou(self) -> np.ndarray:
        """Intersection over union of every class, float64 (classes,), 0..1; NaN for a class that is neither true nor predicted."""
        both = np.diag(self.counts)
        union = self.counts.sum(0) + self.counts.sum(1) - both
        iou: np.ndarray = np.divide(both, union, out=np.full(len(both), np.nan), where=union > 0)
        return iou

    def mean_iou(self) -> float:
        """mIoU: the mean of `iou` over the classes that are there, 0..1; NaN before anything was counted."""
        known = self.iou()
        known = known[~np.isnan(known)]
        return float(known.mean()) if len(known) else float("nan")
