"""The run folder: what a run was, what it measured, where it stands, and the backbone it leaves behind.

    config.yaml  command.txt  env.json  metrics.jsonl  checkpoints/last.pt  pictures/STEP.png  backbone.safetensors  card.json
    overlays.png, where overlays were found and masked

Written atomically and without pickle: tensors, numbers and strings only.
"""

from __future__ import annotations

import copy
import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn

from ssvid.config import PretrainConfig, load_config, to_yaml
from ssvid.data.overlays import hide
from ssvid.data.video_record import VideoRecord
from ssvid.environment import environment, package_version
from ssvid.errors import ConfigError, DataError
from ssvid.files import atomic, read_json, write_json, write_text, writing
from ssvid.training.run_paths import absolute, locate_backbone, located
from ssvid.zoo import create_model
from ssvid.zoo.backbone import Backbone
from ssvid.zoo.weights import EXPORTED, load_weights

MASK = "overlays.png"
# what a run and its examination leave in the folder, and a run that replaces it takes away
MADE = (
    "checkpoints",
    "pictures",
    "audit",
    MASK,
    "metrics.jsonl",
    EXPORTED,
    "card.json",
    "held_out.json",
)


@lru_cache(maxsize=64)
def _settings(path: Path, content: bytes) -> PretrainConfig:
    """The settings in a file of this content, which nobody changes. YAML takes long to read, and a table asks every run again and again."""
    return load_config(path)


class Run:
    """A run folder. `Run(path)` opens one and raises DataError when there is none; `Run.create` makes one."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not (self.path / "config.yaml").is_file():
            raise DataError(f"{self.path} is not a run folder (no config.yaml in it); make one with: ssvid pretrain")

    @classmethod
    def create(cls, config: PretrainConfig, overwrite: bool = False) -> Run:
        """Make the folder `config.out` and note the settings, the command and the machine in it.

        Raises ConfigError when there is a run already, unless `overwrite`, which removes it.
        """
        path = Path(config.out)
        if (path / "config.yaml").exists():
            if not overwrite:
                raise ConfigError(
                    f"{path} holds a run already; go on with --resume, replace it with --overwrite, or name another -o"
                )
            for name in MADE:
                target = path / name
                shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        write_text(path / "command.txt", _command() + "\n")
        write_json(path / "env.json", environment())
        write_text(path / "config.yaml", to_yaml(absolute(config)))
        return cls(path)

    @property
    def config(self) -> PretrainConfig:
        """The settings the run was started with; `out` is where it lay then, and files that moved along with it are where they are now."""
        return located(self._stored, self.started, self.path)

    @property
    def card(self) -> dict[str, Any]:
        """What the exported backbone is. Raises DataError while the run has exported none."""
        card = self._exported_card
        if ".py:" in card.get("backbone", ""):  # of a user's own file, which may have moved along with the run
            card["backbone"] = locate_backbone(card["backbone"], self.started, self.path)
        return card

    @property
    def exported_by(self) -> str:
        """The version of ssvid that exported the backbone, "?" where the card does not say. Raises DataError as `card` does."""
        card = self._exported_card
        return str(card.get("ssvid", "?")) if isinstance(card, dict) else "?"

    @property
    def _exported_card(self) -> dict[str, Any]:
        try:
            card: dict[str, Any] = read_json(self.path / "card.json")
        except FileNotFoundError as error:
            raise DataError(
                f"{self.path} has no backbone yet; finish it with: ssvid pretrain --resume {self.path}"
            ) from error
        return card

    @property
    def started(self) -> str:
        """Where the folder lay when the run was started."""
        return self._stored.out

    @property
    def _stored(self) -> PretrainConfig:
        path = self.path / "config.yaml"
        return copy.deepcopy(_settings(path, path.read_bytes() if path.is_file() else b""))

    def metrics(self) -> list[dict[str, float]]:
        """The logged lines, oldest first."""
        path = self.path / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def log(self, line: dict[str, float]) -> None:
        """Append one line of numbers."""
        path = self.path / "metrics.jsonl"
        with writing(path), path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop log lines that a resumed run will write again."""
        path = self.path / "metrics.jsonl"
        if path.exists():  # the last line may be cut short by the kill that made us resume
            kept = [
                line
                for line in path.read_text().splitlines()
                if line.endswith("}") and json.loads(line)["step"] <= step
            ]
            write_text(path, "".join(line + "\n" for line in kept))

    def save(self, state: dict[str, Any]) -> None:
        """Write the checkpoint; the old one stays until the new one is whole."""
        path = self.path / "checkpoints" / "last.pt"
        with writing(path, RuntimeError), atomic(path) as temporary:
            torch.save(state, temporary)

    @property
    def begun(self) -> bool:
        """Whether a checkpoint was saved."""
        return (self.path / "checkpoints" / "last.pt").exists()

    def checkpoint(self) -> dict[str, Any] | None:
        """The state to resume from, or None where nothing was saved yet."""
        path = self.path / "checkpoints" / "last.pt"
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise DataError(f"{path} cannot be read ({error}); start again with --overwrite") from error
        return state

    def fill(self, task: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Put weights of the run's checkpoint into its task. Raises DataError where the task is built otherwise by now."""
        try:
            task.load_state_dict(weights)
        except RuntimeError as error:
            raise DataError(
                f"{self.path} holds weights of another {type(task).__name__} than the code builds now "
                f"({str(error).splitlines()[-1].strip()}); go back to the code it was made with "
                "(env.json there names its commit), or pretrain again with --overwrite"
            ) from error

    def keep_mask(self, mask: np.ndarray) -> None:
        """Write where the run's videos are masked, bool (h,w) over the whole picture, as a black and white picture."""
        with atomic(self.path / MASK) as temporary:
            Image.fromarray(mask.astype(np.uint8) * 255).save(temporary)

    def masked(self, videos: Sequence[VideoRecord]) -> list[VideoRecord]:
        """The videos as this run sees them: with what it masked masked, whatever they are."""
        path = self.path / MASK
        if not path.exists():
            return list(videos)
        with Image.open(path) as picture:
            return hide(videos, np.asarray(picture) > 127)

    def export(self, backbone: Backbone, card: dict[str, Any]) -> None:
        """Write the backbone's weights and their card."""
        save_weights(self.path / EXPORTED, dict(backbone.state_dict()))
        self.export_card(card)

    def export_card(self, card: Mapping[str, Any]) -> None:
        """Write the card alone."""
        write_json(self.path / "card.json", dict(card))

    def load(self) -> Backbone:
        """The backbone this run exported, with its weights, in eval mode.

        Raises DataError where it cannot be read, or where the run is of a version whose backbone this one cannot build.
        """
        card = self.card
        try:
            backbone = create_model(card["backbone"], **card["backbone_options"])
        except (ConfigError, KeyError, TypeError) as error:
            made = card.get("ssvid", "?") if isinstance(card, dict) else "?"
            raise DataError(
                f"{self.path} was made by ssvid {made} and its backbone cannot be built by {package_version('ssvid')}: {error}. "
                "Install that version, or pretrain again"
            ) from error
        load_weights(backbone, self.path / EXPORTED)
        return backbone.eval()


def _command() -> str:
    """The command line, its program by name alone: where it lies on this machine says nothing elsewhere."""
    program = Path(sys.argv[0])
    return shlex.join([program.parent.name if program.name == "__main__.py" else program.name, *sys.argv[1:]])


def save_weights(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as safetensors, atomically. Its own writer makes files that nobody but their owner can read."""
    with atomic(path) as temporary:
        temporary.write_bytes(save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def card_view(card: Mapping[str, Any]) -> dict[str, Any]:
    """How a run's card says that its backbone should be shown a video: frames, stride, size, fps.

    A card of ssvid 0.1.0 has no view, and only those options that had been set. There it is guessed from their names as 0.1.0 did, so that
    tables made with such runs come out the same; what is not set is left out.
    """
    if "view" in card:
        return dict(card["view"])
    options = card.get("options", {})
    guessed = {name: options[name] for name in ("frames", "size", "fps") if name in options}
    if "size" in guessed and not isinstance(guessed["size"], int):
        guessed["size"] = max(guessed["size"])
    return guessed | {"stride": options.get("stride", 1)} if options else {}
