"""Fine-tuning: a new linear head, all layers trained with labels, tested on several clips a video.

The clips are the table's view (frames, stride, size); what is named after a paper takes its optimiser, schedule, augmentation and way of
averaging from there. The last step counts, never the best on test or held-out videos, and no test video is left out for being short.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from ssvid.evaluation.adapter import Candidate, EvalContext, Score, find_protocol
from ssvid.evaluation.finetuning import Recipe, predict
from ssvid.evaluation.folds import accuracy, labels_of
from ssvid.evaluation.supervised import fold_clips, train_fold
from ssvid.zoo.backbone import to_device

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


def run(protocol: str, candidate: Candidate, context: EvalContext) -> Iterator[Score]:
    """One score named after the protocol. Raises ConfigError for an option out of range, VideoError for a file that cannot be read."""
    recipe = Recipe(**find_protocol(protocol).settings(context.options))
    yield accuracy(protocol, context, partial(_tuned, protocol, candidate, context, recipe))


def _tuned(
    protocol: str,
    candidate: Candidate,
    context: EvalContext,
    recipe: Recipe,
    fold: int,
    train: np.ndarray,
    test: np.ndarray,
) -> np.ndarray:
    """Labels told for the test videos of a fold after training on its other videos."""
    model = train_fold(f"{protocol} {candidate.name}", candidate.backbone(fold), context, recipe, fold)
    source = fold_clips(context, recipe)
    classes = np.unique(labels_of(context.videos)[train])
    return classes[predict(to_device(model, source.device), source, test, recipe.average).argmax(1)]
