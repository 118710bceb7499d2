"""Metrics, each a function of arrays: of rankings, of masks and parts (DAVIS, VIP), of keypoints (JHMDB)."""

from ssvid.evaluation.metrics.keypoints import PCK_THRESHOLDS, normalized_distances, pck
from ssvid.evaluation.metrics.parts import ConfusionMatrix
from ssvid.evaluation.metrics.retrieval import KS, mean_average_precision, recall_at, recall_by_chance
from ssvid.evaluation.metrics.segmentation import (
    MaskScores,
    contour_accuracy,
    davis_scores,
    davis_summary,
    mask_boundary,
    mean_recall_decay,
    region_similarity,
)

__all__ = [
    "KS",
    "PCK_THRESHOLDS",
    "ConfusionMatrix",
    "MaskScores",
    "contour_accuracy",
    "davis_scores",
    "davis_summary",
    "mask_boundary",
    "mean_average_precision",
    "mean_recall_decay",
    "normalized_distances",
    "pck",
    "recall_at",
    "recall_by_chance",
    "region_similarity",
]
