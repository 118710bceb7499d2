"""Rank pooling: a clip is described by the function that puts its steps in order (Fernando et al., CVPR 2015, arXiv:1512.01848).

Steps are averaged from the first on, and a regression learns to tell from each mean how many steps it holds; the regression's weights are
the vector. Exactly so, of vectors averaged over space, forward and backward in time side by side:

    svr      the paper's support vector regression, by scikit-learn; for evaluation, since no gradient passes
    ridge    the squared error in place of SVR's, which has a closed form and a gradient; nearly the same vectors (cosine 0.999)

    approximate    one step of gradient descent of the ranking (Bilen et al., CVPR 2016, arXiv:1612.00738): a sum of the steps weighted by
                   their place, for every cell, so that a map stays; weights sum to 0, and a clip that stands still gives 0

The scale of such weights depends on the number of steps alone, so it is divided out: values have a mean square of 1.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo.recurrence import StepByStep, as_map, mean_over_space

HEADS = {
    "rank_pooling": {
        "description": "weights of a ranking of the steps",
        "source": "arXiv:1512.01848, arXiv:1612.00738",
        "licence": "Apache-2.0",
    }
}

C = 1.0  # of the regression: what an error costs against the size of the weights


def build(name: str, dim: int, *, method: Literal["approximate", "ridge", "svr"] = "approximate") -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,dim,1,h,w) for "approximate", (B,2 dim,1,1,1) for "ridge" and "svr"; t is 2 at least.

    method: how steps are ranked, see above.
    """
    return ApproximateRankPooling() if method == "approximate" else RankPooling(method)


def place_weights(steps: int) -> Tensor:
    """How much each of so many steps counts in approximate rank pooling: (steps,), double.

    The ranking's gradient weighs the mean of the first n steps by 2 n - N - 1; a step is in the means from its own on, by 1/n.
    """
    n = torch.arange(1, steps + 1, dtype=torch.double)
    return ((2 * n - steps - 1) / n).flip(0).cumsum(0).flip(0)


def unit_scale(values: Tensor, power: Tensor | float = 0.0) -> Tensor:
    """Values (B,...) divided by their root mean square over all but the batch.

    power: mean square (B,) of what they were computed from. Values of a thousandth of its root and less are not blown up to 1 but left
    small: of a clip that stands still, they are what rounding leaves.
    """
    size = values.square().flatten(1).mean(1) + 1e-6 * power + 1e-24
    return values * size.rsqrt().view(-1, *[1] * (values.dim() - 1))


def check_length(steps: int) -> None:
    """Raise ConfigError for a single step, which has no order."""
    if steps < 2:
        raise ConfigError(f"rank_pooling ranks 2 steps at least, not {steps}. Sample longer clips.")


# how many steps have come; sums (3,B,D,h,w) of the steps, of their running means, and of these times their number; of mean squares (B,)
State = tuple[int, Tensor, Tensor]


class ApproximateRankPooling(StepByStep):
    """A sum over time, weighted by place: (B,D,t,h,w) -> (B,D,1,h,w)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Compute."""
        check_length(maps.shape[2])
        weights = place_weights(maps.shape[2]).to(maps.device, torch.promote_types(maps.dtype, torch.float))
        ranked = (maps * weights[:, None, None]).mean(2, keepdim=True)
        return unit_scale(ranked, maps.to(ranked).square().flatten(1).mean(1))

    def step(self, maps: Tensor, state: State | None) -> tuple[Tensor | None, State]:
        """The next step of a stream, due from the second on."""
        count, sums, power = state or (0, maps.new_zeros(3, *maps.shape), maps.new_zeros(maps.shape[0]))
        count, power = count + 1, power + maps.square().flatten(1).mean(1)
        total = sums[0] + maps
        mean = total / count
        sums = torch.stack([total, sums[1] + mean, sums[2] + count * mean])
        out = unit_scale((2 * sums[2] - (count + 1) * sums[1]) / count, power / count)
        return (out if count > 1 else None), (count, sums, power)


class RankPooling(nn.Module):
    """Weights of a regression of place, forward and backward in time: (B,D,t,h,w) -> (B,2D,1,1,1)."""

    def __init__(self, method: Literal["ridge", "svr"]) -> None:
        super().__init__()
        self.method = method

    def forward(self, maps: Tensor) -> Tensor:
        """Compute."""
        check_length(maps.shape[2])
        steps = mean_over_space(maps).to(torch.promote_types(maps.dtype, torch.float))
        rank = ridge if self.method == "ridge" else support_vectors
        with torch.autocast(maps.device.type, enabled=False):
            weights = [unit_scale(rank(smoothed(way))) for way in (steps, steps.flip(1))]
        return as_map(torch.cat(weights, 1))


def smoothed(steps: Tensor) -> Tensor:
    """Means of the steps so far, the signed square root of each, of unit length: (B,t,D) -> (B,t,D)."""
    means = steps.cumsum(1) / torch.arange(1, steps.shape[1] + 1, device=steps.device)[:, None]
    return F.normalize(means.sign() * (means.abs() + 1e-12).sqrt(), dim=2)


def ridge(rows: Tensor) -> Tensor:
    """Weights w (B,D) that minimise |w|^2 / 2 + C * sum over t of (t - w row_t)^2, for rows (B,t,D)."""
    t = rows.shape[1]
    places = torch.arange(1, t + 1, dtype=rows.dtype, device=rows.device)
    alike = rows @ rows.transpose(1, 2) + torch.eye(t, dtype=rows.dtype, device=rows.device) / (2 * C)
    share: Tensor = torch.linalg.solve(alike, places.expand(rows.shape[0], t))
    return torch.einsum("bt,btd->bd", share, rows)


def support_vectors(rows: Tensor) -> Tensor:
    """The same with errors up to 0.1 forgiven, as liblinear has it, by scikit-learn; the result has no gradient."""
    from sklearn.svm import LinearSVR  # slow to import

    if rows.is_meta:  # shapes alone are asked for
        return torch.empty_like(rows[:, 0])
    places = np.arange(1, rows.shape[1] + 1)
    found = [
        LinearSVR(C=C, epsilon=0.1, loss="squared_epsilon_insensitive", fit_intercept=False, dual=False, tol=1e-6)
        .fit(clip, places)
        .coef_
        for clip in rows.detach().double().cpu().numpy()
    ]
    return torch.from_numpy(np.stack(found)).to(rows)
