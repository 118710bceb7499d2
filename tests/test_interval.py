"""The statistics of the audit: confidence intervals of few accuracies of any distribution, and predictions from padding."""

from __future__ import annotations

import numpy as np
import pytest

from ssvid.audit.confidence_interval import confidence_interval
from ssvid.audit.padding_check import guess_from_padding, is_padded

ALPHA = 0.01 / 18  # as strict as in an audit of all checks


def test_interval_is_right_for_few_values_of_any_kind():
    assert (
        confidence_interval(np.full(64, 0.5), 0.5, ALPHA)[0]
        < 0.5
        < confidence_interval(np.full(64, 0.5), 0.5, ALPHA)[1]
    )
    assert confidence_interval(np.ones(4), 0.5, ALPHA)[0] < 0.5  # four of four is luck
    assert confidence_interval(np.ones(24), 0.5, ALPHA)[0] > 0.5
    assert confidence_interval(np.zeros(24), 0.5, ALPHA)[1] < 0.5
    assert confidence_interval(np.full(64, 0.06), 1 / 49, ALPHA)[0] > 1 / 49  # a share of many nodes hardly varies
    low, high = confidence_interval(np.r_[np.ones(40), np.zeros(24)], 0.5, ALPHA)
    assert low < 0.5 < 40 / 64 < high < 1
    assert confidence_interval(np.r_[np.ones(24), np.zeros(40)], 0.5, ALPHA) == pytest.approx((1 - high, 1 - low))
    chances = np.r_[np.full(32, 0.2), np.full(32, 0.8)]  # what guessing scores may differ from video to video
    assert (
        confidence_interval(chances, chances, ALPHA)[0]
        < 0.5
        < confidence_interval(np.minimum(chances + 0.2, 1), chances, ALPHA)[0]
    )
    sure = np.r_[np.full(60, 0.2), np.ones(4)]  # where guessing is always right, accuracy shows nothing
    assert confidence_interval(np.full(64, 0.9), sure, ALPHA)[1] < 1


@pytest.mark.parametrize(
    ("values", "weights"), [([0, 1], [0.5, 0.5]), ([0, 0.5, 1], [0.25, 0.5, 0.25]), ([0, 1], [23 / 24, 1 / 24])]
)
def test_interval_misses_no_more_often_than_it_says(values, weights):
    rng, mean = np.random.default_rng(0), float(np.dot(values, weights))
    drawn = rng.choice(values, (300, 48), p=weights)
    ends = np.array([confidence_interval(row, mean, 0.05) for row in drawn])
    assert (ends[:, 0] > mean).mean() <= 0.05
    assert (ends[:, 1] < mean).mean() <= 0.05


def test_padding_is_found_in_the_frame_indices():
    assert not is_padded(np.arange(0, 16, 2))
    assert not is_padded(np.arange(8)[::-1])
    assert not is_padded(np.array([4, 0, 2]))  # shuffled
    assert is_padded(np.array([5, 6, 7, 7, 7]))
    assert is_padded(np.array([4, 6, 8, 10, 12, 1, 2, 3]))  # from the beginning again
    even = np.array([[[3, 1], [3, 1]]] * 12)  # four clips of each class, one of them padded
    right, chance = guess_from_padding(even)
    assert right.mean() == chance == 0.5
    right, chance = guess_from_padding(np.array([[[4, 0], [1, 3]]] * 12))
    assert chance == 0.5
    assert right == pytest.approx(7 / 8)
