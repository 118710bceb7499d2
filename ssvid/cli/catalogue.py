"""What there is: tasks, backbones, protocols and layouts with a line each, read from their sources so that listing needs no torch."""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ssvid.errors import ConfigError
from ssvid.evaluation.adapter import protocols
from ssvid.plugins import list_tasks, read_summary
from ssvid.zoo import known_info, list_models

HEADERS = {
    "tasks": ["name", "chance", "needs", "description", "options"],
    "models": ["name", "dim", "temporal_stride", "spatial_stride", "order", "description"],
    "protocols": ["name", "summary", "after", "differs"],
    "layouts": ["name", "description"],
}


def catalogue(kind: str = "all", pattern: str = "*") -> dict[str, list[dict[str, Any]]]:
    """{"tasks": [...], "models": [...], "protocols": [...], "layouts": [...]}, or one of them; names that match the shell pattern.

    Raises ConfigError for another kind.
    """
    makers = {"tasks": _tasks, "models": lambda: _models(pattern), "protocols": _protocols, "layouts": _layouts}
    if kind not in (*makers, "all"):
        raise ConfigError(f"there is no list of {kind!r}; lists: all, {', '.join(makers)}")
    listed = {name: make() for name, make in makers.items() if kind in (name, "all")}
    return {name: [row for row in rows if fnmatchcase(row["name"], pattern)] for name, rows in listed.items()}


def _tasks() -> list[dict[str, Any]]:
    return [
        {"name": name, "description": read_summary(path), **task_facts(path)} for name, path in list_tasks().items()
    ]


def _models(pattern: str) -> list[dict[str, Any]]:
    rows = []
    for name in list_models(pattern):
        info = known_info(name)
        if info is None:  # of another package and never used: measuring it would import torch
            facts = dict.fromkeys(HEADERS["models"], "?") | {
                "name": name,
                "description": "not measured yet; use it once",
            }
            rows.append(facts | {"options": {}})
        else:
            rows.append({key: getattr(info, key) for key in HEADERS["models"]} | {"options": dict(info.options)})
    return rows


def _protocols() -> list[dict[str, Any]]:
    listed = (*HEADERS["protocols"], "trains", "options")
    return [{key: getattr(protocol, key) for key in listed} for protocol in protocols().values()]


def _layouts() -> list[dict[str, Any]]:
    from ssvid.data.layouts import LAYOUTS

    return [{"name": name, "description": (rule.__doc__ or "").partition("\n")[0]} for name, rule in LAYOUTS.items()]


def task_facts(path: Path) -> dict[str, Any]:
    """chance, needs and options of the task class in a file, as its source states them."""
    facts: dict[str, Any] = {"chance": "", "needs": "", "options": ""}
    for item in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(item, ast.ClassDef) or not any("PretextTask" in ast.unparse(base) for base in item.bases):
            continue
        for statement in item.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                name = statement.targets[0].id
                if name == "chance":
                    facts["chance"] = ast.unparse(statement.value).replace(" ", "")  # 1/6 stays a fraction
                elif name == "needs":
                    facts["needs"] = " ".join(ast.literal_eval(statement.value))
            elif isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                pairs = zip(statement.args.kwonlyargs, statement.args.kw_defaults, strict=True)
                facts["options"] = " ".join(
                    f"{arg.arg}={ast.unparse(default) if default else '?'}" for arg, default in pairs
                )
    return facts
