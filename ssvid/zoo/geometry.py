"""Looking up what was measured of an encoder and a head, and putting the two together.

What comes with the package is read from facts.json. A file of another package or of a user is measured when it is first used, and the
result is kept in the cache folder under a key made of the file's content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from ssvid.files import cache_folder, read_json, write_json
from ssvid.zoo.info import POOLED, Geometry, Order
from ssvid.zoo.registry import RegistryEntry

FACTS = Path(__file__).with_name("facts.json")
VERSION = 3  # of what is measured and how; a change makes what is cached void


@dataclass(frozen=True)
class HeadGeometry:
    """What is measured on a head. dim: channels that come out, None for `widening` times as many as go in. sized_by: the option that sets
    them, where it is not 0. pools_space: one cell comes out. min_steps: least t. temporal_rf: steps that one step sees, None for all.
    streams: takes a map step by step, see `ssvid.zoo.stream`."""

    dim: int | None
    sized_by: str
    temporal_stride: int
    pools_space: bool
    min_steps: int
    temporal_rf: int | None
    order: Order
    widening: int = 1
    streams: bool = False


Measured = TypeVar("Measured", Geometry, HeadGeometry)


def encoder_geometry(entry: RegistryEntry, options: Mapping[str, Any]) -> Geometry:
    """Geometry of an encoder. Builds and measures it, once, where it does not come with the package."""
    return known_encoder(entry, options) or _measured(entry, options, Geometry)


def head_geometry(entry: RegistryEntry, options: Mapping[str, Any]) -> HeadGeometry:
    """Geometry of a head, likewise."""
    return known_head(entry, options) or _measured(entry, options, HeadGeometry)


def known_encoder(entry: RegistryEntry, options: Mapping[str, Any]) -> Geometry | None:
    """Geometry of an encoder, None where it has never been measured. Builds nothing and imports no torch."""
    return _kept(entry, options, "encoders", Geometry)


def known_head(entry: RegistryEntry, options: Mapping[str, Any]) -> HeadGeometry | None:
    """Geometry of a head, likewise."""
    return _kept(entry, options, "heads", HeadGeometry)


def with_head(encoder: Geometry, head: HeadGeometry, options: Mapping[str, Any]) -> Geometry:
    """Geometry of an encoder followed by a head, `options` being the head's."""
    rf = None
    if encoder.temporal_rf is not None and head.temporal_rf is not None:
        rf = encoder.temporal_rf + (head.temporal_rf - 1) * encoder.temporal_stride
    return Geometry(
        dim=options.get(head.sized_by) or head.dim or head.widening * encoder.dim,
        temporal_stride=min(POOLED, encoder.temporal_stride * head.temporal_stride),
        spatial_stride=POOLED if head.pools_space else encoder.spatial_stride,
        min_frames=encoder.min_frames + (head.min_steps - 1) * encoder.temporal_stride,
        min_size=encoder.min_size,
        temporal_rf=rf,
        order="aware" if "aware" in (encoder.order, head.order) else "blind",
        streams=encoder.streams and head.streams,
    )


def of_changes(geometry: Geometry) -> Geometry:
    """Geometry of a network that is shown the change from each frame to the next, as a residual or as flow.

    One frame more is needed and seen, and order matters: played backward, each change is the opposite one.
    """
    rf = None if geometry.temporal_rf is None else geometry.temporal_rf + 1
    return replace(geometry, min_frames=geometry.min_frames + 1, temporal_rf=rf, order="aware", streams=False)


def _kept(entry: RegistryEntry, options: Mapping[str, Any], key: str, kind: type[Measured]) -> Measured | None:
    facts = _facts()[key].get(entry.name)
    if facts is not None and entry.path.is_relative_to(FACTS.parent):
        values = dict(facts["geometry"])
        for option, value in options.items():
            values |= facts["changes"].get(f"{option}={value}", {})
        return kind(**values)
    try:
        return kind(**read_json(_cached(entry, options)))
    except (OSError, ValueError, TypeError):
        return None


def _measured(entry: RegistryEntry, options: Mapping[str, Any], kind: type[Measured]) -> Measured:
    import torch

    from ssvid.zoo import measure

    with torch.device("cpu"):  # whoever asks may be about to build on the meta device, where nothing is computed
        found: Any = (measure.measure_encoder if kind is Geometry else measure.measure_head)(entry, dict(options))
    write_json(_cached(entry, options), asdict(found))
    return kind(**asdict(found))


def _cached(entry: RegistryEntry, options: Mapping[str, Any]) -> Path:
    """Where the geometry of a file's network is kept. Content and not path, since a file may change or move."""
    about = json.dumps(
        [VERSION, entry.short, sorted(options.items()), entry.fields.get("frames"), entry.fields.get("size")]
    )
    digest = hashlib.sha256(entry.path.read_bytes() + about.encode()).hexdigest()[:24]
    return cache_folder() / "geometry" / f"{digest}.json"


@cache
def _facts() -> dict[str, dict[str, Any]]:
    try:
        facts: dict[str, dict[str, Any]] = read_json(FACTS)
    except FileNotFoundError:
        facts = {"encoders": {}, "heads": {}}
    return facts
