"""The largest affinities of every cell of a frame to the cells of other frames, without computing what a radius forbids.

`ssvid.ops.affinity` compares all pairs, which on a map of 60 x 107 cells and 21 frames are 866 million, of which a radius of 12 leaves
one in fourteen. Here the queries are taken by square tiles. Each tile is compared with the box of cells around it, a matrix product a
row and frame on views of the frames, so nothing is copied. The largest are found in two steps: first the best frame at each place, on
which the radius acts once for all frames, then all frames at the best places. This is exact: a place whose best frame is not among the
k best places holds none of the k best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from ssvid.compute import thread_pool
from ssvid.ops.affinity import Neighbourhood, is_near

Result = TypeVar("Result")

TILE = 8  # cells along a side of the queries taken together: measured best, of 4 to 32


class Largest(NamedTuple):
    """The keys that count for some of the queries.

    cells: long (n,), which queries. logits: (n,K), similarity over temperature, -inf in places left over. keys: long (n,K), which cells of
    the frames laid side by side, those of `everywhere` before those `nearby`. total: (n,), logsumexp over all keys within reach, those
    outside of the largest too.
    """

    cells: Tensor
    logits: Tensor
    keys: Tensor
    total: Tensor


def largest_affinities(
    query: Tensor,
    nearby: Sequence[Tensor],
    everywhere: Sequence[Tensor] = (),
    *,
    topk: int,
    temperature: float,
    radius: float,
    neighbourhood: Neighbourhood = "disc",
    ties: bool = False,
    total: bool = False,
    then: Callable[[Largest], Result],
) -> Iterator[Result]:
    """The `topk` largest dot products of every cell (h,w,D) with the cells of other frames, each (h,w,D); in fp32.

    They are found tile by tile, and what is made of each tile comes in order. No gradient is kept.

    Args:
        query: features of the frame that asks.
        nearby: frames of which a cell sees those cells that lie within the radius, see `ssvid.ops.affinity.is_near`.
        everywhere: frames of which it sees all.
        topk: how many keys count for a query.
        temperature: what similarities are divided by.
        radius: cells.
        neighbourhood: "disc", "open_disc" or "square".
        ties: keys count too that are as similar as the last of the `topk`.
        total: work `Largest.total` out; zeros else.
        then: what to make of a tile, called in the thread that searched it.
    """
    search = partial(
        _strip,
        query.float() / temperature,
        nearby,
        everywhere,
        topk=topk,
        radius=radius,
        neighbourhood=neighbourhood,
        ties=ties,
        total=total,
        then=then,
    )
    strips = range(0, len(query), TILE)
    if query.device.type != "cpu":
        yield from chain.from_iterable(map(search, strips))
        return
    with thread_pool() as pool:
        yield from chain.from_iterable(pool.map(search, strips))


@torch.no_grad()
def _strip(
    query: Tensor,
    nearby: Sequence[Tensor],
    everywhere: Sequence[Tensor],
    top: int,
    *,
    radius: float,
    neighbourhood: Neighbourhood,
    total: bool,
    then: Callable[[Largest], Result],
    **kept: Any,
) -> list[Result]:
    """What `largest_affinities` yields for the tiles whose first row is `top`; one piece of memory serves them all."""
    h, w, _ = query.shape
    side = 2 * int(radius) + TILE
    room = query.new_empty(TILE**2 * max(len(everywhere) * h * w, len(nearby) * min(side, h) * min(side, w)))
    done = []
    for left in range(0, w, TILE):
        tile = Box(top, min(top + TILE, h), left, min(left + TILE, w))
        queries = query[tile.slices].flatten(0, 1)
        found = []
        if everywhere:
            found.append(_search(queries, everywhere, Box(0, h, 0, w), None, room, total=total, **kept))
        if nearby:
            box = tile.grown(int(radius), h, w)
            near = is_near(tile.cells(query.device), box.cells(query.device), radius, neighbourhood)
            part = _search(queries, nearby, box, near, room, total=total, **kept)
            found.append(part._replace(keys=part.keys + len(everywhere) * h * w))
        done.append(then(_merged(found, tile.flat(w, query.device), **kept)))
    return done


class Box(NamedTuple):
    """Rows and columns of a map, from and to, the ends not among them."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """To cut it out of a map."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, by: int, h: int, w: int) -> Box:
        """The box with a margin, as far as the map of (h,w) cells reaches."""
        return Box(max(0, self.top - by), min(h, self.bottom + by), max(0, self.left - by), min(w, self.right + by))

    def cells(self, device: torch.device) -> Tensor:
        """Row and column of every cell, long (n,2)."""
        rows, columns = (torch.arange(*ends, device=device) for ends in (self[:2], self[2:]))
        return torch.cartesian_prod(rows, columns)

    def flat(self, w: int, device: torch.device) -> Tensor:
        """Place of every cell in a map of w columns read row by row, long (n,)."""
        rows, columns = self.cells(device).unbind(1)
        return rows * w + columns


def _search(
    queries: Tensor,
    frames: Sequence[Tensor],
    box: Box,
    near: Tensor | None,
    room: Tensor,
    *,
    topk: int,
    ties: bool,
    total: bool,
) -> Largest:
    """The largest among the cells of a box of all frames; near: bool (n, cells of the box), None where the box is the whole map."""
    h, w, _ = frames[0].shape
    n, rows, columns = len(queries), box.bottom - box.top, box.right - box.left
    logits = room[: len(frames) * rows * n * columns].view(len(frames), rows, n, columns)
    asked = queries.expand(rows, *queries.shape)
    for frame, out in zip(frames, logits, strict=True):
        torch.bmm(asked, frame[box.slices].float().transpose(1, 2), out=out)
    if near is None:  # a place is then a column, and a row of a frame is what varies in it
        logits = logits.view(-1, 1, n, columns)
    best = logits.amax(0).transpose(0, 1).flatten(1)  # (n,places)
    if near is not None:
        best = best.masked_fill(~near, -torch.inf)
    values, places = _top(best, topk, ties)
    # where each place's value in each frame lies in the logits: (n,places,frames)
    depth = len(logits)
    block = logits[0].numel()
    query = torch.arange(n, device=queries.device)[:, None]
    first = (places // columns * n + query) * columns + places % columns
    where = first[..., None] + block * torch.arange(depth, device=queries.device)
    candidates = logits.view(-1)[where].masked_fill(values.isneginf()[..., None], -torch.inf)
    values, chosen = _top(candidates.flatten(1), topk, ties)
    place, frame = places.gather(1, chosen // depth), chosen % depth
    keys = (box.top + place // columns) * w + box.left + place % columns
    keys = keys + frame * (w if near is None else h * w)
    return Largest(query[:, 0], values, keys, _total(logits, near) if total else values.new_zeros(n))


def _total(logits: Tensor, near: Tensor | None) -> Tensor:
    """logsumexp over frames and places: logits (frames,rows,n,columns) -> (n,)."""
    if near is not None:
        rows, n, columns = logits.shape[1:]
        logits = logits.masked_fill(~near.view(n, rows, columns).transpose(0, 1), -torch.inf)
    return logits.logsumexp((0, 1, 3))


def _top(values: Tensor, topk: int, ties: bool) -> tuple[Tensor, Tensor]:
    """Values and places of the largest of every row (n,N) -> (n,K).

    ties: also those like the last of them, so that K grows; -inf in the rows with fewer.
    """
    top = values.topk(min(topk, values.shape[1]))
    if ties:
        last = top.values[:, -1:].clamp(min=torch.finfo(values.dtype).min)
        alike = int((values >= last).sum(1).max())
        if alike > top.values.shape[1]:
            top = values.topk(alike)
            return top.values.masked_fill(top.values < last, -torch.inf), top.indices
    return top.values, top.indices


def _merged(found: Sequence[Largest], cells: Tensor, *, topk: int, ties: bool) -> Largest:
    """The largest among those of several searches."""
    if len(found) == 1:
        return found[0]._replace(cells=cells)
    values, places = _top(torch.cat([part.logits for part in found], 1), topk, ties)
    keys = torch.cat([part.keys for part in found], 1).gather(1, places)
    return Largest(cells, values, keys, torch.stack([part.total for part in found]).logsumexp(0))
