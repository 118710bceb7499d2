"""Figures: every one with a title, units and a line at chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, ACCENT, SOFT = "#1b2733", "#b4552d", "#8a97a3"


def learning_curves(lines: Sequence[dict[str, float]], chance: float, title: str) -> Figure:
    """Loss and pretext accuracy over the steps of a run; `lines` as `Run.metrics` gives them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    figure.suptitle(title, fontsize=11)
    steps = [line["step"] for line in lines]
    for axis, name, unit in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("loss, nats", "accuracy, %"), strict=True
    ):
        scale = 100 if name == "accuracy" else 1
        axis.plot(steps, [scale * line[name] for line in lines], color=ACCENT, lw=1.8)
        if name == "accuracy":
            axis.axhline(100 * chance, color=SOFT, ls="--", lw=1)
            axis.annotate(
                "chance",
                (1, 100 * chance),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                color=SOFT,
                fontsize=9,
            )
        axis.set_xlabel("optimiser step")
        axis.set_ylabel(unit)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=INK, labelsize=9)
    return figure


def probe_bars(names: Sequence[str], values: Sequence[Sequence[float]], chance: float, title: str) -> Figure:
    """A bar a model: mean accuracy in percent with the spread over seeds, and a line at chance."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.6 + 0.45 * len(names)), layout="constrained")
    axis = figure.subplots()
    means = [float(np.mean(row)) for row in values]
    spread = [float(np.std(row, ddof=1)) if len(row) > 1 else 0.0 for row in values]
    colors = [SOFT if name.startswith("random") else ACCENT for name in names]
    axis.barh(names, means, xerr=spread, color=colors, height=0.6, error_kw={"lw": 1, "ecolor": INK})
    axis.axvline(chance, color=INK, ls="--", lw=1)
    axis.annotate(
        "chance", (chance, 1), xycoords=("data", "axes fraction"), ha="left", va="bottom", fontsize=9, color=INK
    )
    axis.invert_yaxis()
    axis.set_xlabel("accuracy, %")
    axis.set_title(title, fontsize=11, pad=14)
    axis.spines[["top", "right"]].set_visible(False)
    return figure
