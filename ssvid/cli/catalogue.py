"""Tasks, backbones, protocols and layouts with a line each, read from their sources so that listing needs no torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ssvid.errors import ConfigError
from ssvid.evaluation.adapter import protocols
from ssvid.plugins import list_tasks, read_class, read_summary
from ssvid.zoo import known_info, list_models

HEADERS = {
    "tasks": ["name", "chance", "needs", "description", "options"],
    "models": ["name", "dim", "temporal_stride", "spatial_stride", "order", "description"],
    "protocols": ["name", "summary", "after", "differs"],
    "layouts": ["name", "description", "options"],
}


def catalogue(kind: str = "all", pattern: str = "*") -> dict[str, list[dict[str, Any]]]:
    """{"tasks": [...], "models": [...], "protocols": [...], "layouts": [...]}, or one of them; names that match the shell pattern.

    Every row is made of JSON values. Its "options" are {name: {"type": ..., "default": ...}}; an option without a default must be given.
    Raises ConfigError for another kind.
    """
    makers = {"tasks": _tasks, "models": lambda: _models(pattern), "protocols": _protocols, "layouts": _layouts}
    if kind not in (*makers, "all"):
        raise ConfigError(f"there is no list of {kind!r}; lists: all, {', '.join(makers)}")
    listed = {name: make() for name, make in makers.items() if kind in (name, "all")}
    return {name: [row for row in rows if fnmatchcase(row["name"], pattern)] for name, rows in listed.items()}


def cell_text(value: Any) -> str:
    """A value of a row as a table shows it: options as name=default, lists as words, numbers in three digits."""
    if isinstance(value, Mapping):
        return " ".join(f"{name}={option.get('default', '?')}" for name, option in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)


def task_facts(path: Path) -> dict[str, Any]:
    """chance, needs and options of the task class in a file, as its source states them; chance is None where it is no constant."""
    found = read_class(path, "PretextTask")
    return {"chance": found.get("chance"), "needs": list(found.get("needs") or ()), "options": found["options"]}


def _tasks() -> list[dict[str, Any]]:
    return [
        {"name": name, "description": read_summary(path), **task_facts(path)} for name, path in list_tasks().items()
    ]


def _models(pattern: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name in list_models(pattern):
        info = known_info(name)
        if info is None:  # of another package and never used: measuring it would import torch
            facts = dict.fromkeys(HEADERS["models"], "?") | {
                "name": name,
                "description": "not measured yet; use it once",
            }
            rows.append(facts | {"options": {}})
        else:
            rows.append({key: getattr(info, key) for key in HEADERS["models"]} | {"options": _typed(info.options)})
    return rows


def _protocols() -> list[dict[str, Any]]:
    listed = (*HEADERS["protocols"], "trains")
    return [
        {key: getattr(protocol, key) for key in listed} | {"options": _typed(protocol.options)}
        for protocol in protocols().values()
    ]


def _layouts() -> list[dict[str, Any]]:
    from ssvid.data.layouts import LAYOUTS, SEQUENCE_LAYOUTS

    rules: dict[str, Callable[..., object]] = {**LAYOUTS, **SEQUENCE_LAYOUTS}
    return [
        {"name": name, "description": (rule.__doc__ or "").partition("\n")[0], "options": _signature(rule)}
        for name, rule in rules.items()
    ]


def _typed(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Options known by their defaults alone."""
    return {name: {"type": type(default).__name__, "default": default} for name, default in options.items()}


def _signature(function: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """Options known by the keyword-only parameters of a function."""
    parameters = inspect.signature(function).parameters.values()
    options = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
    return {
        name: {"type": str(p.annotation)} | ({} if p.default is p.empty else {"default": p.default})
        for name, p in options.items()
    }
