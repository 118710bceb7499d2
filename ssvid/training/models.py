"""The one door to models: whatever a user may name where a model is wanted, opened with its weights.

A model is named by a run folder, as ENCODER[+HEAD] with random weights, as ENCODER[+HEAD]@WEIGHTS (see `ssvid.zoo.weights`), or by the
file backbone.safetensors of a run, beside which its card lies.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ssvid.errors import ConfigError, DataError
from ssvid.files import read_json
from ssvid.training.run import Run, card_view
from ssvid.zoo import create_model
from ssvid.zoo.backbone import Backbone
from ssvid.zoo.cards import card_of
from ssvid.zoo.names import ModelName
from ssvid.zoo.registry import ENCODERS, HEADS, find


@dataclass(frozen=True)
class LoadedModel:
    """A model with its weights.

    backbone: in eval mode. name: its encoder, head and weights; of a run, its folder are the weights. run: where it was pretrained,
    None for one that this program did not pretrain. view: how its clips were taken in pretraining, as far as the card says: some of
    frames, size, stride, fps.
    """

    backbone: Backbone
    name: ModelName
    run: Run | None
    view: Mapping[str, Any]


def find_model(model: str | os.PathLike[str]) -> Run | ModelName:
    """What a user's word for a model means: a run, or a name that is known. Builds nothing and reads no weights.

    Raises DataError for a folder that is no run and for a file without its architecture, ConfigError for an unknown name.
    """
    path = Path(model).expanduser()
    if (path / "config.yaml").is_file():
        return Run(path)
    if path.is_dir():
        raise DataError(f"{model} is not a run folder (no config.yaml in it); make one with: ssvid pretrain")
    if path.is_file() and (path.parent / "card.json").is_file():
        return ModelName.parse(f"{read_json(path.parent / 'card.json')['backbone']}@{path}")
    if path.is_file() and path.suffix != ".py":
        raise DataError(
            f"{model} is a file of weights and does not say of which network; name it too, as r3d_18@{model}"
        )
    name = ModelName.parse(os.fspath(model))
    try:
        find(ENCODERS, name.encoder)
        if name.temporal:
            find(HEADS, name.temporal)
    except ConfigError as error:
        raise ConfigError(f"{model} is neither a run folder nor a backbone. {error}") from error
    return name


def open_model(model: str | os.PathLike[str], seed: int = 0) -> LoadedModel:
    """Open a model with its weights; those of a bare name, and of a head that came without, are random and decided by `seed`.

    torch's own random state stays as it was. Raises ConfigError for an unknown name, DataError for what cannot be read or does not fit.
    """
    found = find_model(model)
    if isinstance(found, Run):
        backbone = found.load()
        name = ModelName.parse(backbone.info.name)
        return LoadedModel(
            backbone, ModelName(name.encoder, name.temporal, str(found.path)), found, card_view(found.card)
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = create_model(str(found))
    return LoadedModel(backbone.eval(), found, None, card_view(card_of(found)))


def load(model: str | os.PathLike[str]) -> Backbone:
    """The backbone of a run folder, a name, NAME@WEIGHTS or the file a run exported, with its weights, in eval mode.

    Raises ConfigError for an unknown name, DataError for what cannot be read or does not fit.
    """
    return open_model(model).backbone
