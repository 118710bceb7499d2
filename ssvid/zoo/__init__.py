"""Backbones by name: `create_model("s3dg", temporal_stride=False)`, `list_models("*_tiny")`, `model_info("r3d_18")`.

A family is one file in this folder (or a module named in the entry-point group "ssvid.backbones", or a user's file given
as "path/to/file.py:name") that holds two things:

    MODELS = {"*": {...}, "name": {...}, ...}    the fields of `BackboneInfo`, a plain literal; "*" holds the shared ones
    def build(name, **options) -> nn.Module      the trunk, (B,3,T,H,W) -> (B,D,t,h,w)

`MODELS` is read from the source, so that listing imports no torch. Besides those fields an entry may hold `options`
(name -> default) and `changes` (option -> value -> the fields which that value changes).
"""

from __future__ import annotations

import difflib
import importlib
import logging
from collections.abc import Mapping
from dataclasses import fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssvid.errors import ConfigError
from ssvid.plugins import find_modules, import_source, read_literal
from ssvid.zoo.info import BackboneInfo, Published

if TYPE_CHECKING:
    from ssvid.zoo.backbone import Backbone
    from ssvid.zoo.cost import count_macs, count_parameters
    from ssvid.zoo.views import clip_vector, frame_vectors, isolated_maps

__all__ = [
    "Backbone",
    "BackboneInfo",
    "Published",
    "clip_vector",
    "count_macs",
    "count_parameters",
    "create_model",
    "frame_vectors",
    "isolated_maps",
    "list_models",
    "model_info",
]

MODALITIES = ("rgb", "residual", "flow")  # what a backbone may make of the colours of a clip, see ssvid.zoo.modality

logger = logging.getLogger(__name__)

_NEEDS_TORCH = {
    "Backbone": "backbone",
    "clip_vector": "views",
    "frame_vectors": "views",
    "isolated_maps": "views",
    "count_macs": "cost",
    "count_parameters": "cost",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)


def list_models(pattern: str = "*") -> list[str]:
    """Names that match a shell pattern (`*`, `?`, `[...]`), sorted. Imports no torch."""
    return sorted(name for name in _catalogue() if fnmatchcase(name, pattern))


def model_info(name: str, **options: Any) -> BackboneInfo:
    """What is known of a backbone under these options. Imports no torch and builds nothing.

    Raises ConfigError for an unknown name, option or value.
    """
    path, entry = _find(name)
    input_modality = options.get("input", "rgb")
    if input_modality not in MODALITIES:
        raise ConfigError(f"Backbone {name!r}: input={input_modality!r} is not one of {', '.join(MODALITIES)}.")
    values = _check_options(name, entry, {key: value for key, value in options.items() if key != "input"})
    changed = {
        key: value
        for option in values
        for key, value in _changes(entry).get(option, {}).get(values[option], {}).items()
    }
    known = {field.name for field in fields(BackboneInfo)}
    stated = {key: value for key, value in (entry | changed).items() if key not in ("options", "changes", "published")}
    if unknown := sorted(stated.keys() - known):
        raise ConfigError(f"{path}: MODELS has unknown fields {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
    published = tuple(Published(*row) for row in entry.get("published", ()))
    if input_modality != "rgb":  # both take the change from one frame to the next
        values, stated = values | {"input": input_modality}, stated | {"min_frames": stated["min_frames"] + 1}
    try:
        return BackboneInfo(**{"family": path.stem, **stated, "name": name, "options": values, "published": published})
    except TypeError as error:
        raise ConfigError(f"{path}: the entry of {name!r} in MODELS is not complete: {error}.") from error


def create_model(name: str, **options: Any) -> Backbone:
    """Build a backbone with fresh random weights.

    Args:
        name: one of `list_models()`, or "path/to/file.py:name" (whose code is run, so use files you trust).
        options: those listed in `model_info(name).options`, and input: "rgb", "residual" or "flow" (`ssvid.zoo.modality`).

    Raises:
        ConfigError: for an unknown name, option or value.
    """
    info = model_info(name, **options)
    from ssvid.zoo.backbone import Backbone

    path, _ = _find(name)
    trunk = import_source(path).build(
        name.rpartition(":")[2], **{key: info.options[key] for key in info.options if key != "input"}
    )
    return Backbone(trunk, info)


def _read_family(path: Path) -> dict[str, dict[str, Any]]:
    """Entries of one family's file with the shared fields filled in; empty where the file holds no family."""
    models = read_literal(path, "MODELS") or {}
    shared = models.get("*", {})
    return {name: shared | entry for name, entry in models.items() if name != "*"}


def _catalogue() -> dict[str, tuple[Path, dict[str, Any]]]:
    """Every registered name with its file and its entry. A family that cannot be read is logged and left out."""
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in find_modules(__name__, "ssvid.backbones").values():
        try:
            family = _read_family(path)
        except ConfigError as error:
            logger.warning("Backbone family left out. %s", error)
            continue
        for name, entry in family.items():
            if name in found:
                logger.warning("Backbone %s of %s left out: %s has that name already.", name, path, found[name][0])
            found.setdefault(name, (path, entry))
    return found


def _find(name: str) -> tuple[Path, dict[str, Any]]:
    file, _, short = name.rpartition(":")
    if file.endswith(".py"):
        path = Path(file).expanduser()
        family = _read_family(path)
        if short not in family:
            raise ConfigError(f"{path} has no backbone {short!r}. Its MODELS has: {', '.join(family) or 'nothing'}.")
        return path, family[short]
    catalogue = _catalogue()
    if name not in catalogue:
        close = difflib.get_close_matches(name, catalogue, n=3)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise ConfigError(
            f"Unknown backbone {name!r}.{hint} `ssvid list` shows all names; a file of your own is path/to/file.py:name."
        )
    return catalogue[name]


def _changes(entry: Mapping[str, Any]) -> dict[str, dict[Any, dict[str, Any]]]:
    return entry.get("changes", {})


def _check_options(name: str, entry: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options in force, defaults filled in. Raises ConfigError for an unknown option or value."""
    defaults: dict[str, Any] = entry.get("options", {})
    for option, value in options.items():
        if option not in defaults:
            listed = ", ".join(f"{key}={default!r}" for key, default in defaults.items()) or "none"
            raise ConfigError(f"Backbone {name!r} has no option {option!r}. Its options: {listed}.")
        default = defaults[option]
        if type(value) is not type(default):
            raise ConfigError(
                f"Backbone {name!r}: {option}={value!r} must be of type {type(default).__name__}, as its default {default!r}."
            )
        if option in _changes(entry) and value not in (allowed := [default, *_changes(entry)[option]]):
            raise ConfigError(f"Backbone {name!r}: {option}={value!r} is not one of {', '.join(map(repr, allowed))}.")
    return defaults | dict(options)
