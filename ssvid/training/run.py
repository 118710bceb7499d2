"""The run folder: what a run was, what it measured, where it stands, and the backbone it leaves behind.

    config.yaml  command.txt  env.json  metrics.jsonl  checkpoints/last.pt  pictures/STEP.png  backbone.safetensors  card.json

Written atomically and without pickle: tensors, numbers and strings only.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssvid.config import PretrainConfig, load_config, to_yaml
from ssvid.errors import ConfigError, DataError
from ssvid.zoo import create_model
from ssvid.zoo.backbone import Backbone

# what a run and its examination leave in the folder, and a run that replaces it takes away
MADE = (
    "checkpoints",
    "pictures",
    "audit",
    "metrics.jsonl",
    "backbone.safetensors",
    "card.json",
    "held_out.json",
    "beaten.json",
)
PACKAGES = ("torch", "torchvision", "lightly", "decord2", "av", "numpy")


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
        write_text(path / "command.txt", shlex.join(sys.argv) + "\n")
        write_json(path / "env.json", environment())
        write_text(path / "config.yaml", to_yaml(config))
        return cls(path)

    @property
    def config(self) -> PretrainConfig:
        """The settings the run was started with."""
        return load_config(self.path / "config.yaml")

    @property
    def card(self) -> dict[str, Any]:
        """What the exported backbone is. Raises DataError while the run has exported none."""
        try:
            return read_json(self.path / "card.json")
        except FileNotFoundError as error:
            raise DataError(
                f"{self.path} has no backbone yet; finish it with: ssvid pretrain --resume {self.path}"
            ) from error

    def metrics(self) -> list[dict[str, float]]:
        """The logged lines, oldest first."""
        path = self.path / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def log(self, line: dict[str, float]) -> None:
        """Append one line of numbers."""
        with (self.path / "metrics.jsonl").open("a") as file:
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
        fresh = path.with_suffix(".tmp")
        torch.save(state, fresh)
        fresh.replace(path)

    def checkpoint(self) -> dict[str, Any] | None:
        """The state to resume from, or None where nothing was saved yet."""
        path = self.path / "checkpoints" / "last.pt"
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise DataError(f"{path} cannot be read ({error}); start again with --overwrite") from error

    def fill(self, task: nn.Module, state: dict[str, Any]) -> None:
        """Put the weights of the run's checkpoint into its task. Raises DataError where the task is built otherwise by now."""
        try:
            task.load_state_dict(state["task"])
        except RuntimeError as error:
            raise DataError(
                f"{self.path} holds weights of another {type(task).__name__} than the code builds now "
                f"({str(error).splitlines()[-1].strip()}); go back to the code it was made with "
                "(env.json there names its commit), or pretrain again with --overwrite"
            ) from error

    def export(self, backbone: Backbone, card: dict[str, Any]) -> None:
        """Write the backbone's weights and their card."""
        save_weights(self.path / "backbone.safetensors", dict(backbone.state_dict()))
        write_json(self.path / "card.json", card)

    def load(self) -> Backbone:
        """The backbone this run exported, with its weights, in eval mode."""
        card = self.card
        backbone = create_model(card["backbone"], **card["backbone_options"])
        load_weights(backbone, self.path / "backbone.safetensors")
        return backbone.eval()


def load(path: str | os.PathLike[str]) -> Backbone:
    """The backbone of a run folder, with its weights, in eval mode. Raises DataError for anything else."""
    return Run(path).load()


def load_weights(backbone: Backbone, path: str | os.PathLike[str]) -> None:
    """Fill a backbone from a .safetensors file. Raises DataError for a file of another kind or another network."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise DataError(f"{path}: weights are read from .safetensors files only, since others can run code")
    try:
        backbone.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be read as safetensors ({error}); copy the file anew") from error
    except RuntimeError as error:
        raise DataError(
            f"{path} does not hold the weights of {backbone.info.name}: {str(error).splitlines()[-1].strip()}"
        ) from error


def save_weights(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as safetensors, atomically."""
    fresh = path.with_suffix(".tmp")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, fresh)
    fresh.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a file atomically: whoever reads it sees the old text or the new one."""
    fresh = path.with_name(path.name + ".tmp")
    fresh.write_text(text)
    fresh.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """A value that `write_json` wrote."""
    return json.loads(path.read_text())


def environment() -> dict[str, Any]:
    """Versions, commit and hardware, as noted with every result."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {
        "ssvid": package_version("ssvid"),
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "commit": _commit(),
        "device": device,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def package_version(name: str) -> str:
    """Installed version of a package, '?' when it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "?"


def _commit() -> str:
    """Commit of the source this runs from, with + when it was changed since; '' outside of a checkout."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + ("+" if changed.stdout.strip() else "")
