"""Confidence interval of a mean accuracy over a few videos, for any distribution of the accuracies.

The accuracy of one video is 0 or 1 for some tasks; 0, 1/2 or 1 for others; a share of 49 patches for a third. Often it does not vary at
all. Normal, t and Wilson intervals each fail for one of these; betting works for all. Start with a fortune of 1 and bet, video after
video, that accuracy exceeds its null. Where it does not, the expected fortune is at most 1, so a fortune of 1/alpha has a probability of
at most alpha (Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 2024, arXiv 2010.09686). This
holds for any number of videos and any distribution on 0..1. The interval is about 1.3 times as wide as an exact binomial one.
"""

from __future__ import annotations

import numpy as np

STAKES = np.array(
    [0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0]
)  # shares of the fortune; the fortune is split equally among them


def confidence_interval(values: np.ndarray, null: np.ndarray | float, alpha: float) -> tuple[float, float]:
    """Lower and upper end of the mean accuracy, each of them wrong with a probability of at most `alpha`.

    values: (N,) independent accuracies, 0..1. null: accuracy of guessing, one number, or (N,) where it differs between videos; the
    interval is then that of the mean excess over the null, plus the mean null. The mean is above chance, with this confidence, where the
    lower end is above the mean null.
    """
    values, null = np.broadcast_arrays(np.asarray(values, float), np.asarray(null, float))
    low = _least_excess(values, null, alpha)
    high = -_least_excess(1 - values, 1 - null, alpha)
    return max(0.0, float(null.mean() + low)), min(1.0, float(null.mean() + high))


def _least_excess(values: np.ndarray, null: np.ndarray, alpha: float) -> float:
    """The largest excess e over the null for which a bet on "more than e" earns 1/alpha; if there is none, the least possible excess."""
    low, high = -float(null.max()), float((values - null).mean())
    if _fortune(values, null, low) < 1 / alpha:
        return -float(null.mean())
    for _ in range(40):  # the fortune falls as e rises
        middle = (low + high) / 2
        low, high = (middle, high) if _fortune(values, null, middle) >= 1 / alpha else (low, middle)
    return low


def _fortune(values: np.ndarray, null: np.ndarray, excess: float) -> float:
    """Fortune after betting 1, split equally among the stakes, on every accuracy being above null + excess."""
    odds = (values - null - excess) / max(float(null.max()) + excess, 1e-12)  # at worst -1: all of the stake is lost
    with np.errstate(divide="ignore", over="ignore"):
        return float(np.exp(np.log1p(np.maximum(STAKES[:, None] * odds, -1.0)).sum(1)).mean())
