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
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightly.utils.scheduler import cosine_warmup_schedule
from lightning_fabric import Fabric
from torch import nn

from ssvid.config import PretrainConfig
from ssvid.data.index import Index, VideoRecord, fingerprint
from ssvid.data.loader import Batch, load
from ssvid.data.overlays import find_overlay
from ssvid.data.scanning import open_data
from ssvid.data.splits import HELD_OUT, not_trained_on, training_part
from ssvid.environment import package_version
from ssvid.errors import DataError, SsvidError
from ssvid.plugins import load_task, task_source
from ssvid.training.build import all_options, build_task, check_batch, compiled, make_fabric, make_optimizer
from ssvid.training.diagnosis import diagnose
from ssvid.training.interrupts import Interrupts
from ssvid.training.meter import Meter, Spread
from ssvid.training.resuming import check_data, data_mark, resumed_config
from ssvid.training.run import Run
from ssvid.training.run_facts import accuracy, measure
from ssvid.training.run_lock import locked
from ssvid.training.run_paths import absolute
from ssvid.training.sampler import PlanSampler
from ssvid.training.task import PretextTask, usable
from ssvid.training.visualize import draw
from ssvid.zoo.names import ModelName

logger = logging.getLogger(__name__)
Report = Callable[[dict[str, float]], None]
Mark = Callable[[], dict[str, Any]]  # of the videos of a run, see `data_mark`


class Interrupted(SsvidError):  # noqa: N818 an interruption is no error
    """A signal ended the run after a whole step; everything is saved."""

    exit_code = 130


def pretrain(
    config: PretrainConfig, *, resume: bool = False, overwrite: bool = False, report: Report | None = None
) -> Run:
    """Pretrain a backbone with one task and leave a run folder; the whole job behind `ssvid pretrain`.

    resume: go on with the run in config.out from its checkpoint, with its own settings and the same videos. overwrite: replace it.
    report: called on rank 0 with every logged line; the first one tells what is trained on ({"videos": ..., "left_out": ...}).
    Raises ConfigError, DataError, Interrupted or SsvidError as the parts below do, and ConfigError where another process trains in it.
    """
    report = report or (lambda line: None)
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
            if config.overlays == "mask" and not resume:
                mask_overlays(run, videos, report)
        fabric.barrier()
        run = run or Run(config.out)
        videos = run.masked(videos)
        fit(task, videos, config, run, fabric, report if fabric.is_global_zero else lambda line: None)
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


def training_videos(task: PretextTask, index: Index, split: str) -> tuple[list[VideoRecord], dict[str, int]]:
    """The videos to train on, and how many were left out for which reason; held-out ones are none, see `ssvid.data.splits`.

    Raises DataError when none is left.
    """
    videos = index.videos()
    try:
        kept, reasons = usable(task, training_part(videos, split))
    except DataError as error:
        raise DataError(f"{index.path}: {error}") from error
    if not kept:
        why = "; ".join(f"{count} {reason}" for reason, count in reasons.items())
        raise DataError(
            f"{index.path}: no video that {type(task).__name__} can use: {why}. Lower frames, or name other data"
        )
    return kept, not_trained_on(videos, split) | reasons


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
) -> None:
    """Train `task` on `videos` from the run's checkpoint, or from the start, to config.steps.

    run: the folder; rank 0 writes it, all read the checkpoint. report: called with every logged line, which tells step, loss, metrics,
    lr, clips_per_second and wait (share of the time in which the loop waited for video). batches: ready ones to train on instead of
    those read from the videos.
    Raises Interrupted after SIGTERM, SIGUSR1 or Ctrl-C, SsvidError when the loss is not finite; both leave a checkpoint.
    """
    mark = cache(partial(data_mark, videos))  # seconds, where there are a million videos
    task, model, optimizer, stepper, start = set_up(task, videos, config, run, fabric, mark)
    if batches is None:
        plans = PlanSampler(task, videos, config, start, fabric.global_rank, fabric.world_size)
        batches = load(plans, task.augment.decode_size, worker_count(config), fabric.device, augment=True)
    meter = Meter(config.batch)
    model.train()
    with Interrupts(fabric) as signals, Spread(task.backbone) as spread:
        for step, batch in meter.waiting(enumerate(batches, start + 1)):
            torch.manual_seed(_mix(config.seed, step, fabric.global_rank))  # for dropout, the only draw left to torch
            batch = batch.to(fabric.device).augmented()
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, config)
            values = model(batch.clips, batch.target)
            if not torch.isfinite(values["loss"]):
                keep_last_good(task, optimizer, step - 1, mark, run, fabric)
                raise SsvidError(not_finite(values["loss"], step, batch))
            stepper.zero_grad()
            fabric.backward(values["loss"])
            if config.clip_grad:
                fabric.clip_gradients(model, stepper, max_norm=config.clip_grad, error_if_nonfinite=False)
            stepper.step()
            meter.add({**values, "spread": spread.value()})
            stopping = signals.seen()
            if step % config.log_every == 0 or step == config.steps or stopping:
                line = {"step": step, "chance": task.chance, **meter.line(fabric), "lr": learning_rate(step, config)}
                log(line, run, fabric, report)
            if fabric.is_global_zero and (step % config.save_every == 0 or step == config.steps or stopping):
                run.save(snapshot(task, optimizer, step, mark))
                draw(task, batch, run.path / "pictures" / f"{step:06d}.png")
            if stopping:
                raise Interrupted(
                    f"stopped at step {step} of {config.steps}; go on with: ssvid pretrain --resume {config.out}"
                )


def set_up(
    task: PretextTask, videos: Sequence[VideoRecord], config: PretrainConfig, run: Run, fabric: Fabric, mark: Mark
) -> tuple[PretextTask, nn.Module, torch.optim.Optimizer, Any, int]:
    """The task as it will train, wrapped for its processes, its optimiser bare and wrapped, and the number of steps that are done."""
    optimizer = make_optimizer(task, config)
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        task = cast(PretextTask, nn.SyncBatchNorm.convert_sync_batchnorm(task))  # there is none for a CPU
    model, stepper = fabric.setup(compiled(task, config), optimizer)
    start = restore(task, optimizer, run, mark)  # after setup, so that it lands on the device
    if fabric.is_global_zero:
        run.forget_after(start)
    if start == 0 and videos:
        task.prepare(first_clips(task, videos, config).to(fabric.device))
    return task, model, optimizer, stepper, start


def log(line: dict[str, float], run: Run, fabric: Fabric, report: Report) -> None:
    """Write a line to the run's log and to the loggers, on rank 0, and report it."""
    if fabric.is_global_zero:
        run.log(line)
        fabric.log_dict(line, int(line["step"]))
    report(line)


PREPARE = 4  # batches


def first_clips(
    task: PretextTask,
    videos: Sequence[VideoRecord],
    config: PretrainConfig,
) -> torch.Tensor:
    """Clips (B,V,C,T,H,W) of the first batches, all ranks' together, for the task to prepare itself on; none where it does not."""
    if type(task).prepare is PretextTask.prepare:
        return torch.zeros(0)
    steps = PlanSampler(task, videos, replace(config, steps=PREPARE))
    size = steps.plans(0)[0].size  # one for all, where the task varies it
    plans = ([replace(plan, size=size) for plan in batch] for batch in steps)
    batches = load(plans, task.augment.decode_size, augment=True)
    return torch.cat([batch.clips for batch in batches])


def learning_rate(step: int, config: PretrainConfig) -> float:
    """Learning rate of a step (1..steps): rises linearly over the warm-up, falls on a cosine to a thousandth."""
    warmup = round(config.warmup * config.steps)
    scale = cosine_warmup_schedule(
        step=step - 1,
        max_steps=config.steps,
        start_value=1.0,
        end_value=0.001,
        warmup_steps=warmup,
        warmup_start_value=0.0,
    )
    result: float = config.lr * scale
    return result


def snapshot(task: nn.Module, optimizer: torch.optim.Optimizer, step: int, mark: Mark) -> dict[str, Any]:
    """All that a run needs to go on: weights, optimiser state, step, and the mark of its videos."""
    return {
        "task": task.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "data": mark(),
    }


def restore(task: nn.Module, optimizer: torch.optim.Optimizer, run: Run, mark: Mark) -> int:
    """Put the run's snapshot back where there is one; returns the number of steps done. Raises DataError for other videos."""
    state = run.checkpoint()
    if state is None:
        return 0
    check_data(run, state.get("data"), mark())
    run.fill(task, state)
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def keep_last_good(
    task: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    mark: Mark,
    run: Run,
    fabric: Fabric,
) -> None:
    """Save the state before a loss that is not finite, on rank 0; an older checkpoint stays where the weights are not finite either."""
    finite = all(bool(torch.isfinite(value).all()) for value in task.state_dict().values() if value.is_floating_point())
    if fabric.is_global_zero and (finite or run.checkpoint() is None):
        run.save(snapshot(task, optimizer, step, mark))


def not_finite(loss: torch.Tensor, step: int, batch: Batch) -> str:
    """What is said of a loss that is not finite: the step and the files of the batch."""
    return (
        f"the loss is {loss.item()} at step {step}; lower lr or use precision=32-true. The weights before it are in checkpoints/last.pt. "
        f"The batch was: {', '.join(batch.paths)}"
    )


def worker_count(config: PretrainConfig) -> int:
    """Decoding processes a device: as configured, else one less than the cores it has, at least one, at most eight."""
    if config.workers >= 0:
        return config.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(8, cores // config.devices - 1))


def _mix(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
