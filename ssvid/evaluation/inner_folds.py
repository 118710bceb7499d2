"""Folds within the training videos to choose hyper-parameters on: groups never straddle them, rare classes do not end the choice.

A held-out video says something about a hyper-parameter only if the rest of the training videos know its class. One that is the only video
of its class (or all of whose class is in one group) therefore trains in every inner fold and is held out in none; `unvalidated` counts
these, for the table to say.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedKFold

from ssvid.data.video_record import VideoRecord
from ssvid.errors import some

INNER = 5  # folds, at most
Fold = tuple[np.ndarray, np.ndarray]


def labels_of(videos: Sequence[VideoRecord]) -> np.ndarray:
    """Labels (N,) of the videos."""
    return np.array([video.label for video in videos])


def groups_of(videos: Sequence[VideoRecord], positions: np.ndarray) -> np.ndarray | None:
    """Groups (n,) of the videos at these positions; a video without one is its own. None where no video has a group."""
    groups = [videos[position].group for position in positions]
    if not any(groups):
        return None
    return np.array([f"of {group}" if group else f"alone {place}" for place, group in enumerate(groups)])


def inner_folds(labels: np.ndarray, groups: np.ndarray | None, seed: int = 0) -> list[Fold]:
    """Folds (train, held out) within n training videos, to choose hyper-parameters on.

    groups: (n,), None for none; no group is both in a fold's training and in its held-out part. Every class that a fold holds out, it
    trains on. Empty where nothing can be validated so.
    """
    if len(set(labels)) < 2:
        return []
    folds = []
    for train, held_out in _parts(labels, groups, seed):
        known = held_out[np.isin(labels[held_out], labels[train])]
        if groups is None:
            train = np.setdiff1d(np.arange(len(labels)), known)
        if len(known) and len(set(labels[train])) > 1:
            folds.append((train, known))
    return folds


def _parts(labels: np.ndarray, groups: np.ndarray | None, seed: int) -> Iterable[Fold]:
    """All videos dealt into INNER parts or fewer, each held out once, by groups or else evenly by class."""
    if groups is not None:
        count = min(INNER, len(set(groups)))
        return GroupKFold(count).split(labels, labels, groups) if count > 1 else []
    counts = Counter(labels.tolist())
    count = min(INNER, max(counts.values()))
    if count < 2:
        return []
    with warnings.catch_warnings():  # a class of fewer videos than folds is held out in as many folds as it has videos
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return list(StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels))


def unvalidated(videos: Sequence[VideoRecord], folds: Sequence[Fold]) -> str:
    """What a table says of training videos that no inner fold can hold out; empty where every fold validates on all of its own.

    folds: the outer ones, (train, test) positions in `videos`.
    """
    labels, missing = labels_of(videos), set[int]()
    for train, _ in folds:
        inner = inner_folds(labels[train], groups_of(videos, train))
        seen = np.concatenate([held_out for _, held_out in inner]) if inner else np.zeros(0, int)
        missing |= set(np.delete(train, seen).tolist())
    if not missing:
        return ""
    classes = sorted({str(labels[position]) for position in missing})
    return (
        f"hyper-parameters are chosen without validating on {len(missing)} training videos ({some(classes)}), since without them or their "
        "group the class is gone from the rest"
    )
