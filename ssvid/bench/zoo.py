"""What every backbone is and costs, and what it costs to be wrapped: our backbone beside its bare network, as the library builds it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median, stdev
from typing import Any

import torch
from torch import Tensor, nn

from ssvid.bench.timing import rates_of_calls
from ssvid.compute import resolve_device
from ssvid.environment import environment
from ssvid.errors import ConfigError
from ssvid.evaluation.tables.cells import CellFile
from ssvid.zoo import Backbone, count_macs, count_parameters, create_model, list_models
from ssvid.zoo.backbone import PerFrame, to_device
from ssvid.zoo.registry import ENCODERS, find

VERSION = 3  # of what is timed; a change makes rows that were kept void
SECONDS = 0.6  # a round takes at least so long
LONG = 20.0  # seconds: networks that take longer are measured in fewer rounds, whose ratios vary less
Call = Callable[[Tensor], Tensor]
Step = Callable[[Backbone, Call, Tensor], None]


def bench_zoo(folder: Path, rounds: int, models: str = "*_tiny", kept: Path | None = None) -> list[dict[str, Any]]:
    """A row for every backbone that matches a shell pattern: parameters, multiply-adds, its map, and clips a second of its own length and
    size, one clip at a time, in eval mode and with gradients.

    "ours" takes colours. "bare" is the same network, called without us on the input that it takes, made beforehand: normalised colours,
    changes or flow. "input and bare" makes that input of the colours first, in every call, as whoever calls a library's network has to.
    Ratios have the standard error of their median. Ours to input and bare says what the wrapping costs, target 0.97.

    kept: a file of rows, to which each is added as it is timed; those of as many rounds on such a machine are not timed again, since all
    names take an hour and a half. Raises ConfigError where nothing matches.
    """
    names = [name for name in list_models(models) if find(ENCODERS, name.partition("+")[0]).fields.get("learns", True)]
    if not names:
        raise ConfigError(f"no backbone that learns matches {models!r}; `ssvid list models` shows all")
    file = CellFile(kept) if kept is not None else None
    machine = environment()
    about = {
        "version": VERSION,
        "rounds": rounds,
        **{fact: machine[fact] for fact in ("device", "machine", "cores", "threads")},
    }
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
    bare, form = _bare(backbone)
    taken = form(clip)
    sides: dict[str, tuple[Call, Tensor]] = {
        "bare": (bare, taken),
        "input and bare": (lambda colours: bare(form(colours)), clip),
        "ours": (backbone, clip),
    }
    forward = _timed(backbone.eval(), sides, _seen, rounds)
    both = _timed(backbone.train(), sides, _taught, rounds)
    return {
        "name": name,
        "parameters, M": f"{count_parameters(backbone) / 1e6:.2f}",
        "clip": f"{info.frames} x {info.size} px",
        "multiply-adds, G": f"{count_macs(name, info.frames, info.size) / 1e9:.2f}",
        "dim": info.dim,
        "sees, frames": info.temporal_rf or "all",
        "forward, clips/s": f"{median(forward['ours']):.3g}",
        "forward, ours to bare": _ratio(forward, "bare"),
        "forward, ours to input and bare": _ratio(forward, "input and bare"),
        "forward and backward, clips/s": f"{median(both['ours']):.3g}",
        "both, ours to bare": _ratio(both, "bare"),
        "both, ours to input and bare": _ratio(both, "input and bare"),
        "weights": " ".join(find(ENCODERS, name.partition("+")[0]).fields.get("weights", {})) or "none by name",
    }


def _bare(backbone: Backbone) -> tuple[nn.Module, Call]:
    """The network within, and what makes its input of a clip's colours: single frames, or a clip."""
    if isinstance(backbone.trunk, PerFrame):
        return backbone.trunk.net, lambda colours: backbone.make_input(colours).transpose(1, 2).flatten(0, 1)
    return backbone.trunk, backbone.make_input


def _timed(
    backbone: Backbone, sides: dict[str, tuple[Call, Tensor]], step: Step, rounds: int
) -> dict[str, list[float]]:
    """Calls a second of each side in each round; the bare network is a part of the backbone, so its mode is that of all."""
    calls = {side: partial(step, backbone, *call) for side, call in sides.items()}
    return rates_of_calls(calls, rounds, SECONDS, LONG)


def _seen(backbone: Backbone, call: Call, taken: Tensor) -> None:
    with torch.inference_mode():
        call(taken)
    _finish(taken)


def _taught(backbone: Backbone, call: Call, taken: Tensor) -> None:
    call(taken).square().mean().backward()
    backbone.zero_grad()
    _finish(taken)


def _finish(taken: Tensor) -> None:
    if taken.device.type == "cuda":
        torch.cuda.synchronize()


def _ratio(timed: dict[str, list[float]], side: str) -> str:
    """The median of the rounds' ratios of ours to a side and, of two rounds or more, its standard error, 1.25 deviations by the root of
    their number."""
    ratios = [ours / base for base, ours in zip(timed[side], timed["ours"], strict=True)]
    error = f" ± {1.25 * stdev(ratios) / len(ratios) ** 0.5:.3f}" if len(ratios) > 1 else ""
    return f"{median(ratios):.3f}{error}"
