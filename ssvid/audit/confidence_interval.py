"""How sure a mean accuracy over a few videos is, whatever the accuracies are made of.

The accuracy of one video is 0 or 1 for some tasks, 0, 1/2 or 1 for others, a share of 49 patches for a third, and it often does not vary
at all. Normal, t and Wilson intervals are each wrong for one of these. Betting is right for all: whoever starts with 1 and bets, video
after video, that the accuracy exceeds its null has in the mean no more than 1 in the end when it does not, so a fortune of 1/alpha has
a probability of at most alpha (Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 2024, arXiv
2010.09686). This holds for any number of videos and any distribution on 0..1. The price is width: about 1.3 times that of an exact
binomial interval.
"""

from __future__ import annotations

import numpy as np

STAKES = np.array(
    [0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0]
)  # shares of the fortune; an equal part of it is bet at each


def confidence_interval(values: np.ndarray, null: np.ndarray | float, alpha: float) -> tuple[float, float]:
    """Ends of the mean accuracy, each of them on the wrong side of it with a probability of at most `alpha`.

    values: (N,) independent accuracies, 0..1. null: what guessing scores, one number or (N,) where it differs from video to video; the
    ends are then those of the mean excess over it, plus the mean of it. A mean above chance is proven where the lower end is above the
    mean null.
    """
    values, null = np.broadcast_arrays(np.asarray(values, float), np.asarray(null, float))
    low = _least_excess(values, null, alpha)
    high = -_least_excess(1 - values, 1 - null, alpha)
    return max(0.0, float(null.mean() + low)), min(1.0, float(null.mean() + high))


def _least_excess(values: np.ndarray, null: np.ndarray, alpha: float) -> float:
    """The largest excess e over the null of which betting on "more than e" makes 1/alpha; -mean(null), which always holds, if none does."""
    low, high = -float(null.max()), float((values - null).mean())
    if _fortune(values, null, low) < 1 / alpha:
        return -float(null.mean())
    for _ in range(40):  # the fortune falls as e rises
        middle = (low + high) / 2
        low, high = (middle, high) if _fortune(values, null, middle) >= 1 / alpha else (low, middle)
    return low


def _fortune(values: np.ndarray, null: np.ndarray, excess: float) -> float:
    """What 1 has become after betting on all videos that the accuracy is above null + excess, with each stake an equal part of it."""
    odds = (values - null - excess) / max(float(null.max()) + excess, 1e-12)  # at worst -1: all of the stake is lost
    with np.errstate(divide="ignore", over="ignore"):
        return float(np.exp(np.log1p(np.maximum(STAKES[:, None] * odds, -1.0)).sum(1)).mean())
