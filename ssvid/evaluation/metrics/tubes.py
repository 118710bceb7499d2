"""How well boxes over time match: overlap of boxes, of stretches of time, and of tubes.

A tube is a box in every frame in which something is seen: float (T,4) left, top, right, bottom, NaN where it is not. The overlap of two
tubes is the mean overlap of their boxes over all frames in which either is (Jain et al., CVPR 2014; used on UCF101-24 and THUMOS13).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def box_overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union (...,) of boxes (...,4), 0..1; 0 where one of the two is NaN or has no area."""
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    common = np.clip(sides, 0, None).prod(-1)
    union = _area(one) + _area(other) - common
    with np.errstate(invalid="ignore", divide="ignore"):
        result: np.ndarray = np.nan_to_num(np.where(union > 0, common / union, 0.0))
    return result


def tube_overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Mean overlap of two tubes (T,4) over the frames in which either is; 1 where neither ever is."""
    either = ~np.isnan(one[:, 0]) | ~np.isnan(other[:, 0])
    return float(box_overlap(one, other)[either].mean()) if either.any() else 1.0


def stretch_overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Intersection over union of two stretches of time (start, end)."""
    common = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    union = (one[1] - one[0]) + (other[1] - other[0]) - common
    return common / union if union > 0 else 0.0


def tube_of_masks(masks: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
    """The tube (T,4) around all pixels of some objects in masks of ids (T,H,W)."""
    tube = np.full((len(masks), 4), np.nan)
    for t, mask in enumerate(np.isin(masks, numbers)):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            tube[t] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return tube


def moving_objects(masks: np.ndarray, share: float = 0.25) -> list[int]:
    """Objects of masks of ids (T,H,W) whose pixels change, for their size, at least `share` times as much as those of the one that moves
    most. Raises ValueError without objects."""
    numbers = [int(number) for number in np.unique(masks) if number]
    if not numbers:
        raise ValueError("no object in the masks")
    changes = {}
    for number in numbers:
        seen = masks == number
        changes[number] = float((seen[1:] != seen[:-1]).sum() / max(seen.sum(), 1))
    return [number for number in numbers if changes[number] >= share * max(changes.values())]


def tubes_of_action(masks: np.ndarray) -> list[np.ndarray]:
    """What a tube around an action may be, in masks of ids (T,H,W): around each object that moves, or around all of them together.

    An action is one thing that turns as well as a heap that is scattered, and a label for a whole video does not say which.
    """
    numbers = moving_objects(masks)
    groups = [[number] for number in numbers] + ([numbers] if len(numbers) > 1 else [])
    return [tube_of_masks(masks, group) for group in groups]


def _area(boxes: np.ndarray) -> np.ndarray:
    area: np.ndarray = np.nan_to_num(np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(-1))
    return area
