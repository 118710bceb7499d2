"""Maps of several levels of an encoder, from fine to coarse: the last one that it makes at each size of cells.

    names = find_levels(trunk, frames, size)      {module's name: channels}, in order; the last, "", is the trunk itself
    maps = level_maps(trunk, names, x)            one (B,D,t,h,w) each

Which modules make them is found once, on the meta device, so that it takes no code in any family. A network that has one size of cells, as
transformers have, has one level.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor, nn

DEPTH = 3  # parts of a module's name: stages lie there, and what a block does inside lies deeper


def find_levels(trunk: nn.Module, frames: int, size: int) -> dict[str, int]:
    """The modules whose outputs are the levels for clips of that many frames and px, with their channels."""
    net = copy.deepcopy(trunk).to("meta").eval()
    calls: list[tuple[str, Tensor]] = []

    def look(name: str, out: object) -> None:
        if isinstance(out, Tensor) and out.dim() in (4, 5) and out.shape[-2] == out.shape[-1]:
            calls.append((name, out))

    for name, module in net.named_modules():
        if len(name.split(".")) <= DEPTH:
            module.register_forward_hook(lambda module, inputs, out, name=name: look(name, out))
    with torch.no_grad():
        net(torch.empty(1, 3, frames, size, size, device="meta"))
    often = Counter(name for name, _ in calls)
    found: dict[
        int, tuple[str, int]
    ] = {}  # by cells along a side; of two, the outer module, and of those the later one
    for name, out in calls:
        cells, depth = out.shape[-1], name.count(".")
        if often[name] == 1 and (cells not in found or depth <= found[cells][0].count(".")):
            found[cells] = name, out.shape[1]
    last = calls[-1][1].shape[-1]
    found[last] = "", calls[-1][1].shape[1]
    return dict(found[cells] for cells in sorted(found, reverse=True) if cells >= last)


def level_maps(trunk: nn.Module, names: Iterable[str], x: Tensor) -> list[Tensor]:
    """The outputs of some modules of a trunk for clips (B,3,T,H,W), each (B,D,t,h,w)."""
    kept: dict[str, Tensor] = {}

    def keep(name: str, out: Tensor) -> None:
        kept[name] = out if out.dim() == 5 else torch.unflatten(out, 0, (x.shape[0], -1)).transpose(1, 2)

    modules = dict(trunk.named_modules())
    hooks = [
        modules[name].register_forward_hook(lambda module, inputs, out, name=name: keep(name, out)) for name in names
    ]
    try:
        trunk(x)
    finally:
        for hook in hooks:
            hook.remove()
    return [kept[name] for name in names]
