"""Backbones by name: `create_model("resnet18+lstm@imagenet1k")`, `list_models("*_tiny")`, `model_info("r3d_18", input="flow")`.

A name is `<encoder>[+<temporal>][@<weights>]`, see `ssvid.zoo.names`; how an encoder or a head is added, `ssvid.zoo.registry` says.
Options of the encoder go by their own names, those of the head by the head's name and theirs: `lstm_hidden=128`. Every backbone has the
option `input`: "rgb", "residual" or "flow", see `ssvid.zoo.modality`. Weights that have a card decide the options that are not given.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from ssvid.errors import ConfigError
from ssvid.plugins import source_digest
from ssvid.zoo.cards import card_of
from ssvid.zoo.geometry import encoder_geometry, head_geometry, known_encoder, known_head, of_changes, with_head
from ssvid.zoo.info import BackboneInfo, Geometry, Published
from ssvid.zoo.names import ModelName
from ssvid.zoo.registry import ENCODERS, HEADS, RegistryEntry, catalogue, find

if TYPE_CHECKING:
    from ssvid.zoo.backbone import Backbone
    from ssvid.zoo.cost import count_macs, count_parameters
    from ssvid.zoo.views import clip_vector, frame_vectors, isolated_maps
    from ssvid.zoo.weights import load_weights

__all__ = [
    "Backbone",
    "BackboneInfo",
    "ModelName",
    "Published",
    "clip_vector",
    "count_macs",
    "count_parameters",
    "create_model",
    "frame_vectors",
    "isolated_maps",
    "list_models",
    "load_weights",
    "model_info",
]

MODALITIES = ("rgb", "residual", "flow")  # what a backbone may make of the colours of a clip, see ssvid.zoo.modality

_NEEDS_TORCH = {
    "Backbone": "backbone",
    "clip_vector": "views",
    "frame_vectors": "views",
    "isolated_maps": "views",
    "count_macs": "cost",
    "count_parameters": "cost",
    "load_weights": "weights",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)


def list_models(pattern: str = "*") -> list[str]:
    """Names that match a shell pattern (`*`, `?`, `[...]`), sorted. Imports no torch.

    A combination with a head is listed where the pattern asks for the head, so "*lstm*" lists "resnet18+lstm" and "resnet*" does not;
    networks without weights are combined with none, though `create_model` would.
    """
    encoders, heads = catalogue(ENCODERS), catalogue(HEADS)
    found = [name for name in encoders if fnmatchcase(name, pattern)]
    for name in encoders:
        if not fnmatchcase(name, pattern) and encoders[name].fields.get("learns", True):
            found += [f"{name}+{head}" for head in heads if fnmatchcase(f"{name}+{head}", pattern)]
    return sorted(found)


def model_info(name: str, **options: Any) -> BackboneInfo:
    """What is known of a backbone under these options. Imports no torch and builds nothing, but for a file of a user or another package:
    its networks are built and measured when they are first asked for.

    Raises ConfigError for an unknown name, option or value.
    """
    info = _describe(name, options, measure=True)
    assert info is not None  # what was not known has been measured
    return info


def known_info(name: str) -> BackboneInfo | None:
    """As `model_info`, None for a network that would have to be measured first."""
    return _describe(name, {}, measure=False)


def create_model(name: str, weights: str | None = None, **options: Any) -> Backbone:
    """Build a backbone, with fresh random weights where none are named.

    Args:
        name: one of `list_models()`, "path/to/file.py:name" (whose code is run, so use files you trust), with or without +HEAD, @WEIGHTS.
        weights: another way to say @WEIGHTS: weights by name, a run folder or a file, see `ssvid.zoo.weights`.
        options: those listed in `model_info(name).options`, and input: "rgb", "residual" or "flow".

    Raises:
        ConfigError: for an unknown name, option or value.
        DataError: for weights that cannot be read or do not fit.
    """
    parts = ModelName.parse(name)
    parts = replace(parts, weights=weights or parts.weights)
    info = model_info(str(parts), **options)
    from ssvid.zoo.backbone import Backbone, WithHead
    from ssvid.zoo.levels import find_levels

    encoder, head, own, heads_own = _parts(parts, info.options)
    trunk = encoder.build(**own)
    if head is not None:
        levels = find_levels(trunk, info.frames, info.size) if head.fields.get("levels") else {}
        dim = tuple(levels.values()) or encoder_geometry(encoder, own).dim
        trunk = WithHead(trunk, head.build(dim, **heads_own), tuple(levels))
    backbone = Backbone(trunk, info, model_source(name))
    if parts.weights:
        from ssvid.zoo.weights import load_weights

        load_weights(backbone, parts.weights)
    return backbone


def option_schema(name: str) -> dict[str, Any]:
    """Type of every option of a backbone. Raises ConfigError for an unknown name."""
    encoder, head, _, _ = _parts(ModelName.parse(name), {})
    hints = {option: parameter.annotation for option, parameter in encoder.options.items()}
    if head is not None:
        hints |= {f"{head.short}_{option}": parameter.annotation for option, parameter in head.options.items()}
    return hints | {"input": Literal[MODALITIES]}


def model_source(name: str) -> str:
    """Hex digits of the code of a user's file behind a name, "" for our own; see `ssvid.plugins.source_digest`."""
    encoder, head, _, _ = _parts(ModelName.parse(name), {})
    return source_digest(encoder.path, *([head.path] if head else []))


def _parts(
    name: ModelName, options: Mapping[str, Any]
) -> tuple[RegistryEntry, RegistryEntry | None, dict[str, Any], dict[str, Any]]:
    """Encoder and head of a name, and all options of each with their values in force."""
    encoder = find(ENCODERS, name.encoder)
    if not name.temporal:
        return encoder, None, encoder.settings(options), {}
    head = find(HEADS, name.temporal)
    prefix = f"{head.short}_"
    own = {option.removeprefix(prefix): value for option, value in options.items() if option.startswith(prefix)}
    return encoder, head, encoder.settings(options), head.settings(own)


def _describe(text: str, options: Mapping[str, Any], measure: bool) -> BackboneInfo | None:
    name = ModelName.parse(text)
    options = {**card_of(name).get("backbone_options", {}), **options}
    options = _checked(name.architecture, options) if options else {}
    encoder, head, own, heads_own = _parts(name, options)
    geometry = encoder_geometry(encoder, own) if measure else known_encoder(encoder, own)
    if geometry is None:
        return None
    values, stated = (
        dict(own),
        {key: value for key, value in encoder.fields.items() if key not in ("weights", "published")},
    )
    published = tuple(Published(*row) for row in encoder.fields.get("published", ()))
    if head is not None:
        over = head_geometry(head, heads_own) if measure else known_head(head, heads_own)
        if over is None:
            return None
        of_levels = geometry.temporal_rf != 1 and head.fields.get("levels", False)  # each comes at a time of its own
        geometry = with_head(geometry, over, heads_own)
        geometry = replace(geometry, streams=geometry.streams and not of_levels)
        values |= {f"{head.short}_{option}": value for option, value in heads_own.items()}
        stated |= {"description": f"{stated['description']}; {head.fields['description']}"}
        published = ()  # scores of the encoder alone
    if options.get("input", "rgb") != "rgb":
        geometry, values = of_changes(geometry), values | {"input": options["input"]}
    return _complete(encoder, name.architecture, geometry, stated, values, published)


def _complete(
    encoder: RegistryEntry,
    name: str,
    geometry: Geometry,
    stated: dict[str, Any],
    options: dict[str, Any],
    published: tuple[Published, ...],
) -> BackboneInfo:
    fields = {"family": encoder.path.stem, **stated, **vars(geometry)}
    try:
        return BackboneInfo(**fields, name=name, options=options, published=published)
    except TypeError as error:
        raise ConfigError(
            f"{encoder.path}: the entry of {encoder.short!r} in MODELS is not complete: {error}."
        ) from error


def _checked(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    from ssvid.config import check_values  # slow to import, and seldom needed for a list

    return check_values(option_schema(name), options, f"Backbone {name!r}")
