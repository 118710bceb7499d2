"""Our parts beside the bare libraries, timed in one run in turns, as ratios; a busy machine slows both sides alike.

The target of each line is stated with it. Medians over the rounds; every round times both sides.
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssvid.config import PretrainConfig
from ssvid.data.index import Index, VideoRecord
from ssvid.data.loader import Batch, ClipReader, Plan, collate, load
from ssvid.data.scanning import make_copies, scan_videos
from ssvid.data.synthetic import make_world
from ssvid.errors import ConfigError
from ssvid.training import fit as loop
from ssvid.training.plans import PlanSampler
from ssvid.training.run import environment
from ssvid.video.writer import write_video

CLIP, SIDE, CLIPS = 16, 112, 96  # frames, px and number of the loader's clips


def run_bench(what: str, rounds: int = 5) -> list[dict[str, Any]]:
    """Rows of one benchmark: what was timed, both rates, their ratio and the target. Raises ConfigError for an unknown one."""
    benches = {"loader": bench_loader, "step": bench_step, "start": bench_start}
    if what not in benches:
        raise ConfigError(f"there is no bench {what!r}; there are: {', '.join(benches)}")
    with tempfile.TemporaryDirectory() as folder:
        return benches[what](Path(folder), rounds)


def to_markdown(what: str, rounds: int, rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table, with the machine they were timed on."""
    machine = environment()
    lines = [
        f"### ssvid bench {what}",
        "",
        f"Medians of {rounds} rounds on {machine['cores']} cores ({machine['machine']}, {machine['device']}).",
    ]
    lines += ["", "| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    lines += ["| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def bench_loader(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Clips a second: a bare decord loop, our loader with one worker on the same windows, and on training copies."""
    index = Index(folder / "index.sqlite", create=True)
    for number in range(4):
        write_video(folder / "v" / f"{number}.mp4", _footage(number, 600), fps=30, gop=250, bframes=2, crf=23)
    scan_videos([folder / "v"], index)
    originals = index.videos()
    make_copies(index, folder / "copies")
    copies = index.videos()
    rng = np.random.default_rng(0)
    plans = [_window(number % len(originals), originals, rng) for number in range(CLIPS)]
    rates = _rates(
        {
            "bare": lambda: _steady(bare_decord(originals, plan) for plan in plans),
            "ours": lambda: _steady(len(batch.clips) for batch in load(originals, _chunks(plans), SIDE, workers=1)),
            "copies": lambda: _steady(len(batch.clips) for batch in load(copies, _chunks(plans), SIDE, workers=1)),
        },
        rounds,
    )
    return [
        _row(
            "our loader, one worker, against a bare decord loop (H.264 320x240, GOP 250)",
            rates["bare"],
            rates["ours"],
            0.9,
            "clips/s",
        ),
        _row("training copies against the originals", rates["ours"], rates["copies"], 4.0, "clips/s"),
    ]


def bare_decord(videos: Sequence[VideoRecord], plan: Plan) -> int:
    """What one would write by hand: a fresh reader a window, one thread, resized while decoding."""
    import decord

    info = videos[plan.video].info
    width = round(info.width * SIDE / info.height)
    reader = decord.VideoReader(info.path, width=width, height=SIDE, num_threads=1)
    return len(reader.get_batch(plan.indices.ravel()).asnumpy()) // CLIP


def bench_step(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Steps a second: a bare torch loop over one batch in memory, our loop over the same batch, and our loop with a worker that
    decodes and augments beside it. The last has no target: with two cores it tells what sharing them costs."""
    index = Index(folder / "index.sqlite", create=True)
    scan_videos([make_world(folder / "world", per_class=2, frames=64, size=64, workers=1)], index)
    config = PretrainConfig(
        backbone="r3d_18_tiny",
        batch=16,
        steps=24,
        log_every=4,
        data=[str(index.path)],
        options={"frames": 16, "size": (64, 64)},
        workers=1,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))  # a core is left to the worker on both sides
    task = loop.build_task(config)
    videos, _ = loop.training_videos(task, index, "all")
    mean, std = (torch.tensor(value) for value in (task.backbone.info.mean, task.backbone.info.std))
    batch = _first_batch(task, videos, config).augmented(mean, std)

    def bare() -> float:
        model = loop.build_task(config)
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr)
        model.train()
        began = time.perf_counter()
        for _ in range(config.steps):
            loss = model(batch.clips, batch.target)["loss"]
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_grad)
            optimizer.step()
        return config.steps / (time.perf_counter() - began)

    def ours(batches: Iterable[Batch] | None) -> float:
        config.out = str(folder / f"run{time.perf_counter_ns()}")
        run = loop.Run.create(config)
        loop.fit(loop.build_task(config), videos, config, run, loop.make_fabric(config), lambda line: None, batches)
        return statistics.median(line["clips_per_second"] for line in run.metrics()[1:]) / config.batch

    sides: dict[str, Callable[[], float]] = {
        "bare": bare,
        "loop": lambda: ours(itertools.repeat(batch, config.steps)),
        "worker": lambda: ours(None),
    }
    rates = _rates(sides, rounds)
    torch.set_num_threads(threads)
    what = f"{config.backbone}, batch {config.batch}"
    return [
        _row(f"our loop against bare torch, the same batch, {what}", rates["bare"], rates["loop"], 0.95, "steps/s"),
        _row(
            f"our loop beside its decoding worker against bare torch, {what}",
            rates["bare"],
            rates["worker"],
            None,
            "steps/s",
        ),
    ]


def bench_start(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Seconds until `ssvid --help` and `ssvid list` have answered, beside an interpreter that does nothing."""
    rows = []
    for arguments in (["--help"], ["list"]):
        sides: dict[str, Callable[[], float]] = {
            "base": partial(_per_second, [sys.executable, "-c", ""]),
            "ours": partial(_per_second, [sys.executable, "-m", "ssvid", *arguments]),
        }
        rates = _rates(sides, rounds)
        bare, ours = (1 / statistics.median(rates[side]) for side in ("base", "ours"))
        what = f"ssvid {arguments[0]} against an empty interpreter, at most 0.5 s"
        rows.append(
            {
                "what": what,
                "base": f"{bare:.2f} s",
                "ours": f"{ours:.2f} s",
                "ratio": round(bare / ours, 3),
                "target": "0.5 s",
            }
        )
        rows[-1]["met"] = ours <= 0.5
    return rows


def _per_second(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return 1 / (time.perf_counter() - began)


def _rates(sides: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Rates of every side, in turns; the first round warms up and does not count."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            rate = side()
            if number:
                rates[name].append(rate)
    return rates


def _steady(counts: Iterable[int]) -> float:
    """Things a second, from the first to the last: starting a worker is paid once a run, not once a clip."""
    stream = iter(counts)
    next(stream)
    began = time.perf_counter()
    return sum(stream) / (time.perf_counter() - began)


def _row(what: str, base: list[float], ours: list[float], target: float | None, unit: str) -> dict[str, Any]:
    ratio = statistics.median(b / a for a, b in zip(base, ours, strict=True))
    return {
        "what": what,
        "base": f"{statistics.median(base):.1f} {unit}",
        "ours": f"{statistics.median(ours):.1f} {unit}",
        "ratio": round(ratio, 3),
        "target": target or "",
        "met": "" if target is None else ratio >= target,
    }


def _footage(seed: int, frames: int) -> Iterator[np.ndarray]:
    """Frames 320x240 that cost a decoder what real footage does: a drifting texture, moving things, and grain (about 550 kbit/s)."""
    rng = np.random.default_rng(seed)
    small = torch.from_numpy(rng.integers(0, 256, (1, 3, 40, 50)).astype(np.float32))
    texture = (
        torch.nn.functional.interpolate(small, (400, 500), mode="bicubic")[0].permute(1, 2, 0).clamp(0, 255).numpy()
    )
    grain = rng.normal(0, 6, (300, 400, 1)).astype(np.float32)
    place, speed, color = rng.uniform(0, 240, (6, 2)), rng.normal(0, 3, (6, 2)), rng.integers(0, 256, (6, 3))
    for t in range(frames):
        y, x = int(80 + 70 * np.sin(t / 40 + seed)), int(90 + 80 * np.cos(t / 55))
        frame = texture[y : y + 240, x : x + 320].copy()
        for (top, left), paint in zip((place + speed * t).astype(int) % (200, 280), color, strict=True):
            frame[top : top + 40, left : left + 40] = paint
        y, x = (int(limit * rng.random()) for limit in (60, 80))
        yield (frame + grain[y : y + 240, x : x + 320]).clip(0, 255).astype(np.uint8)


def _window(video: int, videos: Sequence[VideoRecord], rng: np.random.Generator) -> Plan:
    start = int(rng.integers(videos[video].info.frames - CLIP))
    return Plan(video, np.arange(start, start + CLIP)[None], np.zeros(0, np.float32), {}, 0.5, SIDE)


def _chunks(plans: Sequence[Plan]) -> list[list[Plan]]:
    return [list(plans[start : start + 8]) for start in range(0, len(plans), 8)]


def _first_batch(task: Any, videos: Sequence[VideoRecord], config: PretrainConfig) -> Any:
    reader = ClipReader(videos, task.augment.decode_size)
    batch = collate([reader[plan] for plan in PlanSampler(task, videos, config).plans(0)])
    if isinstance(batch, Exception):
        raise batch
    return batch
