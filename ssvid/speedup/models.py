"""The network that scores speed: the small SpeedNet that comes with the package, or one of a run folder.

The shipped one is two files, `speednet.safetensors` and `card.json`, written by `ssvid.speedup.export_model`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ssvid.compute import resolve_device
from ssvid.config import PretrainConfig
from ssvid.data.augment import Augment
from ssvid.errors import DataError
from ssvid.files import read_json, write_json
from ssvid.plugins import load_task
from ssvid.speedup.calibration import Calibration
from ssvid.training.build import build_task
from ssvid.training.run import Run, save_weights
from ssvid.training.task import PretextTask
from ssvid.training.validate import trained_task
from ssvid.zoo.backbone import Backbone, to_device

SHIPPED = Path(__file__).parent / "models"
WEIGHTS, CARD = "speednet.safetensors", "card.json"
SETTINGS = ("task", "backbone", "options", "backbone_options")  # of a config: what the network is


class SpeedModel(Protocol):
    """What the curve needs of a trained SpeedNet: frames a window, ticks a second (None: the video's own), and its logits.

    One with a `calibration` (`ssvid.speedup.calibration`) has its logits read by that.
    """

    frames: int
    fps: float | None
    augment: Augment
    backbone: Backbone

    def logits(self, clips: Tensor) -> Tensor:
        """How much each clip looks sped up: (B,V,C,T,h,w) -> (B,V)."""
        ...


def load_model(source: str | os.PathLike[str] | SpeedModel | None = None, device: str = "auto") -> SpeedModel:
    """A trained SpeedNet in eval mode on a device.

    source: a run folder, a folder that `save_model` wrote, or None for the model that comes with the package; a task is returned as it is,
    on the device where it lies. device: as `ssvid.compute.resolve_device` takes it.
    Raises DataError for a source that holds no SpeedNet, ConfigError for a device that is not there.
    """
    if isinstance(source, nn.Module):
        return cast(SpeedModel, source.eval())
    place = resolve_device(device)
    folder = SHIPPED if source is None else Path(cast(str, source))
    task = trained_task(Run(folder)) if (folder / "config.yaml").is_file() else _kept_model(folder)
    if not isinstance(task, load_task("speednet")):
        raise DataError(f"{folder} holds {type(task).__name__}, but speed is scored by SpeedNet; name a speednet run")
    return cast(SpeedModel, to_device(task, place))


def device_of(model: object) -> torch.device:
    """The device that a model's parameters lie on; the CPU for a model without any."""
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))


def load_card(folder: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """The card of the shipped model, or of one in `folder`: what it is, how it was made, what it scores."""
    result: dict[str, Any] = read_json((SHIPPED if folder is None else Path(folder)) / CARD)
    return result


def save_model(
    task: PretextTask, config: PretrainConfig, folder: str | os.PathLike[str], facts: dict[str, Any]
) -> None:
    """Write weights and card of a trained task; facts are added to the card."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(folder / WEIGHTS, dict(task.state_dict()))
    write_json(folder / CARD, {name: getattr(config, name) for name in SETTINGS} | facts)


def _kept_model(folder: Path) -> PretextTask:
    try:
        card = read_json(folder / CARD)
        task = build_task(PretrainConfig(**{name: card[name] for name in SETTINGS}))
        task.load_state_dict(load_file(folder / WEIGHTS))
        fitted = (
            {name: float(card["calibration"][name]) for name in ("offset", "temperature")}
            if "calibration" in card
            else {}
        )
        task.calibration = Calibration(**fitted)  # type: ignore[assignment]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise DataError(
            f"{folder} holds no SpeedNet: no run folder, and no {WEIGHTS} that goes with its {CARD} ({error})"
        ) from error
    return to_device(task, torch.device("cpu")).eval()
