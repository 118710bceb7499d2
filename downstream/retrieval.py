"""Retrieval: do the nearest videos by frozen features show the same thing? R@k and mAP beside those of a random order.

R@k is the share of queries with at least one video of their class among the k nearest: with many videos a class it is high for any
order, so every column states its chance. Cosine throughout; nothing is trained, nothing is drawn, no video is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.errors import ConfigError, DataError
from ssvid.evaluation.adapter import Candidate, EvalContext, Score
from ssvid.evaluation.folds import features_by_fold, vectors_by_fold
from ssvid.evaluation.inner_folds import labels_of
from ssvid.evaluation.metrics import KS, average_precision, mean_percent, recall_at, recall_by_chance
from ssvid.files import cache_folder
from ssvid.search.ann import QUERIES, exact
from ssvid.search.encode import WHOLE, Encoder, clip_vectors, video_segments
from ssvid.search.near_duplicates import make_copies
from ssvid.search.store import unit
from ssvid.search.whitening import Whitening
from ssvid.zoo.backbone import Backbone

PROTOCOLS = {
    "video": {
        "summary": "Nearest training videos of every test video: R@k, mAP",
        "after": "common use",
        "differs": "mean of the clips, centred on the training mean, cosine; all videos of the split, as many clips as the table says",
        "trains": "nothing",
        "ranks": True,
    },
    "loo": {
        "summary": "Nearest among all other videos of every video: R@k, mAP",
        "after": "leave-one-out",
        "differs": "as video, but without a split; leave_out_group=true leaves out the clips of the query's own recording",
        "trains": "nothing",
        "ranks": True,
    },
    "vcop": {
        "summary": "Nearest training videos by unpooled features: R@k, mAP",
        "after": "VCOP (Xu et al., CVPR 2019) and those who compare with it: VCP, PRP, Pace, IIC",
        "differs": "10 consecutive clips a video, maximum over 2 x 2 cells, all cells as one vector, mean, cosine, not centred, as there; "
        "no sample is dropped where its loader dropped up to seven, the crop is the whole short side, "
        "and pixels are normalised as the backbone is used to",
        "trains": "nothing",
        "ranks": True,
    },
    "coclr": {
        "summary": "Nearest training videos, each split centred on its own mean: R@k, mAP",
        "after": "CoCLR (arXiv 2010.09709)",
        "differs": "all half-overlapping windows, mean, each split less its own mean, L2, as there; no random colours in the test view, "
        "short videos are repeated evenly and not padded or left out",
        "trains": "nothing",
        "ranks": True,
    },
    "copy": {
        "summary": "Copies that are re-encoded, cropped and half as large: is the original found first?",
        "after": "ours",
        "needs_labels": False,
        "needs_classes": False,
        "differs": "needs no labels: gallery and queries are all videos, and the right answer is one only; clips side by side (unit=video: "
        "their mean), whitened on the gallery",
        "trains": "nothing",
        "ranks": True,
    },
}


class Ranking(NamedTuple):
    """Ranked answers of some queries: positions of the gallery's videos for every query (Q,G), best first, and of the queries (Q,).

    An answer that is left out is -1 and stands last. A protocol gives its queries in blocks, so that no order of all of them is held.
    """

    order: np.ndarray
    queries: np.ndarray


def ranking_scores(context: EvalContext, rankings: Iterable[Ranking]) -> Iterator[Score]:
    """Scores "PROTOCOL R@1" ... as far as the gallery goes and "PROTOCOL mAP", over the queries of all rankings, with the chance of each.

    R@1 predicts the class of the nearest video. Memory is that of one block of queries.
    Raises DataError where a query has nothing to be compared with.
    """
    protocol, (names, codes) = context.protocol, np.unique(labels_of(context.videos), return_inverse=True)
    first, right, gallery, precisions = [], [], [], []
    predicted: dict[int, str] = {}
    for order, queries in rankings:
        there = order >= 0
        if not there[:, 0].all():
            raise DataError(
                f"{protocol}: a query has no video left to be compared with; use another split or keep its group"
            )
        relevant = (codes[order] == codes[queries][:, None]) & there
        first.append(relevant[:, : KS[-1]].copy())
        right.append(relevant.sum(1))
        gallery.append(there.sum(1))
        precisions.append(average_precision(relevant))
        nearest = zip(queries, names[codes[order[:, 0]]], strict=True)
        predicted |= {context.videos[query].id: str(name) for query, name in nearest}
    counts = np.concatenate(right), np.concatenate(gallery)
    ks = [k for k in KS if k <= counts[1].min()]
    chances = recall_by_chance(*counts, ks)
    for k, value in recall_at(np.concatenate([part[:, : ks[-1]] for part in first]), ks).items():
        yield Score(f"{protocol} R@{k}", value, chances[k], predicted if k == 1 else {})
    yield Score(f"{protocol} mAP", mean_percent(np.concatenate(precisions)), precision_by_chance(*counts), {})


def precision_by_chance(right: np.ndarray, gallery: np.ndarray) -> float:
    """mAP in percent that a random order has on average: right (Q,) right answers among (Q,) items; queries without any do not count.

    The i-th of G places is right with R / G, and then 1 + (i - 1)(R - 1) / (G - 1) of the first i are.
    """
    harmonics = {g: float((1 / np.arange(1, g + 1)).sum()) for g in np.unique(gallery).tolist()}
    means = []
    for r, g in zip(right, gallery, strict=True):
        if r:
            means.append((harmonics[int(g)] + (r - 1) / max(g - 1, 1) * (g - harmonics[int(g)])) / g)
    return 100 * float(np.mean(means)) if means else 0.0


def space_of(gallery: np.ndarray, how: str) -> Whitening:
    """The space of a gallery's vectors (G,D). Raises ConfigError as `Whitening.fit` does."""
    return Whitening.fit([gallery], len(gallery), gallery.shape[1], how)


def ranked(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Columns (Q,G) of the gallery (G,D) in the order of their cosine with each query (Q,D), best first."""
    return exact(unit(gallery), unit(queries), len(gallery))[1]


def ranked_blocks(queries: np.ndarray, gallery: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows of some queries (n,), their order (n,G) as `ranked` gives it), until all have been asked: (Q,G) is never held."""
    for first in range(0, len(queries), QUERIES):
        rows = np.arange(first, min(first + QUERIES, len(queries)))
        yield rows, ranked(queries[rows], gallery)


def video(candidate: Candidate, context: EvalContext, *, space: str = "centre") -> Iterator[Score]:
    """Test videos ask, training videos answer. space: how vectors are compared, as `Whitening.fit` takes it."""
    yield from ranking_scores(context, _split_rankings(candidate, context, space))


def loo(
    candidate: Candidate, context: EvalContext, *, space: str = "centre", leave_out_group: bool = False
) -> Iterator[Score]:
    """Every video asks, all others answer. space: as of `video`. leave_out_group: those of the query's own group do not answer."""
    yield from ranking_scores(context, _rankings_of_others(candidate, context, space, leave_out_group))


def vcop(candidate: Candidate, context: EvalContext, *, clips: int = 10) -> Iterator[Score]:
    """Test videos ask, training videos answer, by the unpooled features of `clips` clips."""
    if clips < 1:
        raise ConfigError("vcop.clips must be 1 or more")
    yield from ranking_scores(context, _unpooled_rankings(candidate, context, clips))


def coclr(candidate: Candidate, context: EvalContext) -> Iterator[Score]:
    """Test videos ask, training videos answer, each side centred on its own mean."""
    yield from ranking_scores(context, _window_rankings(candidate, context))


def copy(
    candidate: Candidate,
    context: EvalContext,
    *,
    unit: str = "concat",
    space: str = "whiten",
    crop: float = 0.8,
    scale: float = 0.5,
) -> Iterator[Score]:
    """Copies ask, the original videos answer. unit: what has a vector. crop, scale: of the copies' sides, as shares."""
    if unit not in WHOLE:
        raise ConfigError(f"copy: there is no unit {unit!r} of which a video has one; there are: {', '.join(WHOLE)}")
    if not (0 < crop <= 1 and 0 < scale <= 1):
        raise ConfigError("copy: crop and scale are shares, over 0 and at most 1")
    copied = make_copies(context.videos, cache_folder() / "copies", crop, scale, context.progress)
    clips, queries = (
        next(features_by_fold(candidate, replace(context, videos=videos)))[np.arange(len(videos))]
        for videos in (context.videos, copied)
    )
    if unit == "concat":
        clips, queries = clips.reshape(len(clips), 1, -1), queries.reshape(len(queries), 1, -1)
    move = space_of(clips.mean(1), space)
    ks = [k for k in (1, 5) if k <= len(clips)]
    blocks = ranked_blocks(move(queries.mean(1)), move(clips.mean(1)))
    found = np.concatenate([order[:, : ks[-1]] == rows[:, None] for rows, order in blocks])
    for k, value in recall_at(found, ks).items():
        yield Score(f"{context.protocol} R@{k}", value, 100 * k / len(clips), {})


def _split_rankings(candidate: Candidate, context: EvalContext, space: str) -> Iterator[Ranking]:
    for (train, test), (gallery, queries) in zip(context.folds, vectors_by_fold(candidate, context), strict=True):
        move = space_of(gallery, space)
        yield from _rankings(move(queries), move(gallery), test, train)


def _rankings_of_others(
    candidate: Candidate, context: EvalContext, space: str, leave_out_group: bool
) -> Iterator[Ranking]:
    if candidate.per_fold:
        raise DataError("loo has no folds, so no weights can be trained on their labels")
    vectors = next(features_by_fold(candidate, context)).clip_means()
    groups = [video.group for video in context.videos]
    if leave_out_group and None in groups:
        raise DataError("loo.leave_out_group: some videos have no group; give a layout or a CSV that has groups")
    vectors = space_of(vectors, space)(vectors)
    codes = np.arange(len(vectors))  # one of its own for each, or for each group
    if leave_out_group:
        codes = np.unique([str(group) for group in groups], return_inverse=True)[1]
    for rows, order in ranked_blocks(vectors, vectors):
        out = codes[order] == codes[rows][:, None]
        last = np.argsort(out, 1, kind="stable")  # what is left out goes to the end
        yield Ranking(np.where(np.take_along_axis(out, last, 1), -1, np.take_along_axis(order, last, 1)), rows)


def _unpooled_rankings(candidate: Candidate, context: EvalContext, clips: int) -> Iterator[Ranking]:
    view = replace(context.view, clips=clips, stride=1, pool="none")
    unpooled = replace(candidate, make=lambda *fold: Unpooled.of(candidate.make(*fold)))
    for (train, test), (gallery, queries) in zip(context.folds, vectors_by_fold(unpooled, context, view), strict=True):
        yield from _rankings(queries, gallery, test, train)


def _window_rankings(candidate: Candidate, context: EvalContext) -> Iterator[Ranking]:
    vectors = None
    for fold, (train, test) in enumerate(context.folds):
        if vectors is None or candidate.per_fold:
            vectors = _window_means(candidate.backbone(fold), context)
        queries, gallery = (vectors[part] - vectors[part].mean(0) for part in (test, train))
        yield from _rankings(queries, gallery, test, train)


def _rankings(queries: np.ndarray, gallery: np.ndarray, test: np.ndarray, train: np.ndarray) -> Iterator[Ranking]:
    """test, train: positions of the queries and of the gallery among all videos."""
    return (Ranking(train[order], test[rows]) for rows, order in ranked_blocks(queries, gallery))


def _window_means(backbone: Backbone, context: EvalContext) -> np.ndarray:
    """Mean (N,D) over all half-overlapping windows of every video."""
    encoder = Encoder(backbone, "", context.view, "clip", context.device, context.workers)
    indices = [video_segments(video, context.view, "clip").indices for video in context.videos]
    means = []
    for position, vectors in clip_vectors(encoder, context.videos, indices):
        means.append(vectors.mean(0))
        if context.progress:
            context.progress("windows", position + 1, len(indices))
    return np.stack(means)


class Unpooled(nn.Module):
    """A trunk followed by the maximum over 2 x 2 cells of every step, as VCOP has it: (B,3,T,H,W) -> (B,D,t,h/2,w/2)."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: Tensor) -> Tensor:
        """Encode and pool; a map of one cell stays."""
        features = self.trunk(x)
        return F.max_pool3d(features, (1, min(2, features.shape[3]), min(2, features.shape[4])))

    @classmethod
    def of(cls, backbone: Backbone) -> Backbone:
        """The backbone with such a trunk."""
        return Backbone(cls(backbone.trunk), backbone.info)
