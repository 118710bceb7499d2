"""How a run is launched: device, precision, processes and loggers, brought by Lightning Fabric."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any, cast

from lightning_fabric import Fabric
from lightning_fabric.loggers import TensorBoardLogger
from lightning_fabric.utilities.exceptions import MisconfigurationException

from ssvid.compute import keep_freed_memory
from ssvid.config import PretrainConfig, and_shares
from ssvid.errors import ConfigError
from ssvid.training.sharding import sharding
from ssvid.training.task import PretextTask


def make_fabric(config: PretrainConfig) -> Fabric:
    """Device, precision and processes, launched. Under torchrun or SLURM the processes are already there.

    Raises ConfigError for an accelerator or a precision that this machine does not have, and where several processes would each have to
    run a program that is no file.
    """
    launched = "LOCAL_WORLD_SIZE" in os.environ
    devices = int(os.environ["LOCAL_WORLD_SIZE"]) if launched else config.devices
    nodes = int(os.environ["WORLD_SIZE"]) // devices if launched else config.nodes
    several = devices * nodes > 1
    if config.strategy == "fsdp" and not several:
        raise ConfigError(
            "strategy=fsdp shares the weights out over processes; give devices=2 or more, or use strategy=ddp"
        )
    shared_out = sharding(devices * nodes) if config.strategy == "fsdp" else "ddp"
    if several and not launched and not hasattr(sys.modules["__main__"], "__file__"):
        raise ConfigError(
            f"devices={devices}: every device runs the same program again, and `python -c` or a notebook is no file; save it as one, "
            "or start it with torchrun"
        )
    loggers = make_loggers(config)
    try:
        with warnings.catch_warnings():  # it would take another precision than the one asked for; refused below
            warnings.filterwarnings("ignore", ".*AMP with fp16 is not supported on CPU")
            fabric = Fabric(
                accelerator=config.accelerator,
                devices=devices,
                num_nodes=nodes,
                strategy=shared_out if several else "auto",
                precision=cast(Any, config.precision),
                loggers=loggers,
            )
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        raise ConfigError(f"accelerator={config.accelerator} devices={devices}: {error}") from error
    if fabric.device.type == "cpu":
        if config.precision.startswith("16"):
            raise ConfigError(f"precision={config.precision} needs a GPU; on a CPU use bf16-mixed or 32-true")
        keep_freed_memory()
    fabric.launch()
    return fabric


def check_batch(task: PretextTask, config: PretrainConfig, processes: int) -> None:
    """Raise ConfigError where the batch cannot be shared out evenly, that of a task of pairs in whole pairs, or not taken in shares."""
    if task.whole_batch and config.accumulate > 1:
        raise ConfigError(
            f"{config.task} compares all videos of a batch with each other, and in accumulate={config.accumulate} shares it would ask an "
            "easier question; use accumulate=1, with a smaller batch, more devices or precision=bf16-mixed"
        )
    share = (2 if task.pairs else 1) * processes * config.accumulate
    if config.batch % share:
        why = f"{config.task} compares videos in twos, and " if task.pairs else ""
        over = f"all devices ({processes}){and_shares(config)}"
        raise ConfigError(f"{why}batch {config.batch} is counted over {over}; make it a multiple of {share}")


def make_loggers(config: PretrainConfig) -> list[Any]:
    """The loggers of config.log, writing beside metrics.jsonl. Raises ConfigError for an unknown or missing one."""
    made: list[Any] = []
    for name in config.log:
        try:
            if name == "tensorboard":
                made.append(TensorBoardLogger(config.out, name="tensorboard", version=""))
            elif name == "wandb":
                from pytorch_lightning.loggers import WandbLogger

                made.append(WandbLogger(project="ssvid", name=Path(config.out).name, save_dir=config.out))
            else:
                raise ConfigError(f"log={name!r} is not one of tensorboard, wandb")
        except ModuleNotFoundError as error:
            raise ConfigError(f"{name} is not installed; pip install 'ssvid[track]'") from error
    return made
