"""The space in which vectors are compared: as they come, from their common centre, or whitened.

Features of one network share most of what they say: a mean, and a few directions along which all of them differ. Less their mean, what
all videos share counts no more; whitened (Jegou and Chum, ECCV 2012), every direction that the collection's vectors take counts alike,
and the small differences by which one recording differs from another count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ssvid.errors import ConfigError
from ssvid.search.store import unit

HOWS = ("raw", "centre", "whiten")
LONGEST = 4096  # the smaller of rows and numbers a vector up to which directions are computed
FLOOR = 1e-3  # of the greatest spread: directions of less are not blown up to it


@dataclass(frozen=True)
class Whitening:
    """What is done with raw vectors before they are compared. centre: (D,). axes: (R,D) directions over their spread, or None."""

    centre: np.ndarray
    axes: np.ndarray | None = None

    @classmethod
    def fit(cls, blocks: Iterable[np.ndarray], rows: int, dim: int, how: str) -> Whitening:
        """The space of `rows` raw vectors (rows,dim), which come in blocks (n,dim) and are looked through once.

        Memory is that of the smaller of a dim x dim matrix and all the vectors, where they are whitened.
        Raises ConfigError for an unknown `how`, and where both rows and dim are too many to be whitened.
        """
        checked_space(how, rows, dim)
        if how == "raw":
            return cls(np.zeros(dim, np.float32))
        return (_centred if how == "centre" else _of_many if rows > dim else _of_few)(blocks, rows, dim)

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        """Vectors of length 1 whose products are similarities: raw (N,D) -> float32 (N,D); zeros stay zeros."""
        moved = raw - self.centre
        if self.axes is not None:
            back = self.axes / np.linalg.norm(self.axes, axis=1, keepdims=True)
            moved = moved @ self.axes.T @ back  # back to D numbers, so that a collection is as wide as its network
        return unit(moved)


def checked_space(how: str, rows: int = 0, dim: int = 0) -> None:
    """Raise ConfigError where there is no such space, or none of so many vectors of `dim` numbers."""
    if how not in HOWS:
        raise ConfigError(f"there is no space {how!r}; there are: {', '.join(HOWS)}")
    if how == "whiten" and min(rows, dim) > LONGEST:
        raise ConfigError(
            f"vectors of {dim} numbers are too long to be whitened; take a smaller --pool, fewer --clips or --space centre"
        )


def _centred(blocks: Iterable[np.ndarray], rows: int, dim: int) -> Whitening:
    return Whitening((sum(block.sum(0, dtype=np.float64) for block in blocks) / rows).astype(np.float32))


def _of_few(blocks: Iterable[np.ndarray], rows: int, dim: int) -> Whitening:
    """By the vectors themselves."""
    raw = np.concatenate([block.astype(np.float64) for block in blocks])
    centre = raw.mean(0)
    _, spread, directions = np.linalg.svd(raw - centre, full_matrices=False)
    return _whitened(centre, directions, spread / np.sqrt(rows))


def _of_many(blocks: Iterable[np.ndarray], rows: int, dim: int) -> Whitening:
    """By their covariance, one block at a time."""
    total, products = np.zeros(dim), np.zeros((dim, dim))
    for block in blocks:
        exact = block.astype(np.float64)
        total += exact.sum(0)
        products += exact.T @ exact
    centre = total / rows
    values, directions = np.linalg.eigh(products / rows - np.outer(centre, centre))
    return _whitened(centre, directions.T, np.sqrt(np.maximum(values, 0)))


def _whitened(centre: np.ndarray, directions: np.ndarray, spread: np.ndarray) -> Whitening:
    """From directions (R,D) and the spread (R,) along each; those along which nothing varies are left out."""
    taken = spread > 1e-6 * max(spread.max(), 1e-12)
    axes = directions[taken] / (spread[taken] + FLOOR * spread.max())[:, None]
    return Whitening(centre.astype(np.float32), axes.astype(np.float32))
