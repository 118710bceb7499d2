"""Calibration of a SpeedNet: what its logit means, fitted on windows of real video that it was not trained on.

Training shows as many sped-up clips as normal ones, so a logit of 0 calls normal video sped up as often as the network errs, which is in
every third window or so. Video at hand is normal at rate 1, as far as anyone knows. So the offset is chosen such that NOMINAL of the
windows at normal speed are called sped up, as a change of the prior does it, and the temperature such that a logit is a log of odds
(Platt 1999). Neither changes the order of two windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from ssvid.errors import DataError

NOMINAL = 0.1  # share of windows at normal speed that may be called sped up
LEAST = 20  # windows: fewer do not tell a tenth


@dataclass(frozen=True)
class Calibration:
    """offset: the logit from which a window is called sped up. temperature: logits a unit of log odds."""

    offset: float = 0.0
    temperature: float = 1.0

    def apply(self, logits: Any) -> Any:
        """Log odds of looking sped up, for logits in an array, a tensor or a number."""
        return (logits - self.offset) / self.temperature


def calibration_of(model: object) -> Calibration:
    """The calibration that came with a model; for one without, its logits as they are."""
    found = getattr(model, "calibration", None)
    return found if isinstance(found, Calibration) else Calibration()


def fit_calibration(logits: np.ndarray, nominal: float = NOMINAL) -> Calibration:
    """The calibration for logits (W,2) of windows at normal and twice the speed. Raises DataError for fewer than 20 windows."""
    if len(logits) < LEAST:
        raise DataError(
            f"{len(logits)} windows are too few to calibrate on; give held-out videos with {LEAST} at least"
        )
    told = np.repeat([[0, 1]], len(logits), 0).ravel()
    slope = LogisticRegression(C=np.inf).fit(logits.reshape(-1, 1), told).coef_[0, 0]
    # a network that is no better than chance has no slope; its logits stay as small as they are
    return Calibration(float(np.quantile(logits[:, 0], 1 - nominal)), float(1 / max(slope, 0.1)))


def called_sped_up(logits: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Share (2,) of the windows (W,2) at normal and twice the speed that are called sped up."""
    shares: np.ndarray = (calibration.apply(logits) > 0).mean(0)
    return shares


def cross_checked(halves: Sequence[np.ndarray], nominal: float = NOMINAL) -> dict[str, float]:
    """What the card says: the calibration fitted on all windows, and the percentages called sped up when it is fitted on one half of the
    videos and asked about the other, both ways; before: with the logits as they are.

    halves: logits (W,2) of the windows of two sets of videos.
    """
    together = np.concatenate(halves)
    fitted = fit_calibration(together, nominal)
    others = [called_sped_up(told, fit_calibration(used, nominal)) for used, told in (halves, halves[::-1])]
    after = np.average(others, axis=0, weights=[len(told) for told in halves[::-1]])
    before = called_sped_up(together, Calibration())
    names = ("normal before", "twice before", "normal", "twice")
    shares = {name: round(float(100 * share), 1) for name, share in zip(names, [*before, *after], strict=True)}
    whole = {"offset": round(fitted.offset, 4), "temperature": round(fitted.temperature, 4)}
    return whole | {"nominal": 100 * nominal, "windows": len(together)} | shares
