"""A classifier of clip vectors in one safetensors file: what a probe or fine-tuning has learnt, its classes, and where it is from.

It is one linear layer, whatever the protocol trained around it: scaling, rotation and batch norm are folded into its weights. A fine-tuned
network is kept with its head, since the head is of no use without it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ssvid.errors import DataError
from ssvid.files import atomic
from ssvid.zoo.backbone import Backbone

KIND = "ssvid classifier"
NETWORK = "backbone."  # of the names of a fine-tuned network's tensors


@dataclass(frozen=True)
class SavedHead:
    """A linear classifier of vectors (B,D).

    weight (K,D), bias (K,), classes: K names. normalise: vectors are scaled to length one first. about: model, protocol, view, data, seed.
    network: tensors of the network that was trained with it; empty where that stayed as it was.
    """

    weight: Tensor
    bias: Tensor
    classes: tuple[str, ...]
    normalise: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def affine(cls, scores: Any, dim: int, classes: Sequence[str], normalise: bool = False) -> SavedHead:
        """Of a function that is affine: vectors float64 (n,dim) -> scores (n,K), or (n,) of the second of two classes."""
        zero, units = np.zeros((1, dim)), np.eye(dim)
        bias, weight = np.asarray(scores(zero), np.float64), np.asarray(scores(units), np.float64)
        if bias.ndim == 1:  # a score of the second class, the other one's is 0
            bias, weight = (np.stack([np.zeros_like(part), part], -1) for part in (bias, weight))
        made = torch.from_numpy((weight - bias).T.copy()).float(), torch.from_numpy(bias[0].copy()).float()
        return cls(*made, tuple(map(str, classes)), normalise)

    def shares(self, vectors: Tensor) -> Tensor:
        """Probabilities (B,K)."""
        if self.normalise:
            vectors = F.normalize(vectors, dim=1)
        return F.linear(vectors, self.weight.to(vectors.device), self.bias.to(vectors.device)).softmax(1)

    def fit_network(self, backbone: Backbone) -> None:
        """Give a backbone the weights that were trained with the head, where there are any, after a look at whether the head fits it.

        Raises DataError where it does not.
        """
        if self.weight.shape[1] != backbone.info.dim:
            raise DataError(
                f"the classifier takes vectors of {self.weight.shape[1]} numbers and {backbone.info.name} gives {backbone.info.dim}; "
                f"it was trained on {self.about.get('model', 'another model')}"
            )
        if self.network:
            try:
                backbone.load_state_dict(dict(self.network))
            except RuntimeError as error:
                raise DataError(
                    f"the classifier was fine-tuned with {self.about.get('model', 'another model')}, whose weights do not fit "
                    f"{backbone.info.name}; name that model"
                ) from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, whole or not at all."""
        tensors = {"weight": self.weight, "bias": self.bias} | {
            NETWORK + name: one for name, one in self.network.items()
        }
        facts = {"kind": KIND, "classes": list(self.classes), "normalise": self.normalise, **self.about}
        with atomic(path) as temporary:
            temporary.write_bytes(  # save_file makes files that nobody but their owner can read
                save(
                    {name: one.detach().cpu().contiguous() for name, one in tensors.items()},
                    metadata={name: json.dumps(fact) for name, fact in facts.items()},
                )
            )


def load_head(path: str | os.PathLike[str]) -> SavedHead:
    """Read such a file. Raises DataError for one that is missing or is none."""
    remedy = "make one with: ssvid transfer --save-head FILE"
    if not Path(path).is_file():
        raise DataError(f"{path}: no such file; {remedy}")
    try:
        with safe_open(os.fspath(path), "pt") as file:
            facts = {name: json.loads(fact) for name, fact in (file.metadata() or {}).items()}
            if facts.pop("kind", None) != KIND:
                raise DataError(f"{path} holds tensors, but no classifier; {remedy}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 it is no mapping
    except (SafetensorError, ValueError) as error:
        raise DataError(f"{path} cannot be read as safetensors ({error}); {remedy}") from error
    network = {name.removeprefix(NETWORK): one for name, one in tensors.items() if name.startswith(NETWORK)}
    classes, normalise = tuple(facts.pop("classes")), facts.pop("normalise")
    return SavedHead(tensors["weight"], tensors["bias"], classes, normalise, facts, network)
