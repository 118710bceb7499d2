"""The loop: steps, not epochs; one visible function on Lightning Fabric, which brings device, precision and processes.

    ssvid pretrain speednet --data VIDEOS                            one process
    ssvid pretrain speednet --data VIDEOS --devices 2                two processes on this machine
    torchrun --nproc_per_node 2 -m ssvid pretrain speednet --data VIDEOS

Everything random depends on (seed, step, place in the global batch), so the state of a run is its step: it resumes bit for bit on a
CPU, with any number of workers, and several processes follow the curve of one.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

from lightning_fabric import Fabric
from torch import nn

from ssvid.config import PretrainConfig
from ssvid.data.index import Index
from ssvid.data.loader import Batch, load
from ssvid.data.overlays import find_overlay
from ssvid.data.scanning import open_data
from ssvid.data.splits import HELD_OUT
from ssvid.data.video_record import VideoRecord, fingerprint
from ssvid.environment import package_version
from ssvid.errors import Interrupted, Preempted
from ssvid.plugins import load_task, task_source
from ssvid.training.average import AveragedWeights
from ssvid.training.build import all_options, build_task, compiled
from ssvid.training.diagnosis import diagnose
from ssvid.training.interrupts import Interrupts
from ssvid.training.launch import check_batch, make_fabric
from ssvid.training.meter import Meter, Spread
from ssvid.training.optimizer import make_optimizer
from ssvid.training.requeue import requeue, restarted
from ssvid.training.resuming import resumed_config
from ssvid.training.run import Run
from ssvid.training.run_facts import accuracy, measure
from ssvid.training.run_lock import locked
from ssvid.training.run_paths import absolute
from ssvid.training.sampler import PlanSampler
from ssvid.training.state import TrainingState
from ssvid.training.step import LossNotFinite, learning_rate, take_step
from ssvid.training.task import PretextTask
from ssvid.training.videos import first_clips, training_videos
from ssvid.training.visualize import draw
from ssvid.zoo.names import ModelName

logger = logging.getLogger(__name__)
Report = Callable[[dict[str, float]], None]


def pretrain(
    config: PretrainConfig, *, resume: bool = False, overwrite: bool = False, report: Report | None = None
) -> Run:
    """Pretrain a backbone with one task and leave a run folder; the whole job behind `ssvid pretrain`.

    resume: go on with the run in config.out from its checkpoint, with its own settings and the same videos; so does a run that SLURM or
        torchrun starts again. overwrite: replace it.
    report: called on rank 0 with every logged line; the first one tells what is trained on ({"videos": ..., "left_out": ...}).
    Raises ConfigError, DataError, Interrupted or SsvidError as the parts below do, and ConfigError where another process trains in it.
    """
    report = report or (lambda line: None)
    resume = resume or restarted(config)
    config = resumed_config(config) if resume else replace(absolute(config), out=config.out)
    fabric = make_fabric(config)
    task = build_task(config)
    check_batch(task, config, fabric.world_size)
    index = open_data(config.data)
    videos, left_out = training_videos(task, index, config.split)
    with locked(Path(config.out)) if fabric.is_global_zero else nullcontext():
        run = None
        if fabric.is_global_zero:
            for note in index.notes:
                logger.warning("%s", note)
            run = Run(config.out) if resume else Run.create(config, overwrite)
            report({"videos": len(videos), **{f"left out: {reason}": count for reason, count in left_out.items()}})
            if config.overlays == "mask" and not run.begun:
                mask_overlays(run, videos, report)
        fabric.barrier()
        run = run or Run(config.out)
        videos = run.masked(videos)
        task = fit(task, videos, config, run, fabric, report if fabric.is_global_zero else lambda line: None)
        if fabric.is_global_zero:
            card = make_card(task, config, videos)
            run.export(task.backbone, card)
            run.export_card({**card, "diagnosis": explain(run, task, videos, index)})
    fabric.barrier()
    return Run(config.out)


def explain(run: Run, task: PretextTask, videos: Sequence[VideoRecord], index: Index) -> list[str]:
    """Where a finished run stays at chance and what to try, as sentences; none where it answers held-out videos above chance.

    Held-out videos are asked where the index has any that were not trained on: up to 64, each once.
    """
    config = run.config
    trained = {video.path for video in videos}
    tested = next(filter(None, map(index.videos, HELD_OUT)), [])  # not every video, of which there may be a million
    unseen = [video for video in tested if video.path not in trained]
    held_out = accuracy(task, run.masked(unseen), worker_count(config))
    facts = measure(run, task, videos, held_out, workers=worker_count(config))
    return diagnose(facts) if facts else []


def mask_overlays(run: Run, videos: Sequence[VideoRecord], report: Report) -> None:
    """Look for overlays in the videos of a new run, and note in its folder where they are to be masked."""
    found = find_overlay(videos)
    report({f"overlays masked{': ' + found.describe() if found else ''}": float(found is not None)})
    if found is not None:
        run.keep_mask(found.mask)


def make_card(task: PretextTask, config: PretrainConfig, videos: Sequence[VideoRecord]) -> dict[str, Any]:
    """What the exported backbone is, how it came to be and how it should be shown a video; options: those left at their defaults too."""
    return {
        # the weights it began with are another matter, which config.yaml tells: these here replace them
        "backbone": ModelName.parse(config.backbone).architecture,
        "backbone_options": dict(task.backbone.info.options),
        "task": config.task,
        "task_source": task_source(config.task),
        "options": all_options(load_task(config.task), config),
        "view": asdict(task.view),
        "steps": config.steps,
        "batch": config.batch,
        # said where it was changed only, so that runs of older versions, which knew neither, stay in one row with new ones
        **({"accumulate": config.accumulate} if config.accumulate > 1 else {}),
        **({"ema": config.ema} if config.ema else {}),  # the weights are the average with this decay
        "seed": config.seed,
        "data": {
            "sources": [Path(source).name for source in config.data],
            "videos": len(videos),
            "fingerprint": fingerprint(videos),
        },
        "ssvid": package_version("ssvid"),
    }


def fit(
    task: PretextTask,
    videos: Sequence[VideoRecord],
    config: PretrainConfig,
    run: Run,
    fabric: Fabric,
    report: Report,
    batches: Iterable[Batch] | None = None,
) -> PretextTask:
    """Train `task` on `videos` from the run's checkpoint, or from the start, to config.steps.

    run: the folder; rank 0 writes it, all read the checkpoint. report: called with every logged line, which tells step, loss, metrics,
    lr, clips_per_second and wait (share of the time in which the loop waited for video). batches: ready ones to train on instead of
    those read from the videos.
    Returns the trained task, with the average of its weights where that is kept, and with whole weights on rank 0.
    Raises Interrupted after SIGTERM, SIGUSR1 or Ctrl-C, LossNotFinite; both leave a checkpoint.
    """
    state, start = set_up(task, videos, config, run, fabric)
    if batches is None:
        plans = PlanSampler(task, videos, config, start, fabric.global_rank, fabric.world_size)
        batches = load(plans, task.augment.decode_size, worker_count(config), fabric.device, augment=True)
    meter = Meter(config.batch // config.accumulate)
    arriving = meter.waiting(iter(batches))
    state.model.train()
    with Interrupts(fabric) as signals, Spread(state.task.backbone) as spread:
        for step in range(start + 1, config.steps + 1):
            try:
                for share, values in take_step(state, islice(arriving, config.accumulate), step, config, fabric):
                    batch = share
                    meter.add({**values, "spread": spread.value()})
            except LossNotFinite:
                state.save_last_good(step - 1, run, fabric)
                raise
            stopping = signals.seen()
            if step % config.log_every == 0 or step == config.steps or stopping:
                line = {"step": step, "chance": task.chance, **meter.line(fabric), "lr": learning_rate(step, config)}
                log(line, run, fabric, report)
            if step % config.save_every == 0 or step == config.steps or stopping:
                state.save(step, run, fabric)
                whole = state.whole(config, fabric)
                if fabric.is_global_zero:
                    draw(whole, batch, run.path / "pictures" / f"{step:06d}.png")
            if stopping:
                raise stopped(stopping, step, config, fabric)
    if state.average:
        state.average.apply()
    return state.whole(config, fabric)


def stopped(number: int, step: int, config: PretrainConfig, fabric: Fabric) -> Interrupted:
    """What ends a run that got a signal and has saved; on rank 0, its SLURM job is put back in the queue where that is wanted."""
    kind = Interrupted if number == signal.SIGINT else Preempted
    again = requeue(config, number) if kind is Preempted and fabric.is_global_zero else ""
    return kind(f"stopped at step {step} of {config.steps}{again}; go on with: ssvid pretrain --resume {config.out}")


def set_up(
    task: PretextTask, videos: Sequence[VideoRecord], config: PretrainConfig, run: Run, fabric: Fabric
) -> tuple[TrainingState, int]:
    """A run as it will train, or as its checkpoint left it, and the number of steps that are done."""
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        task = cast(PretextTask, nn.SyncBatchNorm.convert_sync_batchnorm(task))  # there is none for a CPU
    model = fabric.setup_module(compiled(task, config))
    optimizer = make_optimizer(task, config)
    stepper = fabric.setup_optimizers(optimizer)
    average = AveragedWeights(task, config.ema) if config.ema else None
    state = TrainingState(task, model, optimizer, stepper, average, videos)
    start = state.restore(run)  # after setup, so that it lands on the device
    if fabric.is_global_zero:
        run.forget_after(start)
    if start == 0 and videos:
        task.prepare(first_clips(task, videos, config).to(fabric.device))
    return state, start


def log(line: dict[str, float], run: Run, fabric: Fabric, report: Report) -> None:
    """Write a line to the run's log and to the loggers, on rank 0, and report it."""
    if fabric.is_global_zero:
        run.log(line)
        fabric.log_dict(line, int(line["step"]))
    report(line)


def worker_count(config: PretrainConfig) -> int:
    """Decoding processes a device: as configured, else one less than the cores it has, at least one, at most eight."""
    if config.workers >= 0:
        return config.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(8, cores // config.devices - 1))
