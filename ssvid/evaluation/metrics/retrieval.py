"""Retrieval metrics: R@k and mean average precision, and what a random order would give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

KS = (1, 5, 10, 20, 50)


def recall_at(relevant: np.ndarray, ks: Sequence[int] = KS) -> dict[int, float]:
    """R@k in percent: the share of queries with at least one right answer among the first k (0..100).

    relevant: bool (Q,K), whether the answer at each rank, best first, is right. A query without any right answer counts as missed.
    Raises ValueError for a k above K, which nobody could have looked at.
    """
    if max(ks) > relevant.shape[1]:
        raise ValueError(f"R@{max(ks)} asked of {relevant.shape[1]} ranked answers")
    found = np.maximum.accumulate(relevant, 1)
    return {k: 100 * float(found[:, k - 1].mean()) for k in ks}


def mean_average_precision(relevant: np.ndarray) -> float:
    """mAP in percent over the queries that have a right answer: relevant bool (Q,G), the whole gallery ranked, best first.

    The average precision of a query is the mean, over its right answers, of the share of right ones up to each.
    """
    asked = relevant[relevant.any(1)]
    if not len(asked):
        return 0.0
    precision = np.cumsum(asked, 1) / np.arange(1, asked.shape[1] + 1)
    return 100 * float(((precision * asked).sum(1) / asked.sum(1)).mean())


def recall_by_chance(right: np.ndarray, gallery: np.ndarray, ks: Sequence[int] = KS) -> dict[int, float]:
    """R@k in percent of a random order: right (Q,) right answers in a gallery of (Q,) items, for every query.

    1 - C(G-r, k) / C(G, k), the chance of at least one right answer among k drawn without replacement. It is well above zero: with 101
    classes of equal size, R@50 of a random order is 39.
    """
    chances = {}
    for k in ks:
        drawn = np.arange(k)
        left = np.maximum(gallery[:, None] - drawn, 1)
        missed = np.prod(np.clip((left - right[:, None]) / left, 0, 1), 1)
        chances[k] = 100 * float((1 - missed).mean())
    return chances
