"""Backbones trained from scratch with the labels of each fold: the weights of the row *supervised* of a table."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from ssvid.data.flow_cache import FlowCache, usual_gap
from ssvid.data.frame_cache import FrameCache
from ssvid.data.video_record import fingerprint
from ssvid.environment import package_version
from ssvid.evaluation.adapter import Candidate, EvalContext
from ssvid.evaluation.finetuning import Classifier, ClipSource, Recipe, augmentation, clip_source, train
from ssvid.evaluation.inner_folds import labels_of
from ssvid.files import cache_folder
from ssvid.training.run import save_weights
from ssvid.zoo.backbone import Backbone
from ssvid.zoo.modality import slow_flow


def supervised(candidate: Candidate, context: EvalContext, recipe: Recipe) -> Candidate:
    """A candidate of the same name, trained from its weights with the labels of each fold's training videos: for frozen protocols.

    candidate: with random weights. context: videos, folds, view and seed of the training; its options belong to another protocol.
    The weights of a fold are trained when they are first asked for and kept in the cache, where fine-tuning finds them too.
    """

    def trained(fold: int) -> Backbone:
        return train_fold(candidate.name, candidate.make(), context, recipe, fold, keep=True).backbone.cpu().eval()

    return replace(candidate, make=trained, per_fold=True)


def train_fold(
    what: str, backbone: Backbone, context: EvalContext, recipe: Recipe, fold: int, keep: bool = False
) -> Classifier:
    """A backbone with a head, trained on the training videos of a fold, or as it was kept after that. keep: whether to keep it."""
    positions, path = context.folds[fold][0], classifier_file(backbone, context, recipe, fold)
    classes, codes = np.unique(labels_of(context.videos)[positions], return_inverse=True)
    if path.exists():
        model = Classifier(backbone, len(classes), recipe.dropout)
        model.load_state_dict(load_file(path))
        return model.eval()
    if len(context.folds) > 1:
        what = f"{what}, fold {fold + 1} of {len(context.folds)}"
    source = fold_clips(context, recipe, backbone)
    model = train(backbone, source, positions, codes, recipe, context.seed, context.progress, what)
    if keep:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(path, dict(model.state_dict()))
    return model


def fold_clips(context: EvalContext, recipe: Recipe, backbone: Backbone) -> ClipSource:
    """Where the clips of a context come from. Flow that is slow to work out is, once a video, for a backbone that takes it."""
    frame_cache = FrameCache(
        context.videos,
        augmentation(context.view.size, recipe).decode_size,
        workers=context.workers,
        progress=context.progress,
    )
    source = clip_source(frame_cache, context.view, recipe, context.device, context.flip)
    estimator = slow_flow(backbone)
    if estimator is None:
        return source
    gaps = [usual_gap(context.view.indices(video)) for video in context.videos]
    device = torch.device(context.device)
    flow_cache = FlowCache(frame_cache, estimator, gaps, device=device, progress=context.progress)
    return replace(source, flow_cache=flow_cache)


def classifier_file(backbone: Backbone, context: EvalContext, recipe: Recipe, fold: int) -> Path:
    """Where a classifier trained from random weights is kept; the name changes with all that decides them."""
    videos = [context.videos[position] for position in context.folds[fold][0]]
    facts = (fingerprint(videos), asdict(context.view), asdict(recipe), context.seed, context.flip)
    return cache_folder() / "classifiers" / f"{backbone.digest(*facts, package_version('ssvid'))[:24]}.safetensors"
