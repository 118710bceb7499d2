"""A run's task with its backbone and its options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from ssvid.config import PretrainConfig, check_options, option_schema
from ssvid.plugins import load_task
from ssvid.training.task import PretextTask
from ssvid.zoo import MODALITIES, create_model, model_info
from ssvid.zoo.backbone import channels_last
from ssvid.zoo.cards import card_of
from ssvid.zoo.names import ModelName
from ssvid.zoo.weights import load_weights


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


def compiled(task: PretextTask, config: PretrainConfig) -> PretextTask:
    """The task with convolutions laid out channels-last and the backbone compiled, as configured."""
    if config.channels_last:
        channels_last(task)
    if config.compile:
        task.backbone.compile()
    return task
