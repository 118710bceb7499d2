"""Simple classifiers on frozen features: logistic regression, linear SVM, nearest neighbours, and a few labels only.

The clips of a video are averaged to one vector. What a classifier has to be told (C, the number of neighbours) is chosen on the training
videos alone, with groups kept together. C of the logistic regression and of the SVM is in scikit-learn's meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import numpy as np
from sklearn.base import ClassifierMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from ssvid.errors import ConfigError
from ssvid.evaluation.adapter import Candidate, EvalContext, Score, find_protocol
from ssvid.evaluation.folds import accuracy, groups_of, inner_folds, labels_of, vectors_by_fold

PROTOCOLS = {
    "linear": {
        "summary": "Logistic regression on frozen features",
        "after": "common use; scikit-learn's LogisticRegression",
        "differs": "standardised, to convergence, C by cross-validation on the training videos; linear_sgd trains by SGD instead",
        "trains": "head",
        "options": {"strengths": (1e-4, 1e-3, 1e-2, 1e-1, 1.0)},
    },
    "svm": {
        "summary": "Linear SVM on frozen features",
        "after": "common use; scikit-learn's SVC, one class against one",
        "differs": "standardised, not L2-normalised; C by cross-validation on the training videos",
        "trains": "head",
        "options": {"strengths": (1e-4, 1e-3, 1e-2, 1e-1, 1.0)},
    },
    "knn": {
        "summary": "Cosine nearest neighbours, weighted votes",
        "after": "DINO (arXiv 2104.14294)",
        "differs": "centred on the training mean; k chosen on the training videos, where DINO reports the best k of the test",
        "trains": "nothing",
        "options": {"neighbours": (1, 2, 5, 10, 20, 50, 100, 200), "temperature": 0.07, "centre": True},
    },
    "knn_dino": {
        "summary": "Cosine nearest neighbours with DINO's numbers",
        "after": "DINO (arXiv 2104.14294)",
        "differs": "k of 10, 20, 100, 200 chosen on the training videos, where DINO reports the best of the test; not centred, as there",
        "trains": "nothing",
        "options": {"neighbours": (10, 20, 100, 200), "temperature": 0.07, "centre": False},
    },
    "few": {
        "summary": "A few labels a class: logistic regression on frozen features, a curve",
        "after": "SEVERE's lesson (arXiv 2203.14221): ranks change with the number of labels",
        "differs": "mean over draws, which are the same for every model of a seed; C is fixed, as nothing is left to choose it on; "
        "standardised with all training videos, whose other labels stay unseen",
        "trains": "head",
        "options": {"shots": (1, 2, 5, 10, 20, 50, 100), "draws": 5, "strength": 0.01},
    },
}

Classify = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, int], np.ndarray]


def run(protocol: str, candidate: Candidate, context: EvalContext) -> Iterator[Score]:
    """Scores of a protocol: one of its own name, or "few@1", "few@2" ... as far as the training videos go.

    Raises ConfigError for an unknown option or a value out of range.
    """
    options = find_protocol(protocol).settings(context.options)
    vectors = list(vectors_by_fold(candidate, context))
    if protocol == "few":
        yield from _few(vectors, context, **options)
        return
    classifiers: dict[str, Callable[..., np.ndarray]] = {
        "linear": partial(separate, partial(LogisticRegression, max_iter=5000)),
        "svm": partial(separate, partial(SVC, kernel="linear")),
        "knn": knn,
        "knn_dino": knn,
    }
    classify = partial(classifiers[protocol], **options)
    yield accuracy(protocol, context, partial(_told, vectors, context, classify))


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
    """Labels told for `test` (m,D) by a linear classifier on `train` (n,D), C being the best of `strengths` on inner folds.

    make: gives the classifier, one with an option C. Raises ConfigError for strengths that are not positive.
    """
    return _best(make(), train, labels, groups, seed, strengths).predict(test)


def knn(
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
            told = _votes(train[fit], labels[fit], train[held_out], counts, temperature, centre)
            right += (told == labels[held_out]).sum(1)
    return _votes(train, labels, test, [counts[int(right.argmax())]], temperature, centre)[0]


def _told(
    vectors: list[np.ndarray], context: EvalContext, classify: Classify, fold: int, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    labels, groups = labels_of(context.videos)[train], groups_of(context.videos, train)
    return classify(vectors[fold][train], labels, vectors[fold][test], groups, context.seed)


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


def _votes(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, counts: list[int], temperature: float, centre: bool
) -> np.ndarray:
    """Labels (len(counts), m) voted by as many neighbours as each of the ascending `counts` says."""
    middle = train.mean(0) if centre else 0
    train, test = _unit(train - middle), _unit(test - middle)
    counts = [min(count, len(train)) for count in counts]
    distance, found = NearestNeighbors(n_neighbors=counts[-1], algorithm="brute").fit(train).kneighbors(test)
    weights = np.exp((1 - distance**2 / 2) / temperature)  # the cosine, of unit vectors
    classes, codes = np.unique(labels, return_inverse=True)
    votes = np.zeros((len(test), len(classes)))
    told = []
    for first, last in pairwise([0, *counts]):
        np.add.at(votes, (np.arange(len(test))[:, None], codes[found[:, first:last]]), weights[:, first:last])
        told.append(classes[votes.argmax(1)])
    return np.stack(told)


def _few(
    vectors: list[np.ndarray], context: EvalContext, *, shots: tuple[int, ...], draws: int, strength: float
) -> Iterator[Score]:
    """A score for every number of labels a class that every fold has; the first ones of a draw are part of the larger ones."""
    if min(shots) < 1 or draws < 1 or strength <= 0:
        raise ConfigError("few: shots, draws and strength must be positive")
    labels = labels_of(context.videos)
    scaled = []
    for fold, (train, test) in enumerate(context.folds):
        scale = make_pipeline(*_scaling(vectors[fold][train])).fit(vectors[fold][train])
        scaled.append((scale.transform(vectors[fold][train]), scale.transform(vectors[fold][test])))

    def told(count: int, draw: int, fold: int, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        order = np.random.default_rng([context.seed, fold, draw]).permutation(len(train))
        seen = labels[train][order]
        shown = np.concatenate([order[seen == label][:count] for label in np.unique(seen)])
        model = LogisticRegression(C=strength, max_iter=5000).fit(scaled[fold][0][shown], labels[train][shown])
        return model.predict(scaled[fold][1])

    most = min(int(np.unique(labels[train], return_counts=True)[1].min()) for train, _ in context.folds)
    for count in sorted(set(shots)):
        if count <= most:
            scores = [accuracy(f"few@{count}", context, partial(told, count, draw)) for draw in range(draws)]
            yield scores[0]._replace(value=float(np.mean([score.value for score in scores])), predicted={})


def _scaling(train: np.ndarray) -> list[TransformerMixin]:
    """Standardisation; with more dimensions than videos followed by a rotation into the space of the videos, which changes no linear
    classifier and saves most of the time."""
    return [StandardScaler(), *([PCA(svd_solver="full")] if train.shape[1] > len(train) else [])]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
