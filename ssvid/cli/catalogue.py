"""Tasks, backbones, weights, protocols and layouts with a line each, read from their sources so that listing needs no torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ssvid.errors import ConfigError
from ssvid.evaluation.adapter import protocols
from ssvid.plugins import list_tasks, read_class, read_summary
from ssvid.zoo import BackboneInfo, known_info, list_models
from ssvid.zoo.info import POOLED
from ssvid.zoo.registry import ENCODERS, prefixes
from ssvid.zoo.registry import catalogue as encoders

HEADERS = {
    "tasks": ["name", "chance", "needs", "description", "options"],
    "models": ["name", "family", "dim", "temporal_stride", "spatial_stride", "order", "weights", "description"],
    "weights": ["name", "published", "address"],
    "protocols": ["name", "summary", "after", "differs"],
    "layouts": ["name", "description", "options"],
}


NEEDS = ("time", "any_length", "frames", "cells")  # what a task may need of a backbone, see ssvid.training.task


def catalogue(kind: str = "all", pattern: str = "*", needs: str = "") -> dict[str, list[dict[str, Any]]]:
    """{"tasks": [...], "models": [...], "protocols": [...], "layouts": [...]}, or one of them; names that match the shell pattern.
    {"weights": [...]} is listed alone.

    Every row is made of JSON values. Its "options" are {name: {"type": ..., "default": ...}}; an option without a default must be given.
    needs: a need (time, any_length, frames, cells) or a task: only models that offer it, or what the task needs. Raises ConfigError for
    another kind, or for a need that there is not.
    """
    makers = {
        "tasks": _tasks,
        "models": lambda: _models(pattern, needs),
        "protocols": _protocols,
        "layouts": _layouts,
        "weights": _weights,
    }
    if kind not in (*makers, "all"):
        raise ConfigError(f"there is no list of {kind!r}; lists: all, {', '.join(makers)}")
    listed = {name: make() for name, make in makers.items() if kind == name or (kind == "all" and name != "weights")}
    return {name: [row for row in rows if fnmatchcase(row["name"], pattern)] for name, rows in listed.items()}


def cell_text(value: Any) -> str:
    """A value of a row as a table shows it: options as name=default, lists as words, numbers in three digits."""
    if isinstance(value, Mapping):
        return " ".join(f"{name}={option.get('default', '?')}" for name, option in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    if value == POOLED:
        return "whole"  # one step for the clip, one cell for the frame
    return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)


def task_facts(path: Path) -> dict[str, Any]:
    """chance, needs and options of the task class in a file, as its source states them; chance is None where it is no constant."""
    found = read_class(path, "PretextTask")
    return {"chance": found.get("chance"), "needs": list(found.get("needs") or ()), "options": found["options"]}


def _tasks() -> list[dict[str, Any]]:
    return [
        {"name": name, "description": read_summary(path), **task_facts(path)} for name, path in list_tasks().items()
    ]


def offers(info: BackboneInfo, need: str) -> bool:
    """Whether a backbone offers what a task may need: "time", the order of frames, "any_length", a step for every frame, "frames", to
    learn from frames alone, or "cells", several a frame."""
    if need == "time":
        return info.order == "aware"
    if need == "frames":
        return info.isolation != "motion"
    if need == "cells":
        return info.spatial_stride != POOLED
    return info.temporal_stride == 1 or "temporal_stride" in info.options


def _needs(text: str) -> list[str]:
    tasks = list_tasks()
    if text in NEEDS or not text:
        return [text] if text else []
    if text not in tasks:
        raise ConfigError(f"nothing needs {text!r}; needs: {', '.join(NEEDS)}, or a task: {', '.join(tasks)}")
    return [str(need) for need in task_facts(tasks[text])["needs"]]


def _models(pattern: str, needs: str) -> list[dict[str, Any]]:
    """Models by family, then the families that serve the names of a library."""
    wanted, entries, rows = _needs(needs), encoders(ENCODERS), []
    for name in list_models(pattern):
        info = known_info(name)
        if info is None:  # of another package and never used: measuring it would import torch
            rows.append(_unknown(name, "not measured yet; use it once"))
        elif all(offers(info, need) for need in wanted):
            facts = {key: getattr(info, key) for key in HEADERS["models"] if key != "weights"}
            weights = list(entries[name].fields.get("weights", ())) if name in entries else []
            rows.append(facts | {"weights": weights, "options": _typed(info.options)})
    rows.sort(key=lambda row: (row["family"], row["name"]))
    return rows + [_unknown(f"{prefix}NAME", read_summary(path)) for prefix, path in prefixes(ENCODERS).items()]


def _unknown(name: str, description: str) -> dict[str, Any]:
    facts: dict[str, Any] = dict.fromkeys(HEADERS["models"], "?")
    return facts | {"name": name, "weights": [], "description": description, "options": {}}


def _weights() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, entry in sorted(encoders(ENCODERS).items()):
        scores = [f"{value} {metric} on {data}" for data, _, metric, value, _ in entry.fields.get("published", ())]
        for tag, address in entry.fields.get("weights", {}).items():
            rows.append({"name": f"{name}@{tag}", "published": scores, "address": address})
    served = {"timm/NAME@TAG": "those of timm", "hf/NAME@pretrained": "the hub's, or of the folder NAME"}
    return rows + [{"name": name, "published": [], "address": where} for name, where in served.items()]


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
