"""The tables of the page "which backbone for which task", from what is measured and stated in the zoo and by the tasks.

    python -m ssvid.cli.backbone_page docs/backbones.md    # writes the tables anew, after an encoder, head or task has changed

The words of the page are written by hand. One table has the numbers of every encoder that they name, one what each temporal head makes of
a map, and one what every task asks of an encoder; each stands between two comments of the page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from ssvid.cli.catalogue import catalogue, task_facts
from ssvid.cli.model_sheet import model_sheet
from ssvid.files import write_text
from ssvid.plugins import list_tasks
from ssvid.zoo import ModelName, list_models, model_info, option_schema
from ssvid.zoo.info import POOLED
from ssvid.zoo.registry import HEADS
from ssvid.zoo.registry import catalogue as heads

COLUMNS = (
    "encoder", "clip", "parameters", "multiply-adds",
    "a step every", "a cell every", "a step sees", "order", "weights", "tasks that refuse it",
)  # fmt: skip
HEAD_COLUMNS = ("head", "what it is", "steps that come out", "keeps the cells", "order", "streams exactly", "source")
NEEDS = {
    "time": "an order of frames that matters: played backward, the features must differ",
    "any_length": "a step for every frame, by itself or with temporal_stride=False",
    "frames": "frames that can be encoded alone, without a motion stream",
    "cells": "a map of cells, not one vector a frame",
}


def named_encoders(text: str) -> list[str]:
    """Encoders whose names stand between backticks in the words of the page, each once, as they come."""
    known = set(list_models())
    words = re.findall(r"`([^`]+)`", _without_tables(text))
    found = [ModelName.parse(word).encoder for word in words if re.fullmatch(r"[\w@+]+", word)]
    return [name for name in dict.fromkeys(found) if name in known]


def encoder_table(names: Iterable[str]) -> str:
    """Numbers of encoders as a Markdown table: cost of the clip each was made for, its map, what a step sees, who refuses it."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "| --- | --- | ---: | ---: | --- | --- | --- | --- | --- | --- |"]
    for name in names:
        sheet = model_sheet(name)
        refusing = [task for task in list_tasks() if task not in sheet["tasks"]]
        cells = [
            f"`{name}`",
            f"{sheet['frames']} x {sheet['size']} px",
            f"{sheet['parameters'] / 1e6:.2f} M",
            f"{sheet['multiply_adds'] / 1e9:.2f} G",
            _every(sheet["temporal_stride"], "frame"),
            _cells(name, sheet["spatial_stride"]),
            "the whole clip" if sheet["temporal_rf"] is None else _count(sheet["temporal_rf"], "frame"),
            sheet["order"],
            ", ".join(sheet["weights"]) or "none by name",
            "none" if not refusing else "all" if not sheet["tasks"] else ", ".join(refusing),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def head_table() -> str:
    """What every temporal head makes of a map with its default options, as a Markdown table; order and streams are those behind an encoder
    that sees one frame a step."""
    lines = ["| " + " | ".join(HEAD_COLUMNS) + " |", "| --- " * len(HEAD_COLUMNS) + "|"]
    for name, entry in heads(HEADS).items():
        info = model_info(f"resnet18_tiny+{name}")
        cells = [
            f"`{name}`",
            entry.fields["description"],
            _steps(info.temporal_stride),
            _yes(info.spatial_stride != POOLED),
            info.order,
            _yes(info.streams),
            entry.fields["source"],
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def task_table() -> str:
    """What every task asks of an encoder, and how many of the listed ones it takes, as a Markdown table."""
    learners = [row["name"] for row in catalogue("models")["models"] if row["family"] != "?" and _learns(row["name"])]
    lines = ["| task | needs | encoders it takes |", "| --- | --- | ---: |"]
    for task, path in list_tasks().items():
        needs = [NEEDS[need] for need in task_facts(path)["needs"]]
        taken = [row["name"] for row in catalogue("models", needs=task)["models"] if row["name"] in learners]
        lines.append(f"| `{task}` | {'; '.join(needs) or 'nothing'} | {len(taken)} of {len(learners)} |")
    return "\n".join(lines)


def rendered(text: str) -> str:
    """The page with its tables as they are now. A page without their comments comes back as it is."""
    tables = {"encoders": encoder_table(named_encoders(text)), "heads": head_table(), "tasks": task_table()}
    for name, table in tables.items():
        found = re.search(_between(name), text, flags=re.DOTALL)
        if found:
            text = f"{text[: found.start()]}{found[1]}\n{table}\n{found[2]}{text[found.end() :]}"
    return text


def _between(name: str) -> str:
    return rf"(<!-- {name}: [^>]*-->)\n.*?\n?(<!-- end -->)"


def _without_tables(text: str) -> str:
    for name in ("encoders", "heads", "tasks"):
        text = re.sub(_between(name), "", text, flags=re.DOTALL)
    return text


def _learns(name: str) -> bool:
    return model_info(name).learns


def _steps(stride: int) -> str:
    return "one" if stride == POOLED else "all" if stride == 1 else f"one in {stride}"


def _yes(true: bool) -> str:
    return "yes" if true else "no"


def _every(stride: int, thing: str) -> str:
    return "one step" if stride == POOLED else _count(stride, thing)


def _cells(name: str, stride: int) -> str:
    finer = "output_stride" in option_schema(name) and stride > 8
    return "one cell" if stride == POOLED else f"{stride} px" + (", or 8 with output_stride=8" if finer else "")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number > 1)}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    write_text(page, rendered(page.read_text(encoding="utf-8")))
