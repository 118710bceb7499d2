"""Figures: every one with a title, units and a line at chance."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ssvid.evaluation.step_curve import step_curve
from ssvid.evaluation.tables.table import Kind, Row, Table, decimals, label, spread

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ["tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown", "tab:pink", "tab:olive", "tab:cyan"]
FEW = 30  # classes up to which their names and numbers fit
LONGEST = 32  # letters of a name beside a bar
CURVE = 3  # columns name@number from which they are drawn as a curve
INK, ACCENT, SOFT, FAINT, LABELS = "#1b2733", "#b4552d", "#8a97a3", "#c3ccd4", "#4f7c9c"


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


def panels(table: Table) -> list[list[str]]:
    """The columns of a table as a figure shows them: one panel each, but those of a curve, as few@1, few@5, few@20, together."""
    stems: dict[str, list[str]] = {}
    for name in table.chance:
        stems.setdefault(name.partition("@")[0], []).append(name)
    return [names for names in stems.values() if len(names) < CURVE] + [
        names for names in stems.values() if len(names) >= CURVE
    ]


def score_figure(table: Table, columns: int = 4) -> Figure:
    """All panels in one figure: means with the spread over seeds, and a line at chance. Pretrained rows are in the accent colour."""
    from matplotlib.figure import Figure

    shown = panels(table)
    columns = min(columns, len(shown))
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(_margin(table) + 2.6 * columns, lines * _height(table) + 0.8), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for number, axis in enumerate(axes):
        if number < len(shown):
            _panel(axis, table, shown[number], named=number % columns == 0)
        else:
            axis.set_visible(False)
    _legend(figure, columns)
    return figure


def score_panels(table: Table) -> list[Figure]:
    """The same panels, a figure each, wide enough to be read on a phone."""
    from matplotlib.figure import Figure

    figures = []
    for names in panels(table):
        figure = Figure(figsize=(_margin(table) + 2.9, _height(table)), layout="constrained")
        _panel(figure.subplots(), table, names, named=True)
        _legend(figure, 2)
        figures.append(figure)
    return figures


def confusion(counts: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Confusion matrix: the videos of every true class (row) in percent by predicted class. counts: (K,K), class i predicted as j."""
    import numpy as np
    from matplotlib.figure import Figure

    K = len(classes)
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(12.0, 2.2 + 0.26 * K)
    figure = Figure(figsize=(side + 0.5, side), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(share, cmap="Blues", vmin=0, vmax=100)
    if K <= FEW:
        for true, predicted in zip(*np.nonzero(counts), strict=True):
            color = "white" if share[true, predicted] > 55 else INK
            axis.text(
                predicted, true, f"{share[true, predicted]:.0f}", ha="center", va="center", fontsize=7, color=color
            )
    small = min(8.0, 55 * side / K)  # points: names stand beside each other without touching
    axis.set_xticks(range(K), classes, rotation=60, ha="right", rotation_mode="anchor", fontsize=small)
    axis.set_yticks(range(K), classes, fontsize=small)
    axis.set_xlabel("predicted class", fontsize=9)
    axis.set_ylabel("true class", fontsize=9)
    axis.set_title(title, fontsize=9, loc="left")
    figure.colorbar(image, ax=axis, shrink=0.6, label="videos of the class, %")
    return figure


def class_bars(classes: Sequence[str], values: Sequence[float], chance: float | None, title: str) -> Figure:
    """Accuracy of every class in percent, and a line at chance."""
    from matplotlib.figure import Figure

    height = min(14.0, 1.0 + 0.22 * len(classes))
    figure = Figure(figsize=(5, height), layout="constrained")
    axis = figure.subplots()
    axis.barh(classes, values, color=ACCENT, height=0.7)
    axis.margins(y=0.5 / len(classes))
    if chance is not None:
        axis.axvline(chance, color=INK, ls="--", lw=1)
        axis.annotate(
            "chance",
            (chance, 1),
            (2, 1),
            ("data", "axes fraction"),
            "offset points",
            fontsize=8,
            va="bottom",
            color=INK,
        )
    axis.invert_yaxis()
    axis.set_xlim(0, 100)
    axis.set_xlabel("accuracy, %", fontsize=9)
    axis.set_title(title, fontsize=9, loc="left", pad=12)
    axis.tick_params(labelsize=min(8.0, 60 * height / len(classes)))
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _height(table: Table) -> float:
    return max(2.4, 1.1 + 0.3 * len(table.rows))


def _margin(table: Table) -> float:
    """Inches that the rows' names take."""
    return 0.2 + 0.075 * max(len(line) for row in table.rows for line in _label(row).splitlines())


def _legend(figure: Figure, columns: int) -> None:
    """One legend of the lines for all panels, below them."""
    lines = {text: line for axis in figure.axes for line, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    if lines:
        figure.legend(lines.values(), lines, loc="outside lower center", ncols=columns, fontsize=7, frameon=False)


def _panel(axis: Axes, table: Table, names: Sequence[str], named: bool) -> None:
    """One column as bars, or the columns of a curve as lines; named: whether the rows' names stand beside the bars."""
    fraction, chance = decimals(names[0]) > 1, table.chance[names[0]]
    unit = "score, -1 to 1" if fraction else _unit(names[0])
    rungs = step_curve(table.rows)
    lying = len(names) < CURVE and not rungs
    if lying:
        _bars(axis, table.rows[::-1], names[0], named)
        axis.set(xlabel=unit, xlim=(max(-1.0, min(0.0, axis.get_xlim()[0])), 1 if fraction else 100))
    else:
        _curves(axis, table.rows, names) if len(names) >= CURVE else _over_steps(axis, table.rows, rungs, names[0])
        axis.set(ylabel=unit, ylim=(min(0.0, axis.get_ylim()[0]), None))
    if chance is not None:
        from matplotlib.patheffects import withStroke

        outlined = [withStroke(linewidth=2.4, foreground="white")]
        draw = axis.axvline if lying else axis.axhline
        draw(chance, color=INK, ls="--", lw=1, path_effects=outlined)
        place = ((chance, 1), ("data", "axes fraction")) if lying else ((1, chance), ("axes fraction", "data"))
        axis.annotate("chance", place[0], (2, 1), place[1], "offset points", fontsize=7, color=INK, va="bottom")
    axis.set_title(names[0] if len(names) < CURVE else names[0].partition("@")[0], fontsize=9, pad=12, loc="left")
    axis.xaxis.label.set_fontsize(8)
    axis.yaxis.label.set_fontsize(8)
    axis.tick_params(labelsize=8, colors=INK)
    axis.spines[["top", "right"]].set_visible(False)


def _unit(name: str) -> str:
    """What the percents of a column are of."""
    if name.endswith(" mAP"):
        return "mean average precision, %"
    return "queries answered, %" if " R@" in name else "accuracy, %"


def _bars(axis: Axes, rows: Sequence[Row], name: str, named: bool) -> None:
    import numpy as np

    scores = [row.scores.get(name, []) for row in rows]
    means = [float(np.mean(values)) if values else 0.0 for values in scores]
    spreads = [spread(values) for values in scores]
    bars = axis.barh(range(len(rows)), means, xerr=spreads, color=[_color(row) for row in rows], height=0.7)
    for bar, row in zip(bars, rows, strict=True):
        bar.set(hatch="///" if row.kind is Kind.PUBLISHED else "", edgecolor="white", linewidth=0)
    axis.set_yticks(range(len(rows)), [_label(row) for row in rows] if named else [])


def _curves(axis: Axes, rows: Sequence[Row], names: Sequence[str]) -> None:
    import numpy as np

    counts = [int(name.partition("@")[2]) for name in names]
    for row, (color, style) in zip(rows, _lines(rows), strict=True):
        shown = [(count, row.scores[name]) for count, name in zip(counts, names, strict=True) if row.scores.get(name)]
        if shown:
            x, values = zip(*shown, strict=True)
            error = [spread(one) for one in values]
            means = [np.mean(one) for one in values]
            text = _label(row).replace("\n", ", ")
            axis.errorbar(x, means, error, color=color, ls=style, lw=1.4, marker=".", label=text)
    axis.set_xscale("log")
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.minorticks_off()
    stem = names[0].partition("@")[0]
    counted = (
        "neighbours looked at" if stem.endswith(" R") else "labels a class" if "few" in stem else "labelled videos, %"
    )
    axis.set_xlabel(counted)


def _over_steps(axis: Axes, rows: Sequence[Row], rungs: Sequence[Row], name: str) -> None:
    """A column over the steps of pretraining, and the rows that are no part of that curve as level lines."""
    import numpy as np

    shown = [row for row in rungs if row.scores.get(name)]
    means = [float(np.mean(row.scores[name])) for row in shown]
    steps = [row.steps for row in shown]
    errors = [spread(row.scores[name]) for row in shown]
    axis.errorbar(steps, means, errors, color=ACCENT, lw=1.6, marker=".", label=rungs[0].task)
    others = [row for row in rows if row not in rungs]
    for row, (color, style) in zip(others, _lines(others), strict=True):
        if row.scores.get(name):
            text = _label(row).replace("\n", ", ")
            axis.axhline(float(np.mean(row.scores[name])), color=color, ls=style, lw=1.2, label=text)
    axis.set_xscale("log")
    axis.set_xticks([row.steps for row in rungs], [f"{row.steps:,}" for row in rungs])
    axis.minorticks_off()
    axis.set_xlabel("steps of pretraining")


def _lines(rows: Sequence[Row]) -> list[tuple[str, Any]]:
    """Colour and style of every row's line: pretrained rows differ in colour; rows without training are grey, supervised ones blue, each
    in styles that come in the order of the backbones; fixed networks are of a lighter grey."""
    runs = sum(_color(row) == ACCENT for row in rows)
    colors = PALETTE if runs > 1 else [ACCENT]
    learnt = ((color, style) for style in itertools.cycle(("-", "--")) for color in colors)
    others = {
        color: zip(itertools.repeat(color), itertools.cycle(("-", "--", ":", "-.")), strict=False)
        for color in (SOFT, LABELS, FAINT)
    }
    styles = {ACCENT: learnt, **others}
    return [next(styles[FAINT if row.kind is Kind.FIXED else _color(row)]) for row in rows]


def _label(row: Row) -> str:
    lines = [label(row), row.facts.get("backbone", "")]
    return "\n".join(line if len(line) <= LONGEST else line[: LONGEST - 1] + "…" for line in lines if line)


def _color(row: Row) -> str:
    return {Kind.SUPERVISED: LABELS, Kind.PRETRAINED: ACCENT}.get(row.kind, SOFT)


def long_figure(
    cells: Mapping[str, Mapping[str, Any]],
    heads: Sequence[str],
    seconds: Sequence[float],
    chance: float,
    unordered: float | None,
) -> Figure:
    """Accuracy, time and memory of heads over the length of the window; cells: as `ssvid.evaluation.tables.long_videos` keeps them.

    unordered: accuracy of whoever knows the sub-actions and not their order, a line of its own; None for none.
    """
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    figure.suptitle(
        "Heads on frozen features of long videos: accuracy, and the time and memory of training", fontsize=11
    )
    axes = figure.subplots(1, 3)
    units = {
        "accuracy": "accuracy, %",
        "ms": "training, ms a second of video",
        "kib": "training, KiB a second of video",
    }
    for axis, (name, unit) in zip(axes, units.items(), strict=True):
        for head, color in zip(heads, itertools.cycle(PALETTE), strict=False):
            groups = [
                [cell[name] for key, cell in cells.items() if key.startswith(f"{head} {second:g} s ")]
                for second in seconds
            ]
            means = [np.mean(group) if name == "accuracy" else min(group) for group in groups]
            error = [spread(group) for group in groups] if name == "accuracy" else None
            axis.errorbar(seconds, means, error, color=color, marker=".", lw=1.4, label=head)
        axis.set_xscale("log")
        axis.set_xticks(seconds, [f"{second:g}" for second in seconds])
        axis.minorticks_off()
        axis.set(xlabel="seconds of the video that are seen", ylabel=unit)
        axis.set_ylim(0, 100 if name == "accuracy" else None)
        axis.spines[["top", "right"]].set_visible(False)
    levels = {"chance": chance, **({"sub-actions without order": unordered} if unordered else {})}
    for text, level in levels.items():
        axes[0].axhline(level, color=SOFT, ls="--", lw=1)
        axes[0].annotate(text, (seconds[0], level), (0, 2), textcoords="offset points", fontsize=7, color=INK)
    axes[1].legend(fontsize=8, frameon=False)
    return figure
