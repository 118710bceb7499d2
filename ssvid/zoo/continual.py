"""A video network made continual: it takes a clip piece by piece, frame by frame if need be, and gives exactly the clip's map.

    steps = continual(trunk)                            # None where the network cannot be run so
    out, state = steps.advance(frame, None)             # (B,3,1,H,W) -> (B,D,n,h,w), None while nothing is due
    out, state = steps.advance(frame, state)
    out, _ = steps.advance(None, state, last=True)      # what the end of the clip still gives

The trunk's operations are found by tracing it (torch.fx). Each is taken either step by step (norms in eval mode, activations, sums), or
over a window of steps of which the last are kept (convolutions and pools, see `ssvid.zoo.time_window`); a sum or concatenation waits until
all its parts have come, so that shortcuts are delayed as much as what they go around. No step is computed twice, so a frame costs a clip's
share of one frame, however long the clips are that the network is used to (Hedegaard and Iosifidis, ECCV 2022, arXiv:2106.00050).

An operation that sees the whole clip, as attention or a mean over time does, cannot be run so.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from ssvid.zoo.time_window import Layer, Tail, TimeWindow, every, window_of

Waiting = tuple[tuple[Tensor, ...], ...]  # for each part of a sum, the steps (B,D,1,h,w) that others still lack
State = Mapping[str, Tail | Waiting | None]

# what is computed of a step does not depend on other steps; in-place operations become those that leave a state as it was
PER_STEP: dict[Any, Callable[..., Any]] = {
    **{
        function: function
        for function in (operator.add, operator.sub, operator.mul, torch.add, torch.mul, torch.maximum, torch.cat)
    },
    **{function: function for function in (torch.relu, torch.sigmoid, torch.tanh, F.relu, F.silu, F.leaky_relu)},
    **{operator.iadd: operator.add, operator.imul: operator.mul},
    **{"relu": torch.relu, "relu_": torch.relu, "sigmoid": torch.sigmoid, "add": torch.add, "mul": torch.mul},
    "mean": torch.mean,
}
LAYERS = (nn.BatchNorm3d, nn.LocalResponseNorm, nn.ReLU, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Sigmoid, nn.Dropout)
POOLS: dict[Any, type[nn.Module]] = {F.avg_pool3d: nn.AvgPool3d, F.max_pool3d: nn.MaxPool3d}


class WholeClipError(Exception):
    """A network has an operation that is not known to be possible step by step."""


class Operation(NamedTuple):
    """One operation of a network: its name, those whose results it takes, how it looks over time (None: step by step), and itself."""

    name: str
    inputs: tuple[str, ...]
    window: TimeWindow | None
    run: Callable[..., Tensor]


def continual(trunk: nn.Module) -> ContinualTrunk | None:
    """A trunk as it is run piece by piece, with the same weights; None where it sees a whole clip, or is written in a way that tells
    nothing."""
    try:
        return ContinualTrunk(trunk)
    except WholeClipError:
        return None


class ContinualTrunk:
    """A trunk that is run piece by piece. It should be in eval mode. Raises WholeClipError where it cannot be run so.

    delay: frames after a frame until its step is given; stride: frames from a step to the next.
    """

    def __init__(self, trunk: nn.Module) -> None:
        graph = _trace(trunk)
        self.operations: list[Operation] = []
        timing: dict[str, tuple[int, int]] = {}  # delay and stride of what each operation gives, in frames
        for node in graph.nodes:
            if node.op == "placeholder":
                self.entry, timing[node.name] = node.name, (0, 1)
            elif node.op == "output":
                if not isinstance(node.args[0], fx.Node):
                    raise WholeClipError("it gives several maps")
                self.exit = node.args[0].name
            else:
                operation = _operation(trunk, node)
                delay = max(timing[name][0] for name in operation.inputs)
                stride = timing[operation.inputs[0]][1]
                if operation.window:
                    delay, stride = delay + operation.window.delay * stride, stride * operation.window.stride
                self.operations.append(operation)
                timing[node.name] = delay, stride
        self.delay, self.stride = timing[self.exit]

    def advance(self, x: Tensor | None, state: State | None, last: bool = False) -> tuple[Tensor | None, State]:
        """Take a piece of a clip (B,3,n,H,W), or None, and the state before it, None at the start.

        Returns the steps of the map (B,D,m,h,w) that are due, None where none is, and the state after it. last: the clip ends with it.
        """
        values: dict[str, Tensor | None] = {self.entry: x}
        after: dict[str, Tail | Waiting | None] = {}
        for name, inputs, window, run in self.operations:
            given = [values[part] for part in inputs]
            before: Any = state.get(name) if state else None
            if window:
                values[name], after[name] = window.advance(run, given[0], before, last)
            elif len(given) == 1:
                values[name] = None if given[0] is None else run(given[0])
            else:
                ready, after[name] = _together(given, before)
                values[name] = run(*ready) if ready else None
        return values[self.exit], after


def _together(given: list[Tensor | None], waiting: Waiting | None) -> tuple[list[Tensor], Waiting]:
    """The steps that have come of all parts, none where one lacks, and those that still wait."""
    queues = [
        (waiting[i] if waiting else ()) + (() if part is None else part.split(1, 2)) for i, part in enumerate(given)
    ]
    due = min(len(queue) for queue in queues)
    ready = [torch.cat(queue[:due], 2) for queue in queues] if due else []
    return ready, tuple(queue[due:] for queue in queues)


class _Tracer(fx.Tracer):
    """Follows a network down to its layers, and to modules that say how they are taken over time."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Layers of torch, also where a library has derived from them."""
        if isinstance(m, nn.Identity):
            return False  # SlowFast gives it a list, which passes through
        return window_of(m) is not None or _is_per_frame(m) or super().is_leaf_module(m, module_qualified_name)


def _is_per_frame(module: nn.Module) -> bool:
    """Whether a module says by `per_frame` that each step of what it gives is of that step alone of what it takes."""
    return getattr(module, "per_frame", False) is True


def _trace(trunk: nn.Module) -> fx.Graph:
    try:
        return _Tracer().trace(trunk)
    except Exception as error:  # the network's own code is run on what is no tensor, and may fail in its own way
        raise WholeClipError(f"it cannot be traced: {error}") from error


def _operation(trunk: nn.Module, node: fx.Node) -> Operation:
    """What a node of the graph computes. Raises WholeClipError where that is not known to be possible step by step."""
    inputs = tuple(part.name for part in node.all_input_nodes)
    over_time = _over_time(trunk, node)
    if over_time and len(inputs) == 1:
        return Operation(node.name, inputs, *over_time)
    if node.op == "call_module" and node.args == tuple(node.all_input_nodes) and not node.kwargs:
        return Operation(node.name, inputs, None, _layer(trunk.get_submodule(str(node.target))))
    function = PER_STEP.get(node.target)
    if node.op not in ("call_function", "call_method") or function is None or not inputs or _across_steps(node):
        raise WholeClipError(f"{node.format_node()} may see several steps")
    kwargs = {key: value for key, value in node.kwargs.items() if key != "inplace"}

    def run(*values: Tensor) -> Tensor:
        named = dict(zip(inputs, values, strict=True))
        made: Tensor = function(
            *map_arg(node.args, lambda part: named[part.name]), **map_arg(kwargs, lambda part: named[part.name])
        )
        return made

    return Operation(node.name, inputs, None, run)


def _over_time(trunk: nn.Module, node: fx.Node) -> tuple[TimeWindow, Layer] | None:
    """How a node looks over time, None where it does not, or in a way that is not known."""
    if node.op == "call_module":
        return window_of(trunk.get_submodule(str(node.target)))
    if node.target in POOLS:
        return window_of(POOLS[node.target](*node.args[1:], **node.kwargs))
    if node.target is operator.getitem and isinstance(node.args[1], tuple):
        whole, stepped = (slice(None), slice(None)), node.args[1][2:]
        if node.args[1][:2] == whole and len(stepped) == 1 and isinstance(stepped[0], slice):
            start, stop, step = stepped[0].start, stepped[0].stop, stepped[0].step
            return every(int(step or 1)) if start is None and stop is None else None
    return None


def _layer(module: nn.Module) -> Layer:
    """A layer that takes every step alone, and leaves what it is given as it was. Raises WholeClipError for others."""
    if not isinstance(module, LAYERS) and not _is_per_frame(module):
        raise WholeClipError(f"{module} may see several steps")
    if getattr(module, "inplace", False):
        module = copy.copy(module)
        module.inplace = False  # type: ignore[assignment]
    return module


def _across_steps(node: fx.Node) -> bool:
    """Whether a mean or a concatenation is over time, or over what may be time; or what is added is no map and no number."""
    if node.target not in ("mean", torch.cat):
        return not all(isinstance(part, fx.Node | int | float) for part in node.args)
    dim: Any = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    if node.target is torch.cat:
        return bool(dim != 1)
    over_space = isinstance(dim, list | tuple) and sorted(dim) in ([3, 4], [-2, -1])
    return not (over_space and node.kwargs.get("keepdim") is True)
