"""Linear probe and nearest neighbours on frozen features, video level.

Features are standardised with the statistics of the training videos, clips averaged to one vector a video. The linear probe is a
logistic regression whose C is chosen by cross-validation on the training videos alone; k-NN votes among cosine neighbours with the
weights exp(similarity / 0.07) of DINO (arXiv 2104.14294). The split is the data set's own, or leave-one-group-out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssvid.data.index import VideoRecord
from ssvid.errors import DataError

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C of the logistic regression
NEIGHBOURS = 5
TEMPERATURE = 0.07


def run(features: np.ndarray, videos: Sequence[VideoRecord], seed: int = 0) -> Iterator[tuple[str, float]]:
    """Accuracies in percent, as ("linear", value) and ("knn", value).

    features: float (videos, clips, D), as `ssvid.evaluation.features.extract` gives them.
    Raises DataError when labels are missing or the data has no rule of splitting.
    """
    labels = np.array([video.label for video in videos])
    folds = list(split(videos))
    vectors = features.mean(1)
    right = {"linear": 0, "knn": 0}
    tested = 0
    for train, test in folds:
        groups = _groups(videos, train)
        right["linear"] += int(
            (linear(vectors[train], labels[train], vectors[test], groups, seed) == labels[test]).sum()
        )
        right["knn"] += int((nearest(vectors[train], labels[train], vectors[test]) == labels[test]).sum())
        tested += len(test)
    for name, count in right.items():
        yield name, 100 * count / tested


def split(videos: Sequence[VideoRecord]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(train, test) positions: the data set's own train and test (or val) videos, else each group left out once.

    Raises DataError where there is neither, where a video has no label, or where a class is missing from the training videos.
    """
    unlabelled = [video.path for video in videos if video.label is None]
    if unlabelled:
        raise DataError(
            f"{len(unlabelled)} videos have no label, the first: {unlabelled[0]}; put each class into a folder or give a CSV"
        )
    splits = np.array([video.split or "" for video in videos])
    groups = np.array([video.group or "" for video in videos])
    test_name = "test" if (splits == "test").any() else "val"
    if (splits == "train").any() and (splits == test_name).any():
        folds = [(np.flatnonzero(splits == "train"), np.flatnonzero(splits == test_name))]
    elif len(set(groups)) > 1 and "" not in groups:
        folds = [(np.flatnonzero(groups != group), np.flatnonzero(groups == group)) for group in sorted(set(groups))]
    else:
        raise DataError(
            "no way to split the videos: put them into train/ and test/, or give a CSV with a split or group column"
        )
    labels = np.array([video.label for video in videos])
    for train, test in folds:
        unseen = set(labels[test]) - set(labels[train])
        if unseen:
            raise DataError(f"class {sorted(unseen)[0]!r} has test videos but no training video")
        yield train, test


def protocol(videos: Sequence[VideoRecord]) -> str:
    """The split in words, for the table."""
    folds = list(split(videos))
    if len(folds) == 1:
        return f"own split, {len(folds[0][0])} train, {len(folds[0][1])} test"
    return f"leave one group out, {len(folds)} folds, {len(videos)} videos"


def linear(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, groups: np.ndarray | None, seed: int = 0
) -> np.ndarray:
    """Labels predicted for `test` (N,D) by a standardised logistic regression on `train`; groups never straddle the inner folds."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    smallest = int(np.unique(labels, return_counts=True)[1].min())
    if groups is not None and len(set(groups)) > 2:
        inner = list(GroupKFold(min(5, len(set(groups)))).split(train, labels, groups))
    elif smallest > 1:
        inner = list(StratifiedKFold(min(5, smallest), shuffle=True, random_state=seed).split(train, labels))
    else:  # one video a class: nothing to choose C on
        return model.set_params(logisticregression__C=STRENGTHS[2]).fit(train, labels).predict(test)
    search = GridSearchCV(model, {"logisticregression__C": STRENGTHS}, cv=inner)
    return search.fit(train, labels).predict(test)


def nearest(train: np.ndarray, labels: np.ndarray, test: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """Labels voted for `test` (N,D) by its k cosine neighbours in `train`, after centring on the training mean."""
    centre = train.mean(0)
    train, test = _unit(train - centre), _unit(test - centre)
    distance, neighbours = (
        NearestNeighbors(n_neighbors=min(k, len(train)), algorithm="brute").fit(train).kneighbors(test)
    )
    similarity = 1 - distance**2 / 2  # of unit vectors
    classes, codes = np.unique(labels, return_inverse=True)
    votes = np.zeros((len(test), len(classes)))
    np.add.at(votes, (np.arange(len(test))[:, None], codes[neighbours]), np.exp(similarity / TEMPERATURE))
    return classes[votes.argmax(1)]


def chance(videos: Sequence[VideoRecord]) -> float:
    """Accuracy of guessing in percent: the share of the most frequent class among the test videos, classes known from training."""
    right = tested = 0
    labels = np.array([video.label for video in videos])
    for train, test in split(videos):
        names, counts = np.unique(labels[train], return_counts=True)
        right += int((labels[test] == names[counts.argmax()]).sum())
        tested += len(test)
    return 100 * max(right / tested, 1 / len(set(labels)))


def _groups(videos: Sequence[VideoRecord], positions: np.ndarray) -> np.ndarray | None:
    groups = [videos[position].group for position in positions]
    return None if None in groups else np.array(groups)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
