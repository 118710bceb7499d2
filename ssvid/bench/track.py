"""Label propagation within a window beside all pairs with a mask: frames a second, peak memory, equality; and memory by the video's length.

Every measurement runs in a process of its own, so that its peak of memory is its own. Features are made: smooth fields that drift, so that
neighbouring cells and frames are alike, as they are in a video.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssvid.ops.affinity import is_near
from ssvid.tracking.memory import LabelledFrame, Memory
from ssvid.tracking.presets import Preset, find_preset

GRID, DIM, LABELS = (60, 107), 256, 3  # cells of 854x480 px at stride 8
CHUNK = 100  # queries that the dense way takes together
SHORT, LONG = 100, 2000  # frames
FAST, MEMORY, LENGTH, EQUAL = 5.0, 1 / 3, 1.1, 1e-4  # the targets

PEAK = "import resource, sys; peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)"
FRAME = f"""
{PEAK}
import json, time
from safetensors.torch import save_file
from ssvid.bench import track
from ssvid.tracking.propagation import propagate
features, memory, preset = track.made_frame()
side = {{"dense": track.dense, "ours": propagate}}[sys.argv[1]]
before, began = peak(), time.perf_counter()
labels = side(features, memory, preset)
spent = time.perf_counter() - began
print(json.dumps({{"seconds": spent, "bytes": peak() - before, "peak": peak()}}))
save_file({{"labels": labels}}, sys.argv[2])
"""
VIDEO = f"""
{PEAK}
import json, torch
torch.set_num_threads(1)
from ssvid.bench import track
track.follow(int(sys.argv[1]))
print(json.dumps({{"peak": peak()}}))
"""


def bench_track(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """One frame of 854x480 at stride 8 out of 20 + 1 others, both ways in turns; a tracker over 100 and 2,000 small frames."""
    runs: dict[str, list[dict[str, float]]] = {"dense": [], "ours": []}
    for _ in range(rounds):
        for side, done in runs.items():
            done.append(_measured(FRAME, side, str(folder / f"{side}.safetensors")))
    return [_speed(runs), _memory(runs), _equality(folder), _length(rounds)]


def made_frame() -> tuple[Tensor, Memory, Preset]:
    """Features of a frame, what came before it, and how it is compared: as the preset crw does."""
    torch.manual_seed(0)
    preset = find_preset("crw")
    memory = Memory(preset.recent)
    field = torch.randn(1, DIM, GRID[0] // 4, GRID[1] // 4)
    labels = torch.rand(*GRID, LABELS).softmax(-1)
    for number in range(preset.recent + 2):
        smooth = F.interpolate(field, GRID, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
        features = F.normalize(smooth.roll(number, 1) + 0.5 * torch.randn(*GRID, DIM), dim=-1)
        memory.add(LabelledFrame(number, features, labels.roll(number, 1)))
    newest = memory.recent.pop()
    memory.recent.appendleft(newest._replace(number=0))
    return newest.features.roll(1, 1), memory, preset


@torch.no_grad()
def dense(features: Tensor, memory: Memory, preset: Preset) -> Tensor:
    """What one would write by hand: all pairs in chunks of queries, a mask, and the largest."""
    frames = [*memory.kept, *memory.recent]
    keys = torch.stack([frame.features for frame in frames]).flatten(0, 2)
    labels = torch.stack([frame.labels for frame in frames]).flatten(0, 2)
    h, w, _ = features.shape
    cells = torch.cartesian_prod(torch.arange(h), torch.arange(w))
    carried = []
    for query, place in zip(features.flatten(0, 1).split(CHUNK), cells.split(CHUNK), strict=True):
        near = is_near(place, cells, preset.radius or 0, preset.neighbourhood).repeat(1, len(memory.recent))
        far = torch.zeros(len(query), len(keys), dtype=torch.bool)
        far[:, len(memory.kept) * len(cells) :] = ~near
        logits = (query @ keys.T / preset.temperature).masked_fill_(far, -torch.inf)
        top = logits.topk(preset.topk)
        carried.append(torch.einsum("nk,nkc->nc", top.values.softmax(1), labels[top.indices]))
    return torch.cat(carried).view(h, w, -1)


def follow(frames: int) -> None:
    """Track an object through so many small frames of noise."""
    import numpy as np

    from ssvid.tracking.features import FrameEncoder
    from ssvid.tracking.tracker import Prompt, track_frames
    from ssvid.zoo import create_model

    rng = np.random.default_rng(0)
    noise = (rng.integers(0, 256, (64, 96, 3), dtype=np.uint8) for _ in range(frames))
    mask = np.zeros((64, 96), np.uint8)
    mask[16:48, 16:48] = 1
    for _ in track_frames(noise, {0: Prompt(mask)}, FrameEncoder(create_model("resnet18_tiny"))):
        pass


def _speed(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    ratio = statistics.median(
        dense["seconds"] / ours["seconds"] for dense, ours in zip(runs["dense"], runs["ours"], strict=True)
    )
    shown = {
        side: f"{statistics.median(1 / run['seconds'] for run in done):.2f} frames/s" for side, done in runs.items()
    }
    what = f"propagation within a window against all pairs, {GRID[0]}x{GRID[1]} cells x {DIM}, radius 12, 20 + 1 frames, k = 10"
    return _row(what, shown["dense"], shown["ours"], ratio, FAST, ratio >= FAST)


def _memory(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    took = {side: statistics.median(run["bytes"] for run in done) for side, done in runs.items()}
    ratio = took["ours"] / took["dense"]
    what = "peak memory of that, beside the features that both are given"
    dense, ours = (f"{took[side] / 1e6:.0f} MB" for side in ("dense", "ours"))
    return _row(what, dense, ours, ratio, f"at most {MEMORY:.2f}", ratio <= MEMORY)


def _equality(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    labels = [load_file(folder / f"{side}.safetensors")["labels"] for side in ("dense", "ours")]
    off = float((labels[0] - labels[1]).abs().max())
    return _row("largest difference of their soft labels", "0", f"{off:.1e}", off, f"at most {EQUAL}", off <= EQUAL)


def _length(rounds: int) -> dict[str, Any]:
    peaks = [
        statistics.median(_measured(VIDEO, str(frames))["peak"] for _ in range(min(rounds, 2)))
        for frames in (SHORT, LONG)
    ]
    ratio = peaks[1] / peaks[0]
    what = f"peak memory of a tracker over {LONG:,} frames against {SHORT}, 96x64 px"
    short, long = (f"{peak / 1e6:.0f} MB" for peak in peaks)
    return _row(what, short, long, ratio, f"at most {LENGTH}", ratio <= LENGTH)


def _row(what: str, base: str, ours: str, ratio: float, target: float | str, met: bool) -> dict[str, Any]:
    return {"what": what, "base": base, "ours": ours, "ratio": float(f"{ratio:.3g}"), "target": target, "met": met}


def _measured(script: str, *arguments: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result
