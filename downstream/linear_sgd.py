"""The linear probe of CoCLR (arXiv 2010.09709): L2-normalised features, batch norm, one linear layer, trained by SGD on stored features.

Every clip of a training video is a sample; a test video gets the mean of its clips' probabilities. The head of the last epoch counts:
taking the best epoch on the test videos, as the published code does, would choose on them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ssvid.evaluation.adapter import Candidate, EvalContext, Score, find_protocol
from ssvid.evaluation.folds import accuracy, features_by_fold, labels_of

PROTOCOLS = {
    "linear_sgd": {
        "summary": "Batch norm and a linear layer on L2-normalised features, by SGD",
        "after": "CoCLR (arXiv 2010.09709), eval/feature_linear_probe.py",
        "differs": "the last epoch counts, where the published code reports the best epoch on the test videos; no dropout; weight_decay "
        "is tuned by hand there, 1e-4 to 1e-1. linear solves the same to convergence and chooses C",
        "trains": "head",
        "options": {
            "epochs": 100,
            "batch": 1024,
            "lr": 1.0,
            "weight_decay": 1e-3,
            "momentum": 0.9,
            "drops": (0.6, 0.8),
        },
    },
}


def run(protocol: str, candidate: Candidate, context: EvalContext) -> Iterator[Score]:
    """One score, "linear_sgd". Raises ConfigError for an unknown option."""
    options = find_protocol(protocol).settings(context.options)
    features, labels = list(features_by_fold(candidate, context)), labels_of(context.videos)

    def told(fold: int, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        return linear_sgd(features[fold][train], labels[train], features[fold][test], context.seed, **options)

    yield accuracy(protocol, context, told)


def linear_sgd(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    seed: int = 0,
    *,
    epochs: int,
    batch: int,
    lr: float,
    weight_decay: float,
    momentum: float,
    drops: tuple[float, ...],
) -> np.ndarray:
    """Labels told for `test` (m,clips,D) by a head trained on `train` (n,clips,D).

    drops: shares of the epochs after which the learning rate falls to a tenth.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    samples = F.normalize(torch.from_numpy(train).flatten(0, 1), dim=1)
    answers = torch.from_numpy(codes).repeat_interleave(train.shape[1])
    generator = torch.Generator().manual_seed(seed)
    last = nn.Linear(train.shape[2], len(classes))
    nn.init.normal_(last.weight, 0, 0.01, generator=generator)
    nn.init.zeros_(last.bias)
    head = nn.Sequential(nn.BatchNorm1d(train.shape[2]), last)
    optimizer = torch.optim.SGD(head.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
    milestones = [round(share * epochs) for share in drops]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones)
    for _ in range(epochs):
        order = torch.randperm(len(samples), generator=generator)
        for chosen in order.tensor_split(
            -(-len(samples) // batch)
        ):  # of even size: batch norm cannot take a single sample
            loss = F.cross_entropy(head(samples[chosen]), answers[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    head.eval()
    with torch.inference_mode():
        logits = head(F.normalize(torch.from_numpy(test).flatten(0, 1), dim=1))
    shares = logits.softmax(1).view(*test.shape[:2], -1).mean(1)
    return classes[shares.argmax(1).numpy()]
