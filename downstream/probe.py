"""Simple classifiers on frozen features: logistic regression, linear SVM, nearest neighbours, and a few labels only.

The clips of a video are averaged to one vector. The hyper-parameters (C, the number of neighbours) are chosen on the training
videos alone, with groups kept together. C of the logistic regression and of the SVM is in scikit-learn's meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from sklearn.base import ClassifierMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from ssvid.errors import ConfigError
from ssvid.evaluation.adapter import Candidate, EvalContext, Score
from ssvid.evaluation.folds import accuracy, vectors_by_fold
from ssvid.evaluation.inner_folds import groups_of, inner_folds, labels_of
from ssvid.evaluation.saved_head import SavedHead

PROTOCOLS = {
    "linear": {
        "summary": "Logistic regression on frozen features",
        "after": "common use; scikit-learn's LogisticRegression",
        "differs": "standardised, to convergence, C by cross-validation on the training videos; linear_sgd trains by SGD instead",
        "trains": "head",
        "head": "linear_head",
    },
    "svm": {
        "summary": "Linear SVM on frozen features",
        "after": "common use; scikit-learn's SVC, one class against one",
        "differs": "standardised, not L2-normalised; C by cross-validation on the training videos",
        "trains": "head",
    },
    "knn": {
        "summary": "Cosine nearest neighbours, weighted votes",
        "after": "DINO (arXiv 2104.14294)",
        "differs": "centred on the training mean; k chosen on the training videos, where DINO reports the best k of the test",
        "trains": "nothing",
    },
    "knn_dino": {
        "summary": "Cosine nearest neighbours with DINO's numbers",
        "after": "DINO (arXiv 2104.14294)",
        "differs": "k of 10, 20, 100, 200 chosen on the training videos, where DINO reports the best of the test; not centred, as there",
        "trains": "nothing",
        "function": "knn",
        "defaults": {"neighbours": (10, 20, 100, 200), "centre": False},
    },
    "few": {
        "summary": "A few labels a class: logistic regression on frozen features, a curve",
        "after": "SEVERE's lesson (arXiv 2203.14221): ranks change with the number of labels",
        "differs": "mean over draws, which are the same for every model of a seed; C is fixed, as nothing is left to choose it on; "
        "standardised with all training videos, whose other labels stay unseen",
        "trains": "head",
    },
}

BLOCK, BYTES = 4096, 1 << 25  # vectors, and of what size at most, that are compared with as many at once

Classify = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, int], np.ndarray]


def linear(
    candidate: Candidate, context: EvalContext, *, strengths: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
) -> Iterator[Score]:
    """One score. strengths: values of C to choose from."""
    make = partial(LogisticRegression, max_iter=5000)
    yield _classified(candidate, context, partial(separate, make, strengths=strengths))


def linear_head(candidate: Candidate, context: EvalContext, *, strengths: tuple[float, ...]) -> SavedHead:
    """The logistic regression of the first fold."""
    train, labels = context.folds[0][0], labels_of(context.videos)[context.folds[0][0]]
    seen, _ = next(vectors_by_fold(candidate, context))
    make = LogisticRegression(max_iter=5000)
    model = _best(make, seen, labels, groups_of(context.videos, train), context.seed, strengths)
    return SavedHead.affine(model.decision_function, seen.shape[1], model.classes_)


def svm(
    candidate: Candidate, context: EvalContext, *, strengths: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
) -> Iterator[Score]:
    """One score. strengths: values of C to choose from."""
    make = partial(SVC, kernel="linear")
    yield _classified(candidate, context, partial(separate, make, strengths=strengths))


def knn(
    candidate: Candidate,
    context: EvalContext,
    *,
    neighbours: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100, 200),
    temperature: float = 0.07,
    centre: bool = True,
) -> Iterator[Score]:
    """One score. neighbours: their number, to choose from. temperature: of the votes. centre: subtract the training mean."""
    vote = partial(vote_of_nearest, neighbours=neighbours, temperature=temperature, centre=centre)
    yield _classified(candidate, context, vote)


def few(
    candidate: Candidate,
    context: EvalContext,
    *,
    shots: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100),
    draws: int = 5,
    strength: float = 0.01,
) -> Iterator[Score]:
    """Scores "few@1", "few@2" ... for every number of labels a class that every fold has. strength: C.

    The first labels of a draw are part of the larger ones.
    """
    if min(shots) < 1 or draws < 1 or strength <= 0:
        raise ConfigError("few: shots, draws and strength must be positive")
    labels, scaled = labels_of(context.videos), []
    for train, test in vectors_by_fold(candidate, context):
        scale = make_pipeline(*_scaling(train)).fit(train)
        scaled.append((scale.transform(train), scale.transform(test)))

    def predict(count: int, draw: int, fold: int, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        order = np.random.default_rng([context.seed, fold, draw]).permutation(len(train))
        seen = labels[train][order]
        shown = np.concatenate([order[seen == label][:count] for label in np.unique(seen)])
        model = LogisticRegression(C=strength, max_iter=5000).fit(scaled[fold][0][shown], labels[train][shown])
        predicted: np.ndarray = model.predict(scaled[fold][1])
        return predicted

    most = min(int(np.unique(labels[train], return_counts=True)[1].min()) for train, _ in context.folds)
    for count in sorted(set(shots)):
        if count <= most:
            scores = [accuracy(f"few@{count}", context, partial(predict, count, draw)) for draw in range(draws)]
            yield scores[0]._replace(value=float(np.mean([score.value for score in scores])), predicted={})


def separate(
    make: Callable[[], ClassifierMixin],
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    groups: np.ndarray | None,
    seed: int = 0,
    *,
    strengths: tuple[float, ...],
) -> np.ndarray:
    """Labels predicted for `test` (m,D) by a linear classifier on `train` (n,D), C being the best of `strengths` on inner folds.

    make: gives the classifier, one with an option C. Raises ConfigError for strengths that are not positive.
    """
    result: np.ndarray = _best(make(), train, labels, groups, seed, strengths).predict(test)
    return result


def vote_of_nearest(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    groups: np.ndarray | None,
    seed: int = 0,
    *,
    neighbours: tuple[int, ...],
    temperature: float,
    centre: bool,
) -> np.ndarray:
    """Labels voted for `test` (m,D) by cosine neighbours in `train` (n,D), each with the weight exp(similarity / temperature).

    The number of neighbours is the best of `neighbours` on inner folds, the smaller where two are alike.
    Raises ConfigError for a number of neighbours or a temperature that is not positive.
    """
    if min(neighbours) < 1 or temperature <= 0:
        raise ConfigError("knn: neighbours and temperature must be positive")
    counts = sorted({min(count, len(train)) for count in neighbours})
    right = np.zeros(len(counts))
    if len(counts) > 1:
        for fit, held_out in inner_folds(labels, groups, seed):
            predicted = votes(train, labels, train[held_out], counts, temperature, centre, fit)
            right += (predicted == labels[held_out]).sum(1)
    result: np.ndarray = votes(train, labels, test, [counts[int(right.argmax())]], temperature, centre)[0]
    return result


def _classified(candidate: Candidate, context: EvalContext, classify: Classify) -> Score:
    """Accuracy of a classifier of the mean features of each video."""
    vectors = vectors_by_fold(candidate, context)

    def predict(fold: int, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        labels, groups = labels_of(context.videos)[train], groups_of(context.videos, train)
        seen, unseen = next(vectors)  # the folds are asked for in their order
        return classify(seen, labels, unseen, groups, context.seed)

    return accuracy(context.protocol, context, predict)


def _best(
    classifier: ClassifierMixin,
    train: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None,
    seed: int,
    strengths: tuple[float, ...],
) -> Pipeline:
    """The classifier behind a standardisation, fitted with the C that is best on inner folds (the middle one where there are none)."""
    if min(strengths) <= 0:
        raise ConfigError("strengths are values of C and must be positive")
    scaling = make_pipeline(*_scaling(train))  # once, not in every inner fold: it uses no label
    folds = inner_folds(labels, groups, seed) if len(strengths) > 1 else []
    if folds:
        classifier = GridSearchCV(classifier, {"C": sorted(strengths)}, cv=folds)
    else:
        classifier.set_params(C=sorted(strengths)[len(strengths) // 2])
    return make_pipeline(scaling, classifier.fit(scaling.fit_transform(train), labels))


def votes(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    counts: list[int],
    temperature: float,
    centre: bool,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Labels (len(counts), m) voted for `test` (m,D) by as many neighbours in `train` (n,D) as each of the ascending `counts` says.

    rows: which of `train` may be neighbours, None for all; an index takes no memory, where `train[rows]` would be another copy.
    """
    rows = np.arange(len(train)) if rows is None else rows
    middle = train.mean(0, where=np.isin(np.arange(len(train)), rows)[:, None]) if centre else np.zeros(1, train.dtype)
    counts = [min(count, len(rows)) for count in counts]
    blocks = _blocks(test, test)
    answers = [_nearest(train, rows, _unit(block - middle), counts[-1], middle) for block in blocks]
    cosine, found = (np.concatenate(part) for part in zip(*answers, strict=True))
    weights = np.exp(cosine.astype(np.float64) / temperature)
    classes, codes = np.unique(labels, return_inverse=True)
    sums = np.zeros((len(test), len(classes)))
    predicted = []
    for first, last in pairwise([0, *counts]):
        np.add.at(sums, (np.arange(len(test))[:, None], codes[found[:, first:last]]), weights[:, first:last])
        predicted.append(classes[sums.argmax(1)])
    return np.stack(predicted)


def _nearest(
    train: np.ndarray, rows: np.ndarray, queries: np.ndarray, count: int, middle: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and positions in `train` (m,count) of the nearest of its `rows` to unit vectors (m,D), the nearest first.

    Blocks of the rows are centred, scaled to length one and searched one after the other: all of them at once would be a second copy of
    the training vectors.
    """
    cosine, found = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), int)
    for block in _blocks(rows, train):
        score = torch.from_numpy(queries) @ torch.from_numpy(_unit(train[block] - middle)).T
        near, which = (part.numpy() for part in score.topk(min(count, len(block))))
        cosine, found = np.hstack([cosine, near]), np.hstack([found, block[which]])
        order = (-cosine).argsort(1, kind="stable")[:, :count]
        cosine, found = np.take_along_axis(cosine, order, 1), np.take_along_axis(found, order, 1)
    return cosine, found


def _blocks(rows: np.ndarray, vectors: np.ndarray) -> list[np.ndarray]:
    """Parts of rows (n,...), each as many as vectors (n,D) may be compared at once."""
    size = max(1, min(BLOCK, BYTES // vectors[:1].nbytes))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _scaling(train: np.ndarray) -> list[TransformerMixin]:
    """Standardisation; with more dimensions than videos followed by a rotation into the space of the videos, which changes no linear
    classifier and saves most of the time."""
    return [StandardScaler(), *([PCA(svd_solver="full")] if train.shape[1] > len(train) else [])]


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n,D) scaled to length one, float32."""
    result: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return result.astype(np.float32)
