"""PCK on people of three or four joints, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ssvid.evaluation.metrics import normalized_distances, pck

# three joints in the corners of a 60 x 80 box: its diagonal is 100 px, so a person's size is 60 px
PERSON = np.array([[10.0, 10.0], [70.0, 10.0], [10.0, 90.0]])
DOWN = np.array([0.0, 6.0])  # a tenth of that


def person(frames: int) -> np.ndarray:
    """The person standing still, (T,J,2)."""
    return np.repeat(PERSON[None], frames, 0)


def test_distances_are_shares_of_six_tenths_of_the_diagonal():
    truth = person(3)
    truth[2] *= 2  # the size is that of each frame
    distances = normalized_distances(truth + DOWN, truth)
    np.testing.assert_allclose(distances, [[np.nan] * 3, [0.1] * 3, [0.05] * 3])
    assert normalized_distances(truth, truth, all_frames=True)[0].tolist() == [0, 0, 0]


def test_a_threshold_includes_its_border():
    truth = person(2)
    found = pck([normalized_distances(truth + DOWN, truth)], (0.09, 0.1))
    assert (found[0.09].mean, found[0.1].mean) == (0, 100)


def test_the_mean_is_over_joints_not_over_pixels():
    truth = person(5)
    moved = truth + np.array([30, 0])
    moved[:, 0] = truth[:, 0]
    moved[3:, 1, 0] = -1  # two frames of the second joint are not counted
    moved[1, 1] = truth[1, 1]
    found = pck([normalized_distances(moved, truth)], (0.2,))[0.2]
    assert found.joints.tolist() == [100, 50, 0]
    assert found.mean == 50


def test_joints_predicted_out_of_sight_leave_the_box_and_the_count():
    truth, predicted = person(2), person(2) + DOWN
    predicted[1, 2] = -1  # what is left is a box of 60 x 0: size 36 px
    np.testing.assert_allclose(normalized_distances(predicted, truth)[1], [6 / 36, 6 / 36, np.nan])
    visible = np.array(
        [[True] * 3, [True, False, True]]
    )  # a box of 0 x 80: size 48 px; what is predicted does not matter
    np.testing.assert_allclose(normalized_distances(person(2) + DOWN, truth, visible)[1], [6 / 48, np.nan, 6 / 48])


def test_lost_and_unlabelled_joints():
    truth, predicted = person(2), person(2)
    predicted[1, 0] = np.nan  # lost: an error
    truth[1, 1] = np.nan  # nobody knows where it is
    found = pck([normalized_distances(predicted, truth)], (0.5,))[0.5]
    np.testing.assert_array_equal(found.joints, [0, np.nan, 100])
    assert found.mean == 50
    alone = np.full((2, 1, 2), 5.0)
    assert pck([normalized_distances(alone, alone)], (0.5,))[0.5].mean == 0  # one joint has no size to measure by
    assert np.isnan(pck([normalized_distances(person(1), person(1))])[0.1].mean)  # only the given frame


def test_videos_are_put_together():
    long, short = person(5), person(2)
    found = pck([normalized_distances(long, long), normalized_distances(short + 10 * DOWN, short)], (0.5,))[0.5]
    assert found.joints.tolist() == [80, 80, 80]


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 3, 2\).*\(5, 3, 2\)"):
        normalized_distances(person(4), person(5))
    with pytest.raises(ValueError, match=r"\(T,J,2\)"):
        normalized_distances(PERSON, PERSON)
    with pytest.raises(ValueError, match="visible"):
        normalized_distances(person(4), person(4), np.ones((4, 2), bool))
    with pytest.raises(ValueError, match="no video"):
        pck([])
