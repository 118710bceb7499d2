"""Fine-tuning: a new linear head, all layers trained with labels, tested on several clips a video.

The clips are the table's view (frames, stride, size); what is named after a paper takes its optimiser, schedule, augmentation and way of
averaging from there. The last step counts, never the best on test or held-out videos, and no test video is left out for being short.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from ssvid.data.footage import Footage
from ssvid.data.index import fingerprint
from ssvid.data.scanning import cache_folder
from ssvid.evaluation.adapter import Score, Setting, Subject, find_protocol
from ssvid.evaluation.frozen import accuracy, labels_of
from ssvid.evaluation.tuning import Classifier, ClipSource, Recipe, augmentation, clip_source, predict, train
from ssvid.training.run import package_version, save_weights
from ssvid.zoo.backbone import Backbone, place

PROTOCOLS = {
    "*": {
        "trains": "all",
        "options": {
            "epochs": 10,
            "steps": 0,
            "batch": 16,
            "lr": 3e-3,
            "head_lr": 1.0,
            "layer_decay": 1.0,
            "optimizer": "adamw",
            "weight_decay": 0.02,
            "schedule": "cosine",
            "warmup": 0.1,
            "drops": (0.6, 0.8),
            "factor": 0.1,
            "dropout": 0.0,
            "area": (0.7, 1.0),
            "ratio": (0.75, 1.333),
            "flip": 0.5,
            "jitter": 0.0,
            "clips": 10,
            "average": "logits",
        },
    },
    "finetune": {
        "summary": "Fine-tuning, all layers: AdamW, warm-up and cosine, 10 clips",
        "after": "ours, for small networks and a minute's time",
        "differs": "10 epochs; the others run as long as their papers do",
    },
    "finetune_vcop": {
        "summary": "Fine-tuning as VCOP: SGD, constant rate, mean of logits",
        "after": "VCOP (CVPR 2019), train_classify.py; VCP, PRP and IIC follow it",
        "differs": "no videos are held out and the last epoch counts, where the best on 800 held-out videos does there; norms and biases "
        "are not decayed",
        "options": {
            "epochs": 150,
            "batch": 8,
            "lr": 1e-3,
            "optimizer": "sgd",
            "weight_decay": 5e-4,
            "schedule": "constant",
            "area": (0.766, 0.766),  # 112 px of 128
            "ratio": (1.0, 1.0),
            "flip": 0.0,
        },
    },
    "finetune_coclr": {
        "summary": "Fine-tuning as CoCLR: Adam, dropout 0.9, head at ten times the rate, mean of probabilities",
        "after": "CoCLR (arXiv 2010.09709), eval/main_classifier.py",
        "differs": "10 clips and the centre crop, where it takes every half-overlapping window and ten crops, and jitters test clips; the "
        "augmentation is ours",
        "options": {
            "epochs": 500,
            "batch": 32,
            "lr": 1e-4,
            "head_lr": 10.0,
            "optimizer": "adam",
            "weight_decay": 1e-3,
            "schedule": "drops",
            "drops": (0.8, 0.9),
            "dropout": 0.9,
            "average": "probabilities",
        },
    },
    "finetune_severe": {
        "summary": "Fine-tuning as SEVERE: Adam at 1e-4, strong crops",
        "after": "SEVERE (arXiv 2203.14221), action_recognition/configs",
        "differs": "160 epochs of one clip a video, where it has 16 of ten; the batch is ours",
        "options": {
            "epochs": 160,
            "lr": 1e-4,
            "optimizer": "adam",
            "weight_decay": 0.0,
            "schedule": "drops",
            "drops": (0.375, 0.625, 0.875),
            "factor": 0.3,
            "area": (0.08, 1.0),
            "jitter": 0.4,
        },
    },
    "finetune_slowfast": {
        "summary": "Fine-tuning as rho-MoCo and rho-BYOL: SGD, cosine, dropout 0.8, no weight decay",
        "after": "Feichtenhofer et al. (arXiv 2104.14558), SlowFast configs/contrastive_ssl",
        "differs": "one crop of each of 10 clips, where it takes three; augmentation and warm-up are ours",
        "options": {
            "epochs": 200,
            "batch": 64,
            "lr": 0.01,
            "optimizer": "sgd",
            "weight_decay": 0.0,
            "dropout": 0.8,
            "average": "probabilities",
        },
    },
    "finetune_videomae": {
        "summary": "Fine-tuning as VideoMAE: AdamW, rates that decay from layer to layer, 5 clips",
        "after": "VideoMAE (arXiv 2203.12602), its UCF101 script",
        "differs": "one crop of each clip, where it takes three; no drop path, one clip a video in each epoch; batch and warm-up are ours",
        "options": {
            "epochs": 100,
            "lr": 5e-4,
            "layer_decay": 0.7,
            "weight_decay": 0.05,
            "dropout": 0.5,
            "clips": 5,
            "average": "probabilities",
        },
    },
}


def run(protocol: str, subject: Subject, setting: Setting) -> Iterator[Score]:
    """One score named after the protocol. Raises ConfigError for an option out of range, VideoError for a file that cannot be read."""
    recipe = Recipe(**find_protocol(protocol).settings(setting.options))
    yield accuracy(protocol, setting, partial(_tuned, protocol, subject, setting, recipe))


def supervised(subject: Subject, setting: Setting, changes: Mapping[str, Any] | None = None) -> Subject:
    """A subject of the same name, trained from its weights with the labels of each fold's training videos: for frozen protocols.

    subject: with random weights. setting: videos, folds, view and seed of the training; its options are those of another protocol and
    are not looked at. changes: options of the protocol `finetune`, which is the recipe.
    The weights of a fold are trained when they are first asked for and kept in the cache, where fine-tuning finds them too.
    """
    recipe = Recipe(**find_protocol("finetune").settings(changes))

    def trained(fold: int) -> Backbone:
        return _trained(subject.name, subject.make(), setting, recipe, fold, keep=True).backbone.cpu().eval()

    return replace(subject, make=trained, per_fold=True)


def _tuned(
    protocol: str, subject: Subject, setting: Setting, recipe: Recipe, fold: int, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Labels told for the test videos of a fold after training on its other videos."""
    model = _trained(f"{protocol} {subject.name}", subject.backbone(fold), setting, recipe, fold)
    source = _source(model.backbone, setting, recipe)
    classes = np.unique(labels_of(setting.videos)[train])
    return classes[predict(place(model, source.device), source, test, recipe.average).argmax(1)]


def _trained(
    what: str, backbone: Backbone, setting: Setting, recipe: Recipe, fold: int, keep: bool = False
) -> Classifier:
    """A backbone with a head, trained on the training videos of a fold, or as it was kept after that. keep: whether to keep it."""
    positions, path = setting.folds[fold][0], _kept(backbone, setting, recipe, fold)
    classes, codes = np.unique(labels_of(setting.videos)[positions], return_inverse=True)
    if path.exists():
        model = Classifier(backbone, len(classes), recipe.dropout)
        model.load_state_dict(load_file(path))
        return model.eval()
    if len(setting.folds) > 1:
        what = f"{what}, fold {fold + 1} of {len(setting.folds)}"
    told = partial(setting.progress, what) if setting.progress else None
    model = train(backbone, _source(backbone, setting, recipe), positions, codes, recipe, setting.seed, told)
    if keep:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(path, dict(model.state_dict()))
    return model


def _source(backbone: Backbone, setting: Setting, recipe: Recipe) -> ClipSource:
    """Where the clips of a setting come from."""
    footage = Footage(
        setting.videos,
        augmentation(setting.view.size, recipe).decode_size,
        workers=setting.workers,
        progress=partial(setting.progress, "decoding") if setting.progress else None,
    )
    return clip_source(footage, setting.view, recipe, backbone, setting.device, setting.flip)


def _kept(backbone: Backbone, setting: Setting, recipe: Recipe, fold: int) -> Path:
    """Where a classifier trained from random weights is kept; the name changes with all that decides them."""
    videos = [setting.videos[position] for position in setting.folds[fold][0]]
    facts = (fingerprint(videos), asdict(setting.view), asdict(recipe), setting.seed, setting.flip)
    return cache_folder() / "classifiers" / f"{backbone.digest(*facts, package_version('ssvid'))[:24]}.safetensors"
