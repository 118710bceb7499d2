"""Pages of the documentation site that are made from the sources: a page a task and a family of backbones, protocols, layouts, commands.

They are made anew with every build of the site, so they cannot go stale. What is a number comes from results/ and the zoo's facts.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ssvid.cli.catalogue import catalogue, cell_text
from ssvid.cli.site_commands import commands_page
from ssvid.cli.weights_page import weights_page
from ssvid.plugins import list_tasks, load_task
from ssvid.zoo import BackboneInfo, known_info, list_models
from ssvid.zoo.info import POOLED
from ssvid.zoo.registry import ENCODERS, HEADS, prefixes
from ssvid.zoo.registry import catalogue as registered

ROOT = Path(__file__).parents[2]
PRETEXT_TABLES = ("pretext", "joint")  # in results/: a task's page shows the first that has the task
_AUDIT_GUIDE = "[How to read an audit](../guides/audit.md)."
NEEDS = {
    "time": "features that depend on the order of frames",
    "any_length": "a step for every frame, or one that can be had with `temporal_stride=False`",
    "frames": "frames that can be encoded alone",
    "cells": "a map of several cells a frame",
}


def site_pages() -> dict[str, str]:
    """Markdown by its path within docs/."""
    pages = {f"tasks/{name}.md": task_page(name, path) for name, path in list_tasks().items()}
    pages["tasks/index.md"] = _tasks_index()
    families = _by_family()
    pages |= {f"families/{path.stem}.md": family_page(path, names) for path, names in families.items()}
    pages["families/heads.md"] = heads_page()
    pages["families/index.md"] = _families_index(families)
    pages["protocols.md"] = protocols_page()
    pages["own/layouts.md"] = layouts_page()
    pages["commands.md"] = commands_page()
    pages["weights.md"] = weights_page()
    return pages


def task_page(name: str, path: Path) -> str:
    """What a task asks, of whom, what the audit looks for, what it reached, and how to run it."""
    (facts,) = catalogue("tasks", name)["tasks"]
    about, described = _docstrings(path)
    title, _, rest = about.partition("\n")
    parts = [f"# {name}", f"*{title}*", rest.strip(), f"    ssvid pretrain {name} --data videos.sqlite", _picture(name)]
    described, meanings = split_options(described, facts["options"])
    parts += ["## How it is made", _as_text(described), "## Options", _options(facts["options"], meanings)]
    parts += ["## What it needs of a backbone", _needs(facts["needs"], name), "## Audit", _audit(name)]
    parts += ["## What it reached here", _reached(name)]
    configs = sorted(one.name for one in (ROOT / "configs" / "pretrain").glob(f"{name}_*.yaml"))
    parts += (
        ["## Settings that were run", "\n".join(f"- `configs/pretrain/{one}`" for one in configs)] if configs else []
    )
    return _joined(parts)


def family_page(path: Path, names: Sequence[str]) -> str:
    """What a family of encoders is, and the numbers of each."""
    title, about = _headline(path)
    served = [f"`{prefix}NAME`" for prefix, home in prefixes(ENCODERS).items() if home == path]
    header = [
        "name",
        "clip",
        "parameters, M",
        "multiply-adds, G",
        "channels",
        "frames a step",
        "px a cell",
        "frames seen",
        "order",
        "weights",
    ]
    table = _table(*_without_empty(header, [_model_row(name) for name in names])) if names else ""
    note = "Numbers are measured; `ssvid show NAME` tells all of one. [All beside each other](../results/zoo.md)."
    return _joined([f"# {title}", f"Written {' '.join(served)}." if served else "", about, table, note])


def heads_page() -> str:
    """The temporal heads, what each is, and where it is from."""
    parts = ["# Temporal heads", "A head stands behind any encoder: `ENCODER+HEAD`. [Which to take](../backbones.md)."]
    for path in sorted({entry.path for entry in registered(HEADS).values()}):
        title, rest = _headline(path)
        names = [name for name, entry in registered(HEADS).items() if entry.path == path]
        parts += [f"## {title}", " ".join(f"`+{name}`" for name in names), rest]
    return _joined(parts)


def protocols_page() -> str:
    """What the numbers of a transfer table mean, and how they differ from published ones."""
    parts = [
        "# Protocols",
        "A table takes any of these with `--protocol NAME`, and their options with `--option NAME.OPTION=VALUE`. What each differs in from "
        "the papers that it is after is said here and below every table: scores are to be compared within a table, not with a paper.",
    ]
    for row in catalogue("protocols")["protocols"]:
        after, differs = (
            row[key] and f"**{word}:** {row[key]}." for key, word in (("after", "After"), ("differs", "Differs"))
        )
        parts += [f"## {row['name']}", f"{row['summary']}.", after, differs, _options(row["options"])]
    return _joined(parts)


def layouts_page() -> str:
    """Data sets whose folders and lists are known by name."""
    rows = [
        [f"`{row['name']}:`", row["description"], _names(row["options"])] for row in catalogue("layouts")["layouts"]
    ]
    words = "Named before a folder, as `ucf101:FOLDER`, with options after a question mark or an `@` where the description says so."
    return _joined(["# Layouts", words, _table(["layout", "what it is", "options"], rows)])


def _tasks_index() -> str:
    rows = [
        [f"[{row['name']}]({row['name']}.md)", row["description"], cell_text(row["needs"]), cell_text(row["chance"])]
        for row in catalogue("tasks")["tasks"]
    ]
    return _joined(["# Pretext tasks", _table(["task", "question", "needs", "chance"], rows)])


def _families_index(families: Mapping[Path, Sequence[str]]) -> str:
    known = {path: f"{prefix}NAME" for prefix, path in prefixes(ENCODERS).items()}
    rows = [
        [f"[{path.stem}]({path.stem}.md)", _headline(path)[0], " ".join(f"`{name}`" for name in names or [known[path]])]
        for path, names in families.items()
    ]
    words = "[Which backbone for which task](../backbones.md) says where to begin; [temporal heads](heads.md) go on any of them."
    return _joined(["# Backbones", words, _table(["family", "what it is", "names"], rows)])


def _by_family() -> dict[Path, list[str]]:
    """Names by the file of their family, those that serve names of a library included."""
    known = registered(ENCODERS)
    families: dict[Path, list[str]] = {path: [] for path in prefixes(ENCODERS).values()}
    for name in list_models("*"):
        if name in known:
            families.setdefault(known[name].path, []).append(name)
    return dict(sorted(families.items()))


def _model_row(name: str) -> list[str]:
    info = known_info(name)
    assert isinstance(info, BackboneInfo)  # every name of ours is measured, which a test holds
    cost = _costs().get(name, {})
    weights = " ".join(f"`@{tag}`" for tag in registered(ENCODERS)[name].fields.get("weights", {}))
    return [
        f"`{name}`", f"{info.frames} x {info.size} px".replace(" ", "&nbsp;"), cost.get("parameters, M", ""),
        cost.get("multiply-adds, G", ""), str(info.dim), _or_all(info.temporal_stride), _or_all(info.spatial_stride),
        _or_all(info.temporal_rf), info.order, weights,
    ]  # fmt: skip


def _or_all(number: int | None) -> str:
    return "all" if number in (None, POOLED) else str(number)


def _without_empty(header: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """A table without the columns that say nothing of any row."""
    kept = [place for place in range(len(header)) if any(row[place] for row in rows)]
    return [header[place] for place in kept], [[row[place] for place in kept] for row in rows]


def _costs() -> dict[str, dict[str, str]]:
    """Rows of results/zoo by the name of the backbone; none where that was not made."""
    path = ROOT / "results" / "zoo.cells.jsonl"
    if not path.is_file():
        return {}
    cells = [json.loads(line) for line in path.read_text().splitlines()]
    return {cell["row"]["name"]: cell["row"] for cell in cells}


def _audit(name: str) -> str:
    """Every check of the audit of this task, from its class: how its source spells them does not matter."""
    from ssvid.audit.audit import select_checks  # brings torch, which a list of names does not need
    from ssvid.audit.auditor import PADDING, description
    from ssvid.audit.reencodings import REENCODINGS

    checks, exempt = select_checks(load_task(name))
    asked = dict.fromkeys(REENCODINGS, "as right as before") | {PADDING: "at chance where a clip is padded"}
    asked |= {one: f"may be above chance: {reason}" for one, reason in exempt.items()}
    rows = [[f"`{one}`", description(one), asked.get(one, "at chance")] for one in (*checks, *exempt)]
    words = "`ssvid audit RUN` looks whether the trained task uses a shortcut: on videos that hold no answer, and on held-out videos that "
    words += "were written again."
    return _joined([words, _table(["check", "what it shows", "what the task has to be"], rows), _AUDIT_GUIDE])


def _task_class(path: Path) -> ast.ClassDef:
    classes = [one for one in ast.parse(path.read_text()).body if isinstance(one, ast.ClassDef)]
    return next(one for one in classes if any(ast.unparse(base) == "PretextTask" for base in one.bases))


def _docstrings(path: Path) -> tuple[str, str]:
    """Of the module and of its task."""
    return ast.get_docstring(ast.parse(path.read_text())) or "", ast.get_docstring(_task_class(path)) or ""


def _headline(path: Path) -> tuple[str, str]:
    """A short title, from the first words of a module's docstring, and the whole docstring."""
    text = _as_text(ast.get_docstring(ast.parse(path.read_text())) or "")
    return re.split(r" \(|[:.](?:\s|$)|, (?=[a-z])", text, maxsplit=1)[0].strip(), text


def _as_text(docstring: str) -> str:
    """A docstring as Markdown: lines `name: what it is` that begin a paragraph of arguments stay apart from each other."""
    return docstring.strip().replace("<", "&lt;")


def split_options(docstring: str, names: Iterable[str]) -> tuple[str, dict[str, str]]:
    """A docstring without what it says of options, as "name: meaning.", and the meanings by name."""
    starts = rf"(?:^|(?<=[.;?)] ))({'|'.join(map(re.escape, names))}): "
    words, *pairs = re.split(starts, docstring, flags=re.MULTILINE)
    told = {name: " ".join(text.split()).rstrip(";") for name, text in zip(pairs[::2], pairs[1::2], strict=True)}
    return words, told


def _options(options: Mapping[str, Mapping[str, Any]], meanings: Mapping[str, str] | None = None) -> str:
    if not options:
        return "No options."
    rows = [
        [f"`{name}`", f"`{one['type']}`", f"`{one.get('default', 'must be given')}`", (meanings or {}).get(name, "")]
        for name, one in options.items()
    ]
    return _table(["option", "type", "default", "what it is"], rows)


def _names(options: Mapping[str, Any]) -> str:
    return " ".join(f"`{name}`" for name in options)


def _needs(needs: Iterable[str], name: str) -> str:
    listed = "".join(f"- `{need}`: {NEEDS[need]}\n" for need in needs) or "Nothing in particular.\n"
    return f"{listed}\n`ssvid list models '*' --needs {name}` lists those that offer it."


def _picture(name: str) -> str:
    path = ROOT / "docs" / "pictures" / f"{name}.webp"
    config = f"`configs/pretrain/{name}_world.yaml`"
    words = f"*What it was asked of a batch, and what it answered: from the pictures/ of a run of {config}, after 150 or 200 steps.*"
    return f"![A batch of {name}, with answers](../pictures/{name}.webp)\n\n{words}" if path.is_file() else ""


def _reached(name: str) -> str:
    """The rows of this task in the first results table that has any."""
    header = ["run", "backbone", "steps", "seconds", "chance", "accuracy", "linear probe", "of random weights", "audit"]
    for table in PRETEXT_TABLES:
        known = json.loads((ROOT / "results" / f"{table}.json").read_text())["rows"]
        rows = [_reached_row(row) for row in known if row["name"].split()[0] == name]
        if rows:
            link = f"[results/{table}](../results/{table}.md)"
            words = f"Small networks on the motion world, minutes on a CPU, three seeds; in percent: {link}."
            return f"{words}\n\n{_table(header, rows)}"
    return "No row in a table of results."


def _reached_row(row: Mapping[str, Any]) -> list[str]:
    facts, scores = row["facts"], row["scores"]
    shown = [_spread(scores[column]) for column in ("pretext accuracy", "linear", "random linear")]
    return [row["name"], *(facts[fact] for fact in ("backbone", "steps", "seconds", "chance")), *shown, facts["audit"]]


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """A pipe would end the cell, but for one in code."""
    return text if text.startswith("`") else text.replace("|", "\\|")


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
