"""How alike two sets of vectors are, as weights: the one affinity of walks, cycles, pointers, tracked patches and label propagation.

Every query gets weights over all keys that sum to one: a softmax of similarities over a temperature, of the `topk` largest, of those
within a radius on the grid of cells, or of both.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Similarity = Literal["dot", "cosine", "euclidean"]
Neighbourhood = Literal["disc", "open_disc", "square"]


def affinity(
    query: Tensor,
    keys: Tensor,
    *,
    temperature: float,
    similarity: Similarity = "dot",
    topk: int | None = None,
    radius: float | None = None,
    grid: tuple[int, int] | None = None,
    neighbourhood: Neighbourhood = "disc",
) -> Tensor:
    """Weights of the keys for every query: (...,N,D), (...,M,D) -> (...,N,M), each row sums to 1; in fp32, also under autocast.

    Arguments as of `affinity_logits`.
    """
    logits = affinity_logits(
        query,
        keys,
        temperature=temperature,
        similarity=similarity,
        topk=topk,
        radius=radius,
        grid=grid,
        neighbourhood=neighbourhood,
    )
    return logits.softmax(-1)


def affinity_logits(
    query: Tensor,
    keys: Tensor,
    *,
    temperature: float,
    similarity: Similarity = "dot",
    topk: int | None = None,
    radius: float | None = None,
    grid: tuple[int, int] | None = None,
    neighbourhood: Neighbourhood = "disc",
) -> Tensor:
    """Similarity over temperature, before the softmax: (...,N,D), (...,M,D) -> (...,N,M); -inf for keys that do not count.

    similarity: "dot" product, "cosine", or "euclidean": minus the mean over D of the squared differences. topk: only so many of the most
    similar keys count. radius: only keys at most so many cells away on the grid (h,w) count; the queries are then its cells row by row,
    the keys those of one or more frames. neighbourhood: what the radius means, see `is_near`. Raises ValueError for a radius without a
    grid that fits.

    This compares all pairs. Where maps are large and the radius is small, `ssvid.ops.local_affinity` finds the same largest keys sooner.
    """
    with torch.autocast(query.device.type, enabled=False):
        query, keys = query.float(), keys.float()
        if similarity == "cosine":
            query, keys = F.normalize(query, dim=-1), F.normalize(keys, dim=-1)
        if similarity == "euclidean":
            logits = -(query[..., :, None, :] - keys[..., None, :, :]).square().mean(-1) / temperature
        else:
            logits = query @ keys.transpose(-2, -1) / temperature
        if radius is not None:
            near = within_radius(grid, radius, query.shape[-2], keys.shape[-2], neighbourhood).to(logits.device)
            logits = logits.masked_fill(~near, -torch.inf)
        if topk is not None and topk < logits.shape[-1]:
            largest = logits.topk(topk, -1)
            logits = torch.full_like(logits, -torch.inf).scatter(-1, largest.indices, largest.values)
        return logits


def within_radius(
    grid: tuple[int, int] | None, radius: float, queries: int, keys: int, neighbourhood: Neighbourhood = "disc"
) -> Tensor:
    """Which keys lie around each query on a grid (h,w): bool (N,M), the keys' frames side by side; see `is_near`."""
    if grid is None or queries != grid[0] * grid[1] or keys % queries:
        raise ValueError(
            f"a radius needs the grid of the {queries} queries and whole frames of it as keys, not {grid} and {keys}"
        )
    cells = torch.cartesian_prod(torch.arange(grid[0]), torch.arange(grid[1]))
    return is_near(cells, cells, radius, neighbourhood).repeat(1, keys // queries)


def is_near(query: Tensor, keys: Tensor, radius: float, neighbourhood: Neighbourhood = "disc") -> Tensor:
    """Which cells lie around which, both given as row and column: long (N,2), (M,2) -> bool (N,M).

    neighbourhood: "disc", at most `radius` away; "open_disc", less than that; "square", at most so many rows and so many columns away.
    """
    away = (query[:, None] - keys).abs()
    if neighbourhood == "square":
        return (away <= radius).all(-1)
    squared = away.square().sum(-1)
    return squared < radius**2 if neighbourhood == "open_disc" else squared <= radius**2
