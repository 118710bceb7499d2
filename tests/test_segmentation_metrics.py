"""J, F and their statistics, and mIoU, on masks small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ssvid.evaluation.metrics import (
    ConfusionMatrix,
    MaskScores,
    contour_accuracy,
    davis_scores,
    davis_summary,
    mask_boundary,
    mean_recall_decay,
    region_similarity,
)


def box(top: int, left: int, bottom: int, right: int, height: int = 12, width: int = 17) -> np.ndarray:
    """A mask (H,W) of ones in rows top..bottom-1 and columns left..right-1."""
    mask = np.zeros((height, width), np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


EMPTY = box(0, 0, 0, 0)
FULL = box(0, 0, 12, 17)


def test_region_similarity():
    assert region_similarity(box(2, 2, 6, 6), box(4, 2, 8, 6)) == 8 / 24
    assert region_similarity(box(2, 2, 6, 6), box(2, 2, 6, 6)) == 1
    assert region_similarity(EMPTY, EMPTY) == 1
    assert region_similarity(EMPTY, box(0, 0, 1, 1)) == region_similarity(box(0, 0, 1, 1), EMPTY) == 0
    assert region_similarity(box(2, 2, 6, 6) * 255, box(2, 2, 6, 6)) == 1  # whatever is not 0 belongs to the mask
    ignored = box(2, 2, 4, 6) | box(6, 2, 8, 6)  # where the two differ
    assert region_similarity(box(2, 2, 6, 6), box(4, 2, 8, 6), ignored) == 1
    with pytest.raises(ValueError, match=r"\(12, 16\).*\(12, 17\)"):
        region_similarity(EMPTY[:, 1:], EMPTY)


def test_the_contour_is_one_pixel_wide_and_ends_at_the_border():
    expected = np.zeros((4, 5), bool)
    expected[0, 1:3] = expected[1:3, 0] = expected[2, 1:3] = expected[0, 0] = True
    expected[1:3, 2] = True
    assert (mask_boundary(box(1, 1, 3, 3, 4, 5).astype(bool)) == expected).all()
    corner = mask_boundary(
        box(0, 0, 2, 3, 4, 5).astype(bool)
    )  # on the border only its right and lower side are contour
    expected[:] = False
    expected[1, :3] = expected[0:2, 2] = True
    assert (corner == expected).all()
    last = mask_boundary(box(2, 3, 4, 5, 4, 5).astype(bool))  # the last row and column are handled by themselves
    expected[:] = False
    expected[1, 2:5] = expected[2:4, 2] = True
    assert (last == expected).all()
    assert not mask_boundary(np.ones((4, 5), bool)).any()


def test_contours_match_within_a_disk():
    truth = box(40, 50, 60, 90, 80, 160)  # the diagonal is 178.9 px, so the tolerance is ceil(1.43) = 2 px
    for rows, columns, score in ((1, 1, 1.0), (2, 0, 1.0), (0, 2, 1.0)):
        assert contour_accuracy(np.roll(truth, (rows, columns), (0, 1)), truth) == score
    # moved by 3 px to the right: the upright sides, 21 pixels each, do not match, but where the level ones of 41 pixels pass near:
    # a level side reaches 2 px up and down an upright one (3 of 21 rows at each end), and 2 px beyond its own ends
    moved = contour_accuracy(np.roll(truth, 3, 1), truth)
    perimeter, matched = 2 * 41 + 2 * 19, 0
    contour, other = (np.argwhere(mask_boundary(m.astype(bool))) for m in (np.roll(truth, 3, 1), truth))
    matched = sum((((point - other) ** 2).sum(1) <= 4).any() for point in contour)
    assert len(contour) == perimeter
    assert moved == pytest.approx(matched / perimeter)
    assert 0.6 < moved < 0.8
    assert contour_accuracy(truth, truth, tolerance=0) == 1
    assert contour_accuracy(np.roll(truth, 1, 1), truth, tolerance=0) < 1


def test_precision_and_recall_of_a_contour():
    truth = box(20, 30, 60, 70, 200, 200)  # tolerance 3 px
    both = truth | box(
        100, 100, 140, 140, 200, 200
    )  # one box too many: half of the predicted contour is right, all of the true is found
    assert contour_accuracy(both, truth) == contour_accuracy(truth, both) == pytest.approx(2 / 3)
    far = box(100, 100, 140, 140, 200, 200)
    assert contour_accuracy(far, truth) == 0


def test_masks_without_contour():
    mask = box(2, 2, 6, 6)
    assert contour_accuracy(EMPTY, EMPTY) == 1
    assert contour_accuracy(FULL, EMPTY) == 1  # a mask that fills the frame has no contour
    assert contour_accuracy(EMPTY, mask) == contour_accuracy(mask, EMPTY) == contour_accuracy(FULL, mask) == 0
    assert contour_accuracy(mask, EMPTY, ignored=FULL) == 1


def test_statistics_over_time():
    scores = np.array([1.0, 0.9, 0.8, 0.5, 0.4, 0.3, 0.2, 0.1])
    mean, recall, decay = mean_recall_decay(scores)
    assert mean == pytest.approx(scores.mean())
    assert recall == 3 / 8  # 0.5 itself is not above 0.5
    # borders 1, 2.75, 4.5, 6.25, 8 round to frames 1, 3, 5, 6, 8 (a half rounds up): frames 1-3 against 6-8
    assert decay == pytest.approx(0.9 - 0.2)
    # borders 1, 1.5, 2, 2.5, 3: both halves are rounded up, where NumPy alone would round to the even number
    assert mean_recall_decay(np.array([1.0, 0.6, 0.0])).decay == pytest.approx(0.8)
    assert mean_recall_decay(np.array([0.7])) == (0.7, 1.0, 0.0)
    assert np.isnan(mean_recall_decay(np.array([]))).all()
    long = np.concatenate([np.ones(500), np.zeros(500)])
    assert mean_recall_decay(long).decay == 1


def test_first_and_last_frame_and_absent_objects():
    first, second = box(1, 1, 5, 5), 2 * box(6, 8, 10, 12)
    truth = [first + second, first + second, first, first + second]
    nothing = [EMPTY, first, first, EMPTY]  # both ends are wrong and do not count
    scores = davis_scores(nothing, truth)
    assert (
        scores.J.tolist() == scores.F.tolist() == [[1, 1], [0, 1]]
    )  # where the second object is gone it is rightly not there
    assert davis_scores(nothing, truth, all_frames=True).J.tolist() == [[0, 1, 1, 0], [0, 0, 1, 0]]
    merged = davis_scores([EMPTY, first, first, EMPTY], truth, one_object=True)
    assert merged.J.tolist() == [[0.5, 1]]
    summary = davis_summary([scores, MaskScores(np.zeros((1, 3)), np.ones((1, 3)))])
    assert summary["J mean"] == pytest.approx((1 + 0.5 + 0) / 3)  # over the three objects, not over the two sequences
    assert summary["F mean"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert summary["J&F"] == pytest.approx((summary["J mean"] + summary["F mean"]) / 2)
    assert summary["J recall"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert summary["J decay"] == pytest.approx(-1 / 3)  # frame 1 of 2 against frame 2 of 2


def test_void_is_background_or_ignored():
    truth = box(2, 2, 6, 6)
    truth[2:4, 2:6] = 255
    prediction = box(2, 2, 6, 6)
    three = [[mask] * 3 for mask in (prediction, truth)]
    assert davis_scores(*three).J.tolist() == [[0.5]]
    assert (
        davis_scores(*three, ignore_void=True).J.tolist() == davis_scores(*three, ignore_void=True).F.tolist() == [[1]]
    )


def test_objects_are_counted_in_the_first_true_mask():
    one, two, later = box(1, 1, 5, 5), 2 * box(1, 1, 5, 5), 3 * box(8, 8, 10, 10)
    assert davis_scores([two] * 3, [two, two + later, two]).J.tolist() == [
        [1],
        [1],
    ]  # id 1 is nowhere, 3 comes too late
    with pytest.raises(ValueError, match="frame 1: predicted id 2, but the first true mask has 1 objects"):
        davis_scores([two] * 3, [one] * 3)
    with pytest.raises(ValueError, match="2 predicted masks for 3"):
        davis_scores([one] * 2, [one] * 3)
    with pytest.raises(ValueError, match="no masks"):
        davis_scores([], [])


def test_sequences_too_short_to_score_are_left_out():
    mask = box(1, 1, 5, 5)
    short = davis_scores([mask], [mask])
    assert short.J.shape == (1, 0)
    assert davis_scores([mask], [mask], all_frames=True).J.tolist() == [[1]]
    empty = davis_summary([davis_scores([mask] * 2, [mask] * 2)])
    assert np.isnan(list(empty.values())).all()
    assert davis_summary([short, davis_scores([EMPTY] * 3, [mask] * 3)])["J&F"] == 0


def test_miou_from_one_confusion_matrix():
    matrix = ConfusionMatrix(4)
    assert np.isnan(matrix.mean_iou())
    matrix.add(np.array([[0, 1], [1, 1]]), np.array([[0, 0], [1, 2]]))
    matrix.add(np.array([[0, 0], [0, 2]], np.uint8), np.array([[0, 255], [0, 2]], np.uint8))  # 255 is nobody's class
    assert matrix.counts.tolist() == [[3, 1, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    # not the mean of two frames: class 2 is 0 in the first, 1 in the second, and 1 of 2 pixels over both
    np.testing.assert_allclose(matrix.iou(), [3 / 4, 1 / 3, 1 / 2, np.nan])
    assert matrix.mean_iou() == pytest.approx((3 / 4 + 1 / 3 + 1 / 2) / 3)
    with pytest.raises(ValueError, match="0 to 4; there are 0 to 3"):
        matrix.add(np.array([[0, 4]]), np.array([[0, 3]]))
    with pytest.raises(ValueError, match=r"\(H,W\)"):
        matrix.add(np.zeros((2, 2, 3)), np.zeros((2, 2)))


def test_a_prediction_of_another_size_is_resized_to_the_truth():
    matrix = ConfusionMatrix(3)
    truth = np.array([[0, 1, 1, 2], [0, 1, 1, 2], [2, 2, 0, 0]])
    matrix.add(truth.repeat(3, 0).repeat(2, 1), truth)
    assert matrix.mean_iou() == 1
    matrix.add(np.array([[0, 2]]), np.array([[0, 0, 2, 2]] * 3))
    assert matrix.mean_iou() == 1
