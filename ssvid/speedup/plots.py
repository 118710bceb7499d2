"""The speediness curve, to look at: as lines of text and as a figure."""

from __future__ import annotations

import os

import numpy as np
from matplotlib.figure import Figure

from ssvid.errors import ConfigError
from ssvid.speedup.curve import MAX_RATE, Curve

LINES_A_SECOND, MOST_LINES, BAR = 10, 60, 40
INK, ACCENT, SOFT = "#1b2733", "#b4552d", "#8a97a3"


def curve_rows(curve: Curve) -> list[tuple[str, str, str]]:
    """Seconds, natural speed and a bar, at most ten lines a second and sixty in all."""
    end = float(curve.times[-1] + curve.durations[-1])
    count = max(1, min(len(curve.times), MOST_LINES, round(end * LINES_A_SECOND)))
    parts = np.array_split(np.arange(len(curve.times)), count)
    means = [float(curve.natural[part].mean()) for part in parts]
    return [
        (f"{curve.times[part[0]]:.2f}", f"{mean:.2f}", "#" * round(BAR * np.log(mean) / np.log(MAX_RATE)))
        for part, mean in zip(parts, means, strict=True)
    ]


def draw_curve(curve: Curve, path: str | os.PathLike[str], title: str) -> None:
    """V(t) over the seconds with the cuts, and below it the probability of looking sped up at every rate.

    Raises ConfigError for a kind of picture that cannot be written.
    """
    figure = Figure(figsize=(9, 4.5 if len(curve.rates) else 2.6), layout="constrained")
    axes = figure.subplots(2 if len(curve.rates) else 1, 1, sharex=True, squeeze=False)[:, 0]
    axes[0].plot(curve.times, curve.natural, color=ACCENT, lw=1.6)
    axes[0].set(title=f"How fast {title} may play and look natural, by {curve.by}", ylabel="speed, times")
    axes[0].set_yscale("log", base=2)
    axes[0].set_yticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    for cut in curve.cuts:
        axes[0].axvline(curve.times[cut], color=SOFT, lw=0.8)
    if len(curve.rates):
        edges = np.append(curve.times, curve.times[-1] + curve.durations[-1])
        rates = np.append(np.array(curve.rates), curve.rates[-1] * 1.25) / 1.25**0.5
        shown = axes[1].pcolormesh(edges, rates, curve.faster, cmap="coolwarm", vmin=0, vmax=1, rasterized=True)
        axes[1].set(ylabel="played at, times", yscale="log")
        axes[1].set_yticks([1, 2, 4, 8][: int(np.log2(curve.rates[-1])) + 1])
        axes[1].set_yticklabels([f"{tick:g}" for tick in axes[1].get_yticks()])
        axes[1].minorticks_off()
        figure.colorbar(shown, ax=axes[1], label="looks sped up")
    axes[-1].set_xlabel("time, s")
    try:
        figure.savefig(path, dpi=130)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
