"""Families of encoders and temporal heads: where their files lie and what is stated there, read without importing any.

A family of encoders is one file in `encoders/`, a module named in the entry-point group "ssvid.backbones", or a user's file given as
"path/to/file.py:name". It holds two things:

    MODELS = {"*": {...}, "name": {...}, ...}                    a plain literal; "*" holds what the others share
    def build(name: str, *, option: type = default) -> nn.Module    the trunk, (B,3,T,H,W) -> (B,D,t,h,w)

An entry states the fields of `BackboneInfo` that are not measured (description, frames, size, mean, std, source, licence ...) and may
hold `weights`, name -> {file, url, source, licence}. The keyword-only parameters of `build` are the options.

A family whose names come from a library states PREFIX = "timm/" beside MODELS = {"*": {...}} and defines `describe(name)`, which
gives the fields of one such name and raises ConfigError for one that the library does not know.

A file of temporal heads, in `temporal/` or the group "ssvid.heads", likewise:

    HEADS = {"name": {"description": ..., "source": ..., "licence": ...}}
    def build(name: str, dim: int, *, option: type = default) -> nn.Module    map to map, (B,dim,t,h,w) -> (B,D',t',h',w')

A head that states "levels": True takes the maps of several levels of the encoder, see `ssvid.zoo.levels`: `build` is given a tuple of
their channels, and the network a list of them; a single number and a single map it takes as well. A head that takes a map step by step has
`streams = True`, see `ssvid.zoo.stream`.
"""

from __future__ import annotations

import difflib
import inspect
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssvid.errors import ConfigError
from ssvid.plugins import find_modules, import_source, read_literal, read_signature
from ssvid.zoo.info import BackboneInfo, Geometry

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

Schema = Mapping[str, inspect.Parameter]  # option -> its type and default
MEASURED = {field.name for field in fields(Geometry)}
STATED = {field.name for field in fields(BackboneInfo)} - MEASURED - {"name", "family", "options"}


@dataclass(frozen=True)
class RegistryEntry:
    """One encoder or head. name: as it is asked for. short: as its file calls it. fields: what the file states of it."""

    name: str
    short: str
    path: Path
    fields: dict[str, Any]
    options: Schema

    def build(self, *args: Any, **options: Any) -> nn.Module:
        """The network with fresh weights. Imports the file, and so runs its code."""
        module: nn.Module = import_source(self.path).build(self.short, *args, **options)
        return module

    def settings(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """All options with their values in force."""
        return {name: changes.get(name, parameter.default) for name, parameter in self.options.items()}


@dataclass(frozen=True)
class RegistryKind:
    """Encoders or heads: what they are called, where they lie, and how a file of theirs states them."""

    word: str
    package: str
    group: str
    literal: str
    known: frozenset[str]


ENCODERS = RegistryKind("backbone", "ssvid.zoo.encoders", "ssvid.backbones", "MODELS", frozenset(STATED | {"weights"}))
HEADS = RegistryKind(
    "temporal head",
    "ssvid.zoo.temporal",
    "ssvid.heads",
    "HEADS",
    frozenset({"description", "source", "licence", "levels"}),
)


def catalogue(kind: RegistryKind) -> dict[str, RegistryEntry]:
    """Every listed name with its entry. A file that cannot be read is logged and left out."""
    found: dict[str, RegistryEntry] = {}
    for path in _files(kind, tuple(sys.path)):
        try:
            family = _read(kind, path)
        except ConfigError as error:
            logger.warning("%s left out. %s", kind.word.capitalize(), error)
            continue
        for name, entry in family.items():
            if name in found:
                logger.warning(
                    "%s %s of %s left out: %s has that name already.", kind.word, name, path, found[name].path
                )
            found.setdefault(name, entry)
    return found


def find(kind: RegistryKind, name: str) -> RegistryEntry:
    """The entry of a name, or of a path/to/file.py:name. Raises ConfigError for an unknown one."""
    file, _, short = name.rpartition(":")
    if file.endswith(".py"):
        family = _read(kind, Path(file).expanduser())
        if short not in family:
            raise ConfigError(
                f"{file} has no {kind.word} {short!r}. Its {kind.literal} has: {', '.join(family) or 'nothing'}."
            )
        entry = family[short]
        return RegistryEntry(name, short, entry.path, entry.fields, entry.options)
    listed = catalogue(kind)
    if name in listed:
        return listed[name]
    served = _by_prefix(kind, name)
    if served is not None:
        return served
    close = difflib.get_close_matches(name, listed, n=3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise ConfigError(
        f"Unknown {kind.word} {name!r}.{hint} `ssvid list` shows all names; a file of your own is path/to/file.py:name."
    )


def prefixes(kind: RegistryKind) -> dict[str, Path]:
    """Prefixes of the families that serve the names of a library, "timm/" and others, with their files."""
    found: dict[str, Path] = {}
    for path in _files(kind, tuple(sys.path)):
        try:
            prefix = read_literal(path, "PREFIX")
        except ConfigError:
            continue  # logged by `catalogue`
        if prefix:
            found.setdefault(prefix, path)
    return found


def _by_prefix(kind: RegistryKind, name: str) -> RegistryEntry | None:
    """The entry of a name that a family serves by its prefix, None where there is no such family."""
    for prefix, path in prefixes(kind).items():
        if name.startswith(prefix):
            shared = (read_literal(path, kind.literal) or {}).get("*", {})
            short = name.removeprefix(prefix)
            stated = shared | import_source(path).describe(short)
            return RegistryEntry(name, short, path, _checked(kind, path, stated), read_signature(path, "build"))
    return None


@cache
def _files(kind: RegistryKind, search_path: tuple[str, ...]) -> list[Path]:
    """Files of a kind. The search path is what decides which packages are installed."""
    return list(find_modules(kind.package, kind.group).values())


def _read(kind: RegistryKind, path: Path) -> dict[str, RegistryEntry]:
    """The entries of one file; empty where it holds none."""
    try:
        modified = path.stat().st_mtime_ns
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}. Check the path.") from error
    return _read_once(kind, path, modified)


@cache
def _read_once(kind: RegistryKind, path: Path, modified: int) -> dict[str, RegistryEntry]:
    stated = read_literal(path, kind.literal) or {}
    shared = stated.get("*", {})
    names = [name for name in stated if name != "*"]
    options = read_signature(path, "build") if names else {}
    return {
        name: RegistryEntry(name, name, path, _checked(kind, path, shared | stated[name]), options) for name in names
    }


def _checked(kind: RegistryKind, path: Path, stated: dict[str, Any]) -> dict[str, Any]:
    if kind is ENCODERS and (measured := sorted(stated.keys() & MEASURED)):
        raise ConfigError(
            f"{path}: {', '.join(measured)} of {kind.literal} are measured on the network; leave them out."
        )
    if unknown := sorted(stated.keys() - kind.known):
        raise ConfigError(
            f"{path}: {kind.literal} has unknown fields {', '.join(unknown)}. Known: {', '.join(sorted(kind.known))}."
        )
    return stated
