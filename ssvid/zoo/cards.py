"""Cards of weights: how the network is built that they are for, how it should be shown a video, and how they came to be.

`ssvid pretrain` writes one beside the weights of a run, and one lies beside the weights that come with the package. A card counts for the
network that it names. Reading one imports no torch.
"""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path
from typing import Any

from ssvid.files import read_json
from ssvid.zoo.names import ModelName
from ssvid.zoo.registry import ENCODERS, find

PACKAGED = "package:"  # an address that is a file inside a Python package: "package:PACKAGE/FOLDER/FILE"
MOTION = "r3d_18_small@pace"  # the model of what moves that comes with the package, and searches where none is named
CORRESPONDENCE = "resnet18_res4@colorization"  # likewise of what went where, and tracks


def card_of(name: ModelName) -> dict[str, Any]:
    """The card of a name's weights, {} where they have none, or one of another network. Raises ConfigError for an unknown encoder."""
    if not name.weights:
        return {}
    path = Path(name.weights).expanduser()
    if not path.exists():
        address = find(ENCODERS, name.encoder).fields.get("weights", {}).get(name.weights, "")
        if not address.startswith(PACKAGED):
            return {}
        path = packaged_file(address)
    card = (path if path.is_dir() else path.parent) / "card.json"
    read: dict[str, Any] = read_json(card) if card.is_file() else {}
    return read if read.get("backbone") == name.architecture else {}


def packaged_file(address: str) -> Path:
    """Where a file of an installed package lies, or would."""
    package, _, inside = address.removeprefix(PACKAGED).partition("/")
    spec = importlib.util.find_spec(package)  # which imports nothing of it
    root = Path(spec.origin).parent if spec and spec.origin else Path(sysconfig.get_path("purelib"), package)
    return root / inside
