"""What a run is built of: device and processes, the task with its backbone, the optimiser, the loggers."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from lightly.models.utils import get_weight_decay_parameters
from lightly.utils.lars import LARS
from lightning_fabric import Fabric
from lightning_fabric.loggers import TensorBoardLogger
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from ssvid.config import OPTIMIZERS, PretrainConfig, and_shares, check_options, option_schema
from ssvid.errors import ConfigError
from ssvid.plugins import load_task
from ssvid.training.sharding import sharding
from ssvid.training.task import PretextTask
from ssvid.zoo import MODALITIES, create_model, model_info
from ssvid.zoo.backbone import channels_last
from ssvid.zoo.cards import card_of
from ssvid.zoo.names import ModelName
from ssvid.zoo.weights import load_weights


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
    on_cpu = fabric.device.type == "cpu"
    if on_cpu and config.precision.startswith("16"):
        raise ConfigError(f"precision={config.precision} needs a GPU; on a CPU use bf16-mixed or 32-true")
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


def build_task(config: PretrainConfig) -> PretextTask:
    """The task with its backbone, fresh weights decided by config.seed, then those of config.init where given, with their card's options.

    Raises ConfigError for unknown names and options, and where the backbone cannot give what the task needs.
    """
    maker = load_task(config.task)
    options = check_options(maker, config.options, config.task)
    name = ModelName.parse(config.backbone)
    began_as = card_of(replace(name, weights=config.init or name.weights)).get("backbone_options", {})
    backbone_options = {**began_as, **supported(maker.backbone_options, config.backbone), **config.backbone_options}
    modality = options.get("input", default_of(maker, "input"))
    if modality in MODALITIES and modality != "rgb":
        backbone_options = {"input": modality} | backbone_options
    info = model_info(config.backbone, **backbone_options)
    maker.check(replace(info, order="aware") if config.order_blind == "allow" else info)
    torch.manual_seed(config.seed)
    task = maker(create_model(config.backbone, **backbone_options), **options)
    if config.init:
        load_weights(task.backbone, config.init)
    return task


def all_options(maker: Callable[..., Any], config: PretrainConfig) -> dict[str, Any]:
    """Every option of a task with the value it has in this run, in the order of the constructor."""
    defaults = {name: parameter.default for name, parameter in option_schema(maker).items()}
    return defaults | check_options(maker, config.options, config.task)


def default_of(maker: Callable[..., Any], option: str) -> Any:
    """The default of an option; None where there is no such option."""
    parameter = option_schema(maker).get(option)
    return None if parameter is None else parameter.default


def supported(options: dict[str, Any], backbone: str) -> dict[str, Any]:
    """Those of a task's wishes that the backbone has an option for; `check` then judges what came of them."""
    known = model_info(backbone).options
    return {name: value for name, value in options.items() if name in known}


def make_optimizer(task: nn.Module, config: PretrainConfig) -> torch.optim.Optimizer:
    """The optimiser by name: adamw, sgd (momentum 0.9) or lars; norms and biases are not decayed."""
    decayed, free = get_weight_decay_parameters([task])
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9)
    if config.optimizer == "lars":
        result: torch.optim.Optimizer = LARS(groups, lr=config.lr, momentum=0.9)
        return result
    raise ConfigError(f"optimizer {config.optimizer!r} is not one of {', '.join(OPTIMIZERS)}")


def compiled(task: PretextTask, config: PretrainConfig) -> PretextTask:
    """The task with convolutions laid out channels-last and the backbone compiled, as configured."""
    if config.channels_last:
        channels_last(task)
    if config.compile:
        task.backbone.compile()
    return task
