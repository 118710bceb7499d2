"""R@k and mAP by hand, and beside scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from ssvid.evaluation.metrics import mean_average_precision, recall_at, recall_by_chance


def test_by_hand():
    relevant = np.array([[1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 0]], bool)
    assert recall_at(relevant, (1, 2, 3, 4)) == {1: 25.0, 2: 50.0, 3: 75.0, 4: 75.0}
    # (1 + 2/4)/2, 1/3, -, (1/2 + 2/3)/2
    assert mean_average_precision(relevant) == pytest.approx(100 * np.mean([0.75, 1 / 3, 7 / 12]))


def test_map_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, relevant = rng.random((20, 50)), rng.random((20, 50)) < 0.2
    ranked = np.take_along_axis(relevant, np.argsort(-scores, 1), 1)
    expected = np.mean([average_precision_score(y, s) for y, s in zip(relevant, scores, strict=True) if y.any()])
    assert mean_average_precision(ranked) == pytest.approx(100 * expected)


def test_chance_is_what_random_orders_give():
    rng = np.random.default_rng(0)
    right, gallery = np.array([1, 3, 10]), np.array([20, 20, 20])
    tries = np.stack([rng.permuted(np.arange(20) < r) for r in right for _ in range(20000)])
    measured = recall_at(tries, (1, 5, 20))
    for k, value in recall_by_chance(right, gallery, (1, 5, 20)).items():
        assert value == pytest.approx(measured[k], abs=0.5)
    assert recall_by_chance(np.array([100]), np.array([10100]), (50,))[50] == pytest.approx(39.3, abs=0.2)


def test_a_rank_nobody_looked_at_is_refused():
    with pytest.raises(ValueError, match="R@50"):
        recall_at(np.ones((2, 10), bool))
