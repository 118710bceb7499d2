"""Steps a second of the training loop."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ssvid.bench.timing import rates, row
from ssvid.compute import LARGEST, keep_freed_memory
from ssvid.config import PretrainConfig
from ssvid.data.index import Index
from ssvid.data.loader import Batch, ClipReader, collate
from ssvid.data.scanning import scan_videos
from ssvid.data.synthetic import make_world
from ssvid.data.video_record import VideoRecord
from ssvid.training import fit as loop
from ssvid.training.build import build_task
from ssvid.training.launch import make_fabric
from ssvid.training.run import Run
from ssvid.training.sampler import PlanSampler
from ssvid.training.videos import training_videos

GLIBC_LARGEST = 32 * 2**20  # bytes: the largest blocks that glibc keeps by itself


def bench_step(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Steps a second: a bare torch loop over one batch in memory, our loop over the same batch, as colours and as flow, which is worked
    out in every step, and our loop with a worker that decodes and augments beside it. The last two have no target: they tell what flow
    costs, and on two cores what sharing them costs. And a large batch by bare torch, under glibc's own limits of memory and with all of
    it kept, as we have it on a CPU."""
    index = Index(folder / "index.sqlite", create=True)
    scan_videos([make_world(folder / "world", per_class=2, frames=64, size=64, engine="local:1")], index)
    options = {"frames": 16, "size": (64, 64)}
    config = PretrainConfig(
        backbone="r3d_18_tiny", batch=16, steps=24, log_every=4, data=[str(index.path)], options=options, workers=1
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))  # a core is left to the worker on both sides
    task = build_task(config)
    videos, _ = training_videos(task, index, "all")
    batch = _first_batch(task, videos, config).augmented()

    def ours(batches: Iterable[Batch] | None, config: PretrainConfig = config) -> float:
        config.out = str(folder / f"run{time.perf_counter_ns()}")
        run = Run.create(config)
        loop.fit(build_task(config), videos, config, run, make_fabric(config), lambda line: None, batches)
        return statistics.median(line["clips_per_second"] for line in run.metrics()[1:]) / config.batch

    on_flow = replace(config, backbone_options={"input": "flow"})
    sides: dict[str, Callable[[], float]] = {
        "bare": lambda: _bare_loop(config, batch),
        "loop": lambda: ours(itertools.repeat(batch, config.steps)),
        "flow": lambda: ours(itertools.repeat(batch, config.steps), on_flow),
        "worker": lambda: ours(None),
    }
    timed = rates(sides, rounds)
    memory = _memory_row(config, videos, rounds)
    torch.set_num_threads(threads)
    what = f"{config.backbone}, batch {config.batch}"
    return [
        row(f"our loop against bare torch, the same batch, {what}", timed["bare"], timed["loop"], 0.95, "steps/s"),
        row(f"our loop on flow against our loop on colours, {what}", timed["loop"], timed["flow"], None, "steps/s"),
        row(
            f"our loop beside its decoding worker against bare torch, {what}",
            timed["bare"],
            timed["worker"],
            None,
            "steps/s",
        ),
        memory,
    ]


def _memory_row(config: PretrainConfig, videos: Sequence[VideoRecord], rounds: int) -> dict[str, Any]:
    large = replace(config, backbone="r3d_18_small", batch=64, steps=3)
    batch = _first_batch(build_task(large), videos, large).augmented()

    def kept(largest: int) -> float:
        keep_freed_memory(largest)
        return _bare_loop(large, batch)

    timed = rates({"returned": lambda: kept(GLIBC_LARGEST), "kept": lambda: kept(LARGEST)}, rounds)
    what = f"bare torch keeping freed memory against returning it, {large.backbone}, batch {large.batch}"
    return row(what, timed["returned"], timed["kept"], None, "steps/s")


def _bare_loop(config: PretrainConfig, batch: Batch) -> float:
    """Steps a second of plain torch over one batch."""
    model = build_task(config)
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


def _first_batch(task: Any, videos: Sequence[VideoRecord], config: PretrainConfig) -> Any:
    reader = ClipReader(task.augment.decode_size)
    batch = collate([reader[plan] for plan in PlanSampler(task, videos, config).plans(0)])
    if isinstance(batch, Exception):
        raise batch
    return batch
