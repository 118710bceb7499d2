"""The figure of `ssvid videotime`: scores, and where clips and their reverses lie in the space of features (t-SNE)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ssvid.data.loader import load
from ssvid.data.motions import IRREVERSIBLE
from ssvid.data.scanning import open_data
from ssvid.data.splits import held_out
from ssvid.data.video_record import VideoRecord
from ssvid.evaluation.plots import ACCENT, INK, LABELS, SOFT
from ssvid.evaluation.tables.table import Table, spread
from ssvid.training.run import Run
from ssvid.training.sampler import test_plans
from ssvid.training.task import PretextTask, clip_vector, usable
from ssvid.training.validate import trained_task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = {"irreversible": ACCENT, "reversible": SOFT}


def videotime_figure(table: Table, facts: Sequence[dict[str, Any]], runs: Path) -> Figure:
    """Bars of every task by kind of motion, and below them two clouds of features: of the best backbone that sees order on the first task,
    and of the first that does not. runs: folder of the run folders.
    """
    from matplotlib.figure import Figure

    tasks = [name.removesuffix(" gap") for name in table.chance if name.endswith(" gap")]
    height = 1.6 + 0.34 * len(table.rows)
    shown = [fact for order in ("aware", "blind") if (fact := _shown(facts, order))]
    figure = Figure(figsize=(11, height + 4.4), layout="constrained")
    bars, clouds = figure.subfigures(2, 1, squeeze=False, height_ratios=(height, 4.4))[:, 0]
    for number, (axis, task) in enumerate(zip(bars.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True)):
        _bars(axis, table, task, named=number == 0)
    for axis, fact in zip(clouds.subplots(1, max(len(shown), 1), squeeze=False)[0], shown, strict=False):
        _cloud(axis, fact, runs)
    return figure


def _shown(facts: Sequence[dict[str, Any]], order: str) -> dict[str, Any] | None:
    """The run of the arrow of time with the best score among those of an order; of blind ones, the first with a head."""
    found = [fact for fact in facts if fact["order"] == order and Path(fact["config"]["task"]).stem == "arrow_of_time"]
    if order == "blind":
        return next((fact for fact in found if "+" in fact["config"]["backbone"]), found[0] if found else None)
    return max(found, key=lambda fact: float(np.mean(fact["accuracy"])), default=None)


def _bars(axis: Axes, table: Table, task: str, named: bool) -> None:
    rows = table.rows[::-1]
    for offset, (kind, color) in zip((0.2, -0.2), KINDS.items(), strict=True):
        values = [row.scores.get(f"{task} {kind}", []) for row in rows]
        means = [float(np.mean(value)) if value else 0.0 for value in values]
        places = np.arange(len(rows)) + offset
        axis.barh(places, means, 0.38, xerr=[spread(value) for value in values], color=color, label=f"{kind} motions")
    chance = table.chance[task]
    assert chance is not None  # every task of the table has one
    axis.axvline(chance, color=INK, ls="--", lw=1, label="chance")
    names = [f"{row.name} ({row.facts['order']})" for row in rows]
    axis.set_yticks(range(len(rows)), names if named else [], fontsize=8)
    axis.set(xlim=(0, 100), xlabel="accuracy, %")
    axis.set_title(task, fontsize=10, loc="left", color=INK)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=7, frameon=False, loc="lower right")


def _cloud(axis: Axes, fact: dict[str, Any], runs: Path) -> None:
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler

    task = trained_task(Run(runs / fact["run"]))
    videos = [v for v in held_out(open_data(fact["config"]["data"]).videos()) if v.label in IRREVERSIBLE]
    vectors = both_directions(task, videos)
    flat = StandardScaler().fit_transform(vectors.reshape(-1, vectors.shape[2]))
    perplexity = min(30.0, (len(flat) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(flat).reshape(-1, 2, 2)
    axis.scatter(places[:, 0, 0], places[:, 0, 1], s=14, color=ACCENT, label="forward", linewidths=0)
    axis.scatter(
        places[:, 1, 0], places[:, 1, 1], s=44, facecolors="none", edgecolors=LABELS, label="backward", linewidths=1
    )
    title = f"{fact['config']['backbone']} ({fact['order']}): irreversible held-out clips, t-SNE"
    axis.set_title(title, fontsize=9, loc="left", color=INK)
    axis.set(xticks=[], yticks=[])
    axis.legend(fontsize=8, frameon=False)


def both_directions(task: PretextTask, videos: Sequence[VideoRecord]) -> np.ndarray:
    """Features of the test clip of every usable video and of its reverse, float32 (N,2,D)."""
    kept, _ = usable(task, videos)
    found = []
    for loaded in load(test_plans(task, kept, 8), task.augment.decode_size, 0, torch.device("cpu"), augment=True):
        clips = loaded.augmented().clips[:, 0]
        with torch.inference_mode():
            maps = task.backbone(torch.cat([clips, clips.flip(2)]))
        found.append(clip_vector(maps).unflatten(0, (2, -1)).transpose(0, 1).numpy())
    return np.concatenate(found)
