"""Local descriptors of videos summed up by a codebook, and a linear SVM: what video classification was before networks.

The descriptors of a video are the cells of the frozen maps of its clips: HOG, HOF and MBH with `baseline_local`, or those of any network.
The codebook is fitted on descriptors of the training videos of each fold alone; it knows no label. A video is encoded by itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

from downstream.attentive import tokens_of
from ssvid.errors import ConfigError, require
from ssvid.evaluation.adapter import Candidate, EvalContext, Score
from ssvid.evaluation.features import Features
from ssvid.evaluation.folds import accuracy, features_by_fold
from ssvid.evaluation.inner_folds import groups_of, inner_folds, labels_of

PROTOCOLS = {
    "fisher": {
        "summary": "Linear SVM on Fisher vectors of the cells of frozen maps",
        "after": "improved Fisher vectors (Perronnin et al., ECCV 2010), as for trajectories (Wang and Schmid, ICCV 2013)",
        "differs": "64 Gaussians, where they take 256, of all descriptors side by side; with baseline_local these lie on a grid and not "
        "along trajectories; C by cross-validation on the training videos",
        "trains": "head",
    },
    "bag_of_words": {
        "summary": "Linear SVM on the visual words of the cells of frozen maps",
        "after": "bags of space-time features (Laptev et al., CVPR 2008; Wang et al., IJCV 2013)",
        "differs": "roots of shares and a linear SVM, where they have a chi-squared kernel; 1000 words of all descriptors side by side, "
        "where they have 4000 of each kind; C by cross-validation on the training videos",
        "trains": "head",
    },
}


class Codebook(Protocol):
    """What turns the descriptors (n,D) of a video into one vector of length 1."""

    def fit(self, descriptors: np.ndarray) -> None:
        """Learn from descriptors (n,D) of training videos."""

    def encode(self, descriptors: np.ndarray) -> np.ndarray:
        """The vector of one video."""
        ...


class FisherVectors:
    """How a mixture of Gaussians would have to change for a video: (n,D) -> (words*(1 + 2*dims),), for weights, means and deviations.

    The weights are among them since of descriptors that one Gaussian fits well nothing else is told (Sanchez et al., IJCV 2013).
    words: Gaussians. dims: to which the descriptors are rotated first. Each is fewer where the descriptors are few.
    """

    def __init__(self, words: int, dims: int, seed: int) -> None:
        self.words, self.dims, self.seed = words, dims, seed

    def fit(self, descriptors: np.ndarray) -> None:
        """Fit the rotation and the mixture."""
        count, width = descriptors.shape
        with np.errstate(invalid="ignore"):  # descriptors that are all alike have no variance to explain
            self.rotation = PCA(min(self.dims, width, count), random_state=self.seed).fit(descriptors)
        self.scale = max(float(np.sqrt(self.rotation.explained_variance_[0])), 1e-12)
        self.mixture = GaussianMixture(
            max(1, min(self.words, count // 4)), covariance_type="diag", reg_covar=1e-4, random_state=self.seed
        )
        with warnings.catch_warnings():  # a mixture that could still be better is a codebook too
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.mixture.fit(self._rotated(descriptors))

    def encode(self, descriptors: np.ndarray) -> np.ndarray:
        """Gradients of the likelihood by weights, means and deviations, their signed roots scaled to length 1."""
        x, mixture = self._rotated(descriptors), self.mixture
        share = mixture.predict_proba(x) / len(x)  # (n,words)
        deviation = np.sqrt(mixture.covariances_)
        total, first, second = share.sum(0)[:, None], share.T @ x, share.T @ x**2
        by_mean = (first - total * mixture.means_) / deviation
        spread = second - 2 * first * mixture.means_ + total * mixture.means_**2
        by_deviation = (spread / mixture.covariances_ - total) / np.sqrt(2)
        by_weight = total - mixture.weights_[:, None]
        gradients = np.hstack([by_weight, by_mean, by_deviation]) / np.sqrt(mixture.weights_)[:, None]
        return _unit(np.sign(gradients) * np.sqrt(np.abs(gradients)))

    def _rotated(self, descriptors: np.ndarray) -> np.ndarray:
        result: np.ndarray = self.rotation.transform(descriptors) / self.scale
        return result


class BagOfWords:
    """Shares of the words that a video's descriptors are nearest to, as roots: (n,D) -> (words,).

    words: of the codebook, fewer where the descriptors are few.
    """

    def __init__(self, words: int, seed: int) -> None:
        self.words, self.seed = words, seed

    def fit(self, descriptors: np.ndarray) -> None:
        """Find the words by k-means."""
        words = max(1, min(self.words, len(descriptors) // 4))
        self.means = MiniBatchKMeans(words, batch_size=4096, n_init=1, random_state=self.seed)
        with warnings.catch_warnings():  # of descriptors that are alike there are fewer words
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.means.fit(descriptors)

    def encode(self, descriptors: np.ndarray) -> np.ndarray:
        """Roots of the shares."""
        counts = np.bincount(self.means.predict(descriptors), minlength=self.means.n_clusters)
        return _unit(np.sqrt(counts / counts.sum()))


def fisher(
    candidate: Candidate,
    context: EvalContext,
    *,
    words: int = 64,
    dims: int = 64,
    clips: int = 2,
    samples: int = 50_000,
    strengths: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0),
) -> Iterator[Score]:
    """One score. words: Gaussians. dims: of the descriptors. samples: descriptors that the codebook is fitted on.

    strengths: values of C to choose from. Raises ConfigError for numbers that are not positive.
    """
    require(1, words=words, dims=dims, clips=clips, samples=samples)
    yield _classified(candidate, context, FisherVectors(words, dims, context.seed), clips, samples, strengths)


def bag_of_words(
    candidate: Candidate,
    context: EvalContext,
    *,
    words: int = 1000,
    clips: int = 2,
    samples: int = 50_000,
    strengths: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0),
) -> Iterator[Score]:
    """One score. words: of the codebook. samples: descriptors that it is fitted on. strengths: values of C to choose from.

    Raises ConfigError for numbers that are not positive.
    """
    require(1, words=words, clips=clips, samples=samples)
    yield _classified(candidate, context, BagOfWords(words, context.seed), clips, samples, strengths)


def _classified(
    candidate: Candidate,
    context: EvalContext,
    codebook: Codebook,
    clips: int,
    samples: int,
    strengths: tuple[float, ...],
) -> Score:
    """Accuracy of a linear SVM of the encoded videos; the codebook is fitted anew in every fold."""
    if min(strengths) <= 0:
        raise ConfigError("strengths are values of C and must be positive")
    dim = candidate.backbone(0).info.dim
    features = features_by_fold(candidate, context, replace(context.view, clips=clips, pool="none"))

    def predict(fold: int, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        found = next(features)  # the folds are asked for in their order
        codebook.fit(drawn(found, train, dim, samples, context.seed))
        seen, unseen = (
            np.stack([codebook.encode(descriptors_of(found, position, dim)) for position in positions])
            for positions in (train, test)
        )
        labels, groups = labels_of(context.videos)[train], groups_of(context.videos, train)
        return separate(seen, labels, unseen, groups, context.seed, strengths)

    return accuracy(context.protocol, context, predict)


def descriptors_of(features: Features, position: int, dim: int) -> np.ndarray:
    """The cells (n,D) of all maps of one video; a video is read when it is asked for, so memory does not grow with their number."""
    result: np.ndarray = tokens_of(features[[position]], dim)[0]
    return result


def drawn(features: Features, positions: Sequence[int] | np.ndarray, dim: int, samples: int, seed: int) -> np.ndarray:
    """At most `samples` descriptors (n,D), as many of each video, one at least; the same for the same videos and seed."""
    each = max(1, samples // len(positions))
    chosen = []
    for position in positions:
        cells = descriptors_of(features, int(position), dim)
        order = np.random.default_rng([seed, int(position)]).permutation(len(cells))
        chosen.append(cells[order[:each]])
    return np.concatenate(chosen)


def separate(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    groups: np.ndarray | None,
    seed: int,
    strengths: tuple[float, ...],
) -> np.ndarray:
    """Labels predicted for `test` (m,D) by a linear SVM on `train` (n,D), C being the best on inner folds, the middle one without any."""
    make = partial(SVC, kernel="linear")
    folds = inner_folds(labels, groups, seed) if len(strengths) > 1 else []
    choices = sorted(strengths)
    model = GridSearchCV(make(), {"C": choices}, cv=folds) if folds else make(C=choices[len(choices) // 2])
    result: np.ndarray = model.fit(train, labels).predict(test)
    return result


def _unit(vector: np.ndarray) -> np.ndarray:
    """All numbers of an array as one vector of length 1."""
    flat = vector.ravel()
    result: np.ndarray = flat / max(float(np.linalg.norm(flat)), 1e-12)
    return result
