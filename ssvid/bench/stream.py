"""Networks on a stream beside a sliding window: multiply-adds and time a step, the same for every length of clip, and memory of the state.

A step is what one new frame costs, on the mean over as many frames as the network has between two steps of its map. The window is the clip
that the network was designed for, run anew at each of those steps, as is done without continual networks; for X3D it is the one of its own
size that CoX3D is compared with (arXiv:2106.00050, table 2: 12 to 15 times fewer multiply-adds).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ssvid.zoo import create_model
from ssvid.zoo.backbone import Backbone
from ssvid.zoo.stream import ContinualStream, Stream, WindowStream, open_stream


class Case(NamedTuple):
    """A network, frames of its usual clip and their side, px; targets of fewer multiply-adds and of less time, None for none."""

    name: str
    options: Mapping[str, Any]
    frames: int
    size: int
    fewer: float | None
    faster: float | None


FRAME = {"se": "frame"}
CASES = (
    Case("r3d_18_tiny", {}, 16, 48, 3.0, None),
    Case("slow_tiny", {}, 8, 48, 6.0, None),
    Case("x3d_tiny", FRAME, 16, 48, 12.0, None),
    Case("r3d_10", {}, 16, 112, 1.8, 1.3),
    Case("slow_r50", {}, 8, 112, 7.0, 2.0),
    Case("x3d_xs", FRAME, 4, 160, 3.5, 1.2),
    Case("x3d_s", FRAME, 13, 160, 12.0, 4.0),
)
LONGER = 4  # times the usual clip, for what must not depend on it
REPEATS = 8  # steps of a stream that are timed at once
EVEN = 1.3  # how much longer a step may take late in a stream than early: what a busy machine gives


@torch.inference_mode()
def bench_stream(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Rows for every case."""
    rows: list[dict[str, Any]] = []
    for case in CASES:
        torch.manual_seed(0)
        net = create_model(case.name, **case.options).eval()
        rows += [_cost(case, net), *_times(case, net, rounds), _memory(case, net)]
    return rows


def _cost(case: Case, net: Backbone) -> dict[str, Any]:
    meta = create_meta(case)
    exact = open_stream(meta)
    window = macs_a_step(WindowStream(meta, case.frames, exact.stride), case.size, case.frames)
    ours = macs_a_step(exact, case.size, 0)
    longer = macs_a_step(exact, case.size, LONGER * case.frames)
    what = f"{_name(case)}, {case.size} px: multiply-adds a frame, window of {case.frames} beside stream"
    row = _row(what, f"{window / 1e6:.1f} M", f"{ours / 1e6:.1f} M", window / ours, case.fewer)
    return row | {"met": row["met"] and longer == ours}


def create_meta(case: Case) -> Backbone:
    """The network without numbers, to count on."""
    with torch.device("meta"):
        return create_model(case.name, **case.options).eval()


def macs_a_step(stream: Stream[Any], size: int, after: int) -> float:
    """Multiply-adds of one frame on the mean, once a stream is under way; `after` so many frames more."""
    device = torch.device("meta")
    frame, state = torch.empty(1, 3, size, size, device=device), stream.init_state(1, device)
    warm = stream.delay + 2 * stream.stride + after
    for _ in range(warm - warm % stream.stride):
        _, state = stream.step(frame, state)
    with FlopCounterMode(display=False) as counter:
        for _ in range(stream.stride):
            _, state = stream.step(frame, state)
    return int(counter.get_total_flops()) / 2 / stream.stride


def _times(case: Case, net: Backbone, rounds: int) -> list[dict[str, Any]]:
    """Time a frame against the window, and late in a stream against early."""
    exact = open_stream(net)
    assert isinstance(exact, ContinualStream)
    frames = [torch.rand(1, 3, case.size, case.size) for _ in range(max(2, exact.stride))]
    window = WindowStream(net, case.frames, exact.stride)
    early, late = _warm(exact, frames, 0), _warm(exact, frames, LONGER * case.frames)
    full = _warm(window, frames, case.frames)
    sides: dict[str, tuple[Stream[Any], Any]] = {
        "window": (window, full),
        "early": (exact, early),
        "late": (exact, late),
    }
    spent: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, (stream, state) in sides.items():
            spent[side].append(_seconds(stream, frames, state))
    shown = {side: f"{1e3 * statistics.median(times):.2f} ms" for side, times in spent.items()}
    faster = _median_ratio(spent["window"], spent["early"])
    even = _median_ratio(spent["late"], spent["early"])
    what = f"{_name(case)}: time a frame, window beside stream"
    first = _row(what, shown["window"], shown["early"], faster, case.faster)
    row = _row(f"{_name(case)}: a frame early and {LONGER} clips later", shown["early"], shown["late"], even, None)
    return [first, row | {"target": f"at most {EVEN}", "met": bool(even <= EVEN)}]


def _warm(stream: Stream[Any], frames: list[Tensor], after: int) -> Any:
    """A state well under way, at the beginning of a round of `stride` frames."""
    state = stream.init_state(1, frames[0].device)
    count = stream.delay + 2 * stream.stride + after
    for number in range(count - count % stream.stride):
        _, state = stream.step(frames[number % len(frames)], state)
    return state


def _seconds(stream: Stream[Any], frames: list[Tensor], state: Any) -> float:
    """Seconds of the processor a frame, which other programs take no part of. The state before is as it was: every call does the same."""
    count = stream.stride * (REPEATS if stream.exact else 1)
    began = time.process_time()
    for number in range(count):
        _, state = stream.step(frames[number % len(frames)], state)
    return (time.process_time() - began) / count


def _memory(case: Case, net: Backbone) -> dict[str, Any]:
    """Bytes of the state, beside the frames that a window holds."""
    stream = open_stream(net)
    frames = [torch.rand(1, 3, case.size, case.size)]
    held = [bytes_of(_warm(stream, frames, after)) for after in (0, LONGER * case.frames)]
    window = bytes_of(frames) * case.frames
    row = _row(
        f"{_name(case)}: memory of the state, frames of the window beside it",
        f"{window / 1e6:.2f} MB",
        f"{held[0] / 1e6:.2f} MB",
        held[0] / window,
        None,
    )
    return row | {"target": "does not grow", "met": held[1] <= held[0]}


def bytes_of(state: Any) -> int:
    """Bytes of the tensors that a state holds, each storage once."""
    storages = {
        part.untyped_storage().data_ptr(): part.untyped_storage().nbytes()
        for part in tree_leaves(state)
        if isinstance(part, Tensor)
    }
    return sum(storages.values())


def _median_ratio(base: list[float], ours: list[float]) -> float:
    return float(statistics.median(b / o for b, o in zip(base, ours, strict=True)))


def _name(case: Case) -> str:
    return " ".join([case.name, *(f"{key}={value}" for key, value in case.options.items())])


def _row(what: str, base: str, ours: str, ratio: float, target: float | None) -> dict[str, Any]:
    met = "" if target is None else bool(ratio >= target)
    return {
        "what": what,
        "base": base,
        "ours": ours,
        "ratio": float(f"{ratio:.3g}"),
        "target": target or "",
        "met": met,
    }
