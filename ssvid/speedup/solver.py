"""How fast every moment is played, given how fast it may be played and how long the result is to last.

Unknown is the pace p(t), output seconds per input second, one value for every source frame (speed is 1/p). In the pace the length of the
result is linear, so it can be met exactly. SpeedNet's authors state the idea and publish clips that keep every frame and meet the length
(arXiv 2004.06130, supplement); the problem solved here is ours:

    minimise   sum_t d_t (p_t - c/V_t)^2  +  smooth^2 sum_t (p_t+1 - p_t)^2 / d_t      d_t: seconds a frame is shown in the source
    subject to sum_t d_t p_t = length,   1/max_speed <= p_t <= 1/min_speed

V is the fastest natural speed of each frame and c the one factor that makes c/V last as long as wanted, so that evidence counts as a
ratio: twice as natural is twice as fast. The smoothing has a time scale, `smooth` seconds, and stops at cuts. The problem is strictly
convex and is solved exactly: for a given price of time the box problem by a primal-dual active set on a banded matrix (Hintermueller,
Ito, Kunisch, SIAM J. Optim. 2003), the price itself by Newton's method on the length, which is piecewise linear in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import solveh_banded

from ssvid.errors import ConfigError

TOLERANCE = 1e-9  # of the length, relative


def plan_pace(
    natural: np.ndarray,
    durations: np.ndarray,
    length: float,
    *,
    min_speed: float = 1.0,
    max_speed: float = 8.0,
    smooth: float = 1.0,
    cuts: Sequence[int] = (),
) -> np.ndarray:
    """Pace (T,) float64, output seconds per input second, for every source frame.

    natural: V (T,) > 0, the fastest speed at which each frame still looks natural. durations: (T,) > 0 seconds each frame is shown.
    length: seconds of the result. min_speed, max_speed: bounds of the speed. smooth: time scale of the smoothing, input seconds, 0: none.
    cuts: first frames of new shots; nothing is smoothed across them.
    Raises ConfigError where the length cannot be met within the bounds, with what could be.
    """
    natural, durations = np.asarray(natural, np.float64), np.asarray(durations, np.float64)
    low, high = 1 / max_speed, 1 / min_speed
    total = float(durations.sum())
    if not total * low * (1 - TOLERANCE) <= length <= total * high * (1 + TOLERANCE):
        raise ConfigError(
            f"{total:.2f} s cannot last {length:.2f} s at speeds from {min_speed:g} to {max_speed:g}; "
            f"ask for {total * low:.2f} to {total * high:.2f} s, or change --min-speed or --max-speed"
        )
    # only one pace is left
    if len(natural) == 1 or min(abs(length - total * bound) for bound in (low, high)) <= TOLERANCE * length:
        return np.full(len(natural), length / total)
    target = 1 / natural
    target = target * (length / float((durations * target).sum()))
    bands = _bands(durations, smooth, cuts)
    pace = _meet_length(bands, durations, target, float(np.clip(length, total * low, total * high)), low, high)
    result: np.ndarray = np.clip(pace, low, high)
    return result


def paper_speed(natural: np.ndarray, speed: float, *, alpha: float = 10.0, beta: float | None = None) -> np.ndarray:
    """Speed S (T,) by the objective as recalled from the paper, for comparison: linear evidence, a soft mean, squared slopes.

    Minimises sum (1 - norm V) S + beta (mean S - speed)^2 + alpha sum S'^2, whose minimum is one linear system. It has no bounds, and its
    mean is `speed` only for a large beta (default: T), so the length of the result is not exact. alpha and beta are not published.
    """
    natural = np.asarray(natural, np.float64)
    T = len(natural)
    beta = float(T) if beta is None else beta
    spread = float(np.ptp(natural))
    evidence = (natural - natural.min()) / spread if spread > 0 else np.ones(T)
    cost = (1 - evidence) - float((1 - evidence).mean())  # slopes fix S up to its mean, which is known in closed form
    mean = speed - float((1 - evidence).sum()) / (2 * beta)
    slope = np.concatenate([[0.0], np.cumsum(cost)[:-1]]) / (2 * alpha)  # 2 alpha S'' = cost, S' = 0 at both ends
    shape = np.cumsum(slope)
    result: np.ndarray = shape - shape.mean() + mean
    return result


def _bands(durations: np.ndarray, smooth: float, cuts: Sequence[int]) -> np.ndarray:
    """Upper form (2,T) of the tridiagonal matrix of the objective, halved."""
    links = np.zeros(len(durations))  # links[t] joins t-1 and t
    links[1:] = smooth**2 / ((durations[1:] + durations[:-1]) / 2)
    links[[cut for cut in cuts if 0 < cut < len(durations)]] = 0
    diagonal = durations + links
    diagonal[:-1] += links[1:]
    return np.stack([-links, diagonal])


def _meet_length(
    bands: np.ndarray, durations: np.ndarray, target: np.ndarray, length: float, low: float, high: float
) -> np.ndarray:
    """The box problem at the price of time at which the result lasts `length`."""
    pinned = np.zeros(len(target), int)  # -1 at the lower bound, 1 at the upper, 0 free
    price, least, most = 0.0, -np.inf, np.inf
    pace = target
    for _ in range(200):
        pace, pinned, slope = _box_problem(bands, durations, durations * (target + price), pinned, low, high)
        missing = length - float((durations * pace).sum())
        if abs(missing) <= TOLERANCE * length:
            break
        least, most = (price, most) if missing > 0 else (least, price)
        step = price + missing / slope if slope > 0 else np.nan
        if not least < step < most:  # all pinned, or Newton left the bracket
            widest = high - low + 1.0
            lower, upper = max(least, price - 2 * widest), min(most, price + 2 * widest)
            step = (lower + upper) / 2
        price = step
    return pace


def _box_problem(
    bands: np.ndarray, durations: np.ndarray, right: np.ndarray, pinned: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Minimise p'Ap/2 - right'p over low <= p <= high; also which p are pinned, and how the length grows with the price.

    The matrix is an M-matrix, for which the active sets settle after finitely many steps.
    """
    pace = np.clip(right / durations, low, high)
    for _ in range(100):
        bound = np.where(pinned > 0, high, low)
        free = pinned == 0
        system, sides = _reduced(bands, right, bound, free)
        pace, answer = solveh_banded(system, np.stack([sides, np.where(free, durations, 0.0)], 1)).T
        residual = right - _times(bands, pace)  # pushes a pinned value further out where its sign is that of the pin
        above = np.where(free, pace > high, (pinned > 0) & (residual > 0))
        below = np.where(free, pace < low, (pinned < 0) & (residual < 0))
        updated = above.astype(int) - below.astype(int)
        if (updated == pinned).all():
            break
        pinned = updated
    return pace, pinned, float((durations * answer).sum())


def _reduced(
    bands: np.ndarray, right: np.ndarray, bound: np.ndarray, free: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The system with pinned values set: their rows become p = bound, their columns move to the right-hand side."""
    fixed = np.where(free, 0.0, bound)
    sides = np.where(free, right - _times(bands, fixed), bound)
    both = free.copy()
    both[1:] &= free[:-1]
    return np.stack([np.where(both, bands[0], 0.0), np.where(free, bands[1], 1.0)]), sides


def _times(bands: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """The tridiagonal matrix times a vector."""
    product = bands[1] * vector
    product[1:] += bands[0, 1:] * vector[:-1]
    product[:-1] += bands[0, 1:] * vector[1:]
    result: np.ndarray = product
    return result
