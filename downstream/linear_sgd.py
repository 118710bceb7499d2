"""The linear probe of CoCLR (arXiv 2010.09709): L2-normalised features, batch norm, one linear layer, trained by SGD on stored features.

Every clip of a training video is a sample; a test video gets the mean of its clips' probabilities. The head of the last epoch counts:
taking the best epoch on the test videos, as the published code does, would choose on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.evaluation.adapter import Candidate, EvalContext, Score
from ssvid.evaluation.folds import accuracy, features_by_fold
from ssvid.evaluation.inner_folds import labels_of
from ssvid.evaluation.saved_head import SavedHead

PROTOCOLS = {
    "linear_sgd": {
        "summary": "Batch norm and a linear layer on L2-normalised features, by SGD",
        "after": "CoCLR (arXiv 2010.09709), eval/feature_linear_probe.py",
        "differs": "the last epoch counts, where the published code reports the best epoch on the test videos; no dropout; weight_decay "
        "is tuned by hand there, 1e-4 to 1e-1. linear solves the same to convergence and chooses C",
        "trains": "head",
        "head": "sgd_head",
    },
}


def linear_sgd(
    candidate: Candidate,
    context: EvalContext,
    *,
    epochs: int = 100,
    batch: int = 1024,
    lr: float = 1.0,
    weight_decay: float = 1e-3,
    momentum: float = 0.9,
    drops: tuple[float, ...] = (0.6, 0.8),
) -> Iterator[Score]:
    """One score, "linear_sgd".

    drops: shares of the epochs after which the learning rate falls to a tenth.
    """
    features = list(features_by_fold(candidate, context))
    sgd = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}

    def predict(fold: int, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        head, classes = _trained(context, train, features[fold][train], sgd, epochs=epochs, batch=batch, drops=drops)
        result: np.ndarray = classes[class_shares(head, features[fold][test]).argmax(1)]
        return result

    yield accuracy(context.protocol, context, predict)


def sgd_head(
    candidate: Candidate,
    context: EvalContext,
    *,
    epochs: int,
    batch: int,
    lr: float,
    weight_decay: float,
    momentum: float,
    drops: tuple[float, ...],
) -> SavedHead:
    """The head of the first fold."""
    train, sgd = context.folds[0][0], {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
    features = next(features_by_fold(candidate, context))[train]
    head, classes = _trained(context, train, features, sgd, epochs=epochs, batch=batch, drops=drops)
    with torch.inference_mode():
        return SavedHead.affine(
            lambda x: head.double()(torch.from_numpy(x)).numpy(), features.shape[2], list(classes), True
        )


def _trained(
    context: EvalContext, train: np.ndarray, features: np.ndarray, sgd: dict[str, float], **how: Any
) -> tuple[nn.Module, np.ndarray]:
    """A head trained on the features (n,clips,D) of the videos at `train`, and its classes. how: of `fit`."""
    classes, codes = np.unique(labels_of(context.videos)[train], return_inverse=True)
    samples, answers = _samples(features), torch.from_numpy(codes)
    head, generator = _fresh_head(samples.shape[1], len(classes), context.seed)
    optimizer = torch.optim.SGD(
        head.parameters(), lr=sgd["lr"], momentum=sgd["momentum"], weight_decay=sgd["weight_decay"]
    )
    fit(head, optimizer, samples, answers.repeat_interleave(len(samples) // len(train)), generator, **how)
    return head, classes


def fit(
    head: nn.Module,
    optimizer: torch.optim.Optimizer,
    samples: Tensor,
    answers: Tensor,
    generator: torch.Generator,
    *,
    epochs: int,
    batch: int,
    drops: tuple[float, ...],
) -> None:
    """Train a head on `samples` (n,D) of the classes `answers` (n,); ends in eval mode. generator: decides the order of the samples."""
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [round(share * epochs) for share in drops])
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


def class_shares(head: nn.Module, features: np.ndarray) -> np.ndarray:
    """Mean probabilities (m,K) over the clips of videos with features (m,clips,D)."""
    with torch.inference_mode():
        shares: np.ndarray = head(_samples(features)).softmax(1).view(*features.shape[:2], -1).mean(1).numpy()
    return shares


def _samples(features: np.ndarray) -> Tensor:
    """Every clip of (n,clips,D) as a vector of length one, (n*clips,D)."""
    return F.normalize(torch.from_numpy(features).flatten(0, 1), dim=1)


def _fresh_head(dim: int, classes: int, seed: int) -> tuple[nn.Module, torch.Generator]:
    """Batch norm and a linear layer with small random weights, and the generator that drew them."""
    generator = torch.Generator().manual_seed(seed)
    last = nn.Linear(dim, classes)
    nn.init.normal_(last.weight, 0, 0.01, generator=generator)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.BatchNorm1d(dim), last), generator
