"""What every backbone is and costs, and what it costs to be wrapped: our backbone beside its bare network, as the library builds it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, stdev
from typing import Any

import torch
from torch import Tensor, nn

from ssvid.bench.timing import rates
from ssvid.compute import resolve_device
from ssvid.environment import environment
from ssvid.errors import ConfigError
from ssvid.evaluation.tables.cells import CellFile
from ssvid.zoo import Backbone, count_macs, count_parameters, create_model, list_models
from ssvid.zoo.backbone import PerFrame, to_device
from ssvid.zoo.registry import ENCODERS, find

SECONDS = 0.2  # a measurement takes at least so long
LONG = 20.0  # seconds: networks that take longer are measured in fewer rounds, whose ratios vary less
Call = Callable[[Tensor], Tensor]


def bench_zoo(folder: Path, rounds: int, models: str = "*_tiny", kept: Path | None = None) -> list[dict[str, Any]]:
    """A row for every backbone that matches a shell pattern: parameters, multiply-adds, its map, and clips a second of its own length and
    size, one clip at a time, in eval mode and with gradients. "bare" is the same network called without us on what it takes.

    The ratios, ours to bare, say what the wrapping costs, with the standard error of their median; 0.97 is the target for both. "input"
    is the part of our forward that makes the network's input, which whoever calls the bare network does as well: normalised colours,
    changes or flow. kept: a file of rows, to which
    each is added as it is timed; those of as many rounds on such a machine are not timed again, since all names take an hour. Raises
    ConfigError where nothing matches.
    """
    names = [name for name in list_models(models) if find(ENCODERS, name.partition("+")[0]).fields.get("learns", True)]
    if not names:
        raise ConfigError(f"no backbone that learns matches {models!r}; `ssvid list models` shows all")
    file = CellFile(kept) if kept is not None else None
    machine = environment()
    about = {"rounds": rounds, **{fact: machine[fact] for fact in ("device", "machine", "cores", "threads")}}
    known = file.read() if file else {}
    rows = []
    for name in names:
        cell = known.get(name, {})
        row = cell["row"] if cell.get("about") == about else _row(name, rounds)
        if file and row is not cell.get("row"):
            file.add(name, {"row": row, "about": about})
        rows.append(row)
    return rows


def _row(name: str, rounds: int) -> dict[str, Any]:
    device = resolve_device("auto")
    backbone = to_device(create_model(name), device)
    info = backbone.info
    clip = torch.rand(1, 3, info.frames, info.size, info.size, device=device)
    bare, taken = _bare(backbone, clip)
    forward = rates({"bare": lambda: _seen(bare, taken), "ours": lambda: _seen(backbone, clip)}, rounds, LONG)
    both = rates({"bare": lambda: _taught(bare, taken), "ours": lambda: _taught(backbone, clip)}, rounds, LONG)
    made = rates({"input": lambda: _made(backbone, clip)}, rounds)["input"]
    return {
        "name": name,
        "parameters, M": f"{count_parameters(backbone) / 1e6:.2f}",
        "clip": f"{info.frames} x {info.size} px",
        "multiply-adds, G": f"{count_macs(name, info.frames, info.size) / 1e9:.2f}",
        "dim": info.dim,
        "sees, frames": info.temporal_rf or "all",
        "forward, clips/s": f"{median(forward['ours']):.3g}",
        "forward, ours to bare": _ratio(forward),
        "input, % of forward": f"{100 * median(forward['ours']) / median(made):.1f}",
        "forward and backward, clips/s": f"{median(both['ours']):.3g}",
        "both, ours to bare": _ratio(both),
        "weights": " ".join(find(ENCODERS, name.partition("+")[0]).fields.get("weights", {})) or "none by name",
    }


def _bare(backbone: Backbone, clip: Tensor) -> tuple[nn.Module, Tensor]:
    """The network within, and what it takes of the clip: single frames, or a clip of its colours."""
    taken = backbone.make_input(clip)
    if isinstance(backbone.trunk, PerFrame):
        return backbone.trunk.net, taken.transpose(1, 2).flatten(0, 1)
    return backbone.trunk, taken


def _seen(net: nn.Module, taken: Tensor) -> float:
    with torch.inference_mode():
        return _rate(net.eval(), taken)


def _made(backbone: Backbone, clip: Tensor) -> float:
    with torch.inference_mode():
        return _rate(backbone.make_input, clip)


def _taught(net: nn.Module, taken: Tensor) -> float:
    net.train()

    def step(x: Tensor) -> Tensor:
        loss: Tensor = net(x).square().mean()
        loss.backward()
        net.zero_grad()
        return loss

    return _rate(step, taken)


def _rate(call: Call, taken: Tensor) -> float:
    """Calls a second."""
    began, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - began < SECONDS:
        call(taken)
        calls += 1
        if taken.device.type == "cuda":
            torch.cuda.synchronize()
    return calls / (time.perf_counter() - began)


def _ratio(timed: dict[str, list[float]]) -> str:
    """The median of the rounds' ratios and, of two rounds or more, its standard error, 1.25 deviations by the root of their number."""
    ratios = [ours / bare for bare, ours in zip(timed["bare"], timed["ours"], strict=True)]
    error = f" ± {1.25 * stdev(ratios) / len(ratios) ** 0.5:.3f}" if len(ratios) > 1 else ""
    return f"{median(ratios):.3f}{error}"
