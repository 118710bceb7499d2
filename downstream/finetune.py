"""Fine-tuning: a new linear head, all layers trained with labels, tested on several clips a video.

The clips are the table's view (frames, stride, size); what is named after a paper takes its optimiser, schedule, augmentation and way of
averaging from there. The last step counts, never the best on test or held-out videos, and no test video is left out for being short.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ssvid.evaluation.adapter import Candidate, EvalContext, Score
from ssvid.evaluation.finetuning import Recipe, predict
from ssvid.evaluation.folds import accuracy
from ssvid.evaluation.inner_folds import labels_of
from ssvid.evaluation.saved_head import SavedHead
from ssvid.evaluation.supervised import fold_clips, train_fold
from ssvid.zoo.backbone import to_device

PROTOCOLS = {
    "finetune": {
        "summary": "Fine-tuning, all layers: AdamW, warm-up and cosine, 10 clips",
        "after": "ours, for small networks and a minute's time",
        "differs": "10 epochs; the others run as long as their papers do",
        "trains": "all",
        "recipe": True,
        "head": "finetuned_head",
    },
    "finetune_vcop": {
        "summary": "Fine-tuning as VCOP: SGD, constant rate, mean of logits",
        "after": "VCOP (CVPR 2019), train_classify.py; VCP, PRP and IIC follow it",
        "differs": "no videos are held out and the last epoch counts, where the best on 800 held-out videos does there; norms and biases "
        "are not decayed",
        "trains": "all",
        "function": "finetune",
        "head": "finetuned_head",
        "defaults": {
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
        "trains": "all",
        "function": "finetune",
        "head": "finetuned_head",
        "defaults": {
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
        "trains": "all",
        "function": "finetune",
        "head": "finetuned_head",
        "defaults": {
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
        "trains": "all",
        "function": "finetune",
        "head": "finetuned_head",
        "defaults": {
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
        "trains": "all",
        "function": "finetune",
        "head": "finetuned_head",
        "defaults": {
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


def finetune(
    candidate: Candidate,
    context: EvalContext,
    *,
    epochs: int = 10,
    steps: int = 0,
    batch: int = 16,
    lr: float = 3e-3,
    head_lr: float = 1.0,
    layer_decay: float = 1.0,
    optimizer: str = "adamw",
    weight_decay: float = 0.02,
    schedule: str = "cosine",
    warmup: float = 0.1,
    drops: tuple[float, ...] = (0.6, 0.8),
    factor: float = 0.1,
    dropout: float = 0.0,
    area: tuple[float, float] = (0.7, 1.0),
    ratio: tuple[float, float] = (0.75, 1.333),
    flip: float = 0.5,
    jitter: float = 0.0,
    clips: int = 10,
    average: str = "logits",
) -> Iterator[Score]:
    """One score. The options are the fields of `Recipe`, which raises ConfigError for a value out of range."""
    recipe = Recipe(
        epochs=epochs,
        steps=steps,
        batch=batch,
        lr=lr,
        head_lr=head_lr,
        layer_decay=layer_decay,
        optimizer=optimizer,
        weight_decay=weight_decay,
        schedule=schedule,
        warmup=warmup,
        drops=drops,
        factor=factor,
        dropout=dropout,
        area=area,
        ratio=ratio,
        flip=flip,
        jitter=jitter,
        clips=clips,
        average=average,
    )
    yield accuracy(context.protocol, context, partial(_predict_fold, candidate, context, recipe))


def finetuned_head(candidate: Candidate, context: EvalContext, **options: Any) -> SavedHead:
    """The head of the first fold, with the network that was trained with it. options: the fields of `Recipe`."""
    what = f"{context.protocol} {candidate.name}"
    model = train_fold(what, candidate.backbone(0), context, Recipe(**options), 0)
    classes = tuple(map(str, np.unique(labels_of(context.videos)[context.folds[0][0]])))
    head = model.head
    return SavedHead(head.weight.detach(), head.bias.detach(), classes, network=model.backbone.state_dict())


def _predict_fold(
    candidate: Candidate, context: EvalContext, recipe: Recipe, fold: int, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Labels predicted for the test videos of a fold after training on its other videos."""
    what = f"{context.protocol} {candidate.name}"
    model = train_fold(what, candidate.backbone(fold), context, recipe, fold)
    source = fold_clips(context, recipe, model.backbone)
    classes = np.unique(labels_of(context.videos)[train])
    predicted: np.ndarray = classes[predict(to_device(model, source.device), source, test, recipe.average).argmax(1)]
    return predicted
