"""Made-up labelled videos and features for the protocols' tests: no file behind them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ssvid.data.video_record import VideoRecord
from ssvid.evaluation.adapter import EvalContext
from ssvid.evaluation.features import SHARD, Features, View
from tests.test_sampling import even


def videos_of(
    labels: Sequence[str], groups: Sequence[str] | None = None, splits: Sequence[str] | None = None
) -> list[VideoRecord]:
    """One video of eight frames a label; its id is its position."""
    groups, splits = groups or [None] * len(labels), splits or [None] * len(labels)
    return [
        replace(even(8), id=number, label=label, group=group, split=split)
        for number, (label, group, split) in enumerate(zip(labels, groups, splits, strict=True))
    ]


def clusters(labels: Sequence[str], spread: float = 0.1, clips: int = 1, dim: int = 8, seed: int = 0) -> np.ndarray:
    """Features (N,clips,D) around a centre for each label."""
    rng = np.random.default_rng(seed)
    centres = {label: rng.normal(size=dim) * 3 for label in sorted(set(labels))}
    noise = rng.normal(size=(len(labels), clips, dim)) * spread
    return (np.stack([centres[label] for label in labels])[:, None] + noise).astype(np.float32)


KEPT = tempfile.TemporaryDirectory()


def stored(vectors: np.ndarray, positions: np.ndarray | None = None) -> Features:
    """Features (N,clips,D) as `extract` gives them: on disk."""
    folder = Path(tempfile.mkdtemp(dir=KEPT.name))
    shards = []
    for start in range(0, len(vectors), SHARD):
        shards.append(folder / f"{start}.npy")
        np.save(shards[-1], vectors[start : start + SHARD])
    return Features(tuple(shards), len(vectors), positions)


def setting_of(labels: Sequence[str], train: int, groups: Sequence[str] | None = None, **changes) -> EvalContext:
    """The first `train` videos train, the others test."""
    videos = videos_of(labels, groups)
    return EvalContext(videos, [(np.arange(train), np.arange(train, len(labels)))], View(clips=1), **changes)
