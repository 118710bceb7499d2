"""All that is known of one backbone, for `ssvid show`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ssvid.cli.catalogue import offers, task_facts
from ssvid.cli.weights_page import card_lines
from ssvid.plugins import list_tasks
from ssvid.zoo import BackboneInfo, ModelName, count_macs, count_parameters, create_model, model_info
from ssvid.zoo.cards import card_of
from ssvid.zoo.info import POOLED
from ssvid.zoo.registry import ENCODERS, find
from ssvid.zoo.weights import weights_file


def model_sheet(name: str) -> dict[str, Any]:
    """What `model_info` says, with parameters, multiply-adds of its own clip, weights and tasks, as JSON values.

    card: of the weights that the name has, {} where they have none. weights: {tag: {"address": ..., "file": where it is kept, "at_hand":
    whether it is there}}. tasks: those that can be pretrained on it.
    Raises ConfigError for an unknown name.
    """
    import torch

    architecture = ModelName.parse(name).architecture
    info = model_info(name)
    with torch.device("meta"):
        parameters = count_parameters(create_model(architecture))
    stated = find(ENCODERS, ModelName.parse(name).encoder).fields.get("weights", {})
    files = {tag: weights_file(address) for tag, address in stated.items()}
    return {
        **vars(info),
        "options": dict(info.options),
        "published": [score._asdict() for score in info.published],
        "parameters": parameters,
        "multiply_adds": count_macs(architecture, info.frames, info.size),
        "weights": {
            tag: {"address": stated[tag], "file": str(path), "at_hand": path.is_file()} for tag, path in files.items()
        },
        "card": card_of(ModelName.parse(name)),
        "tasks": [task for task, path in list_tasks().items() if _fits(info, task_facts(path)["needs"])],
    }


def sheet_lines(sheet: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The same in words, (what, text)."""
    yield from ((key, sheet[key]) for key in ("name", "description", "family", "source", "licence"))
    mean, std = (" ".join(f"{value:.3g}" for value in sheet[key]) for key in ("mean", "std"))
    yield "made for", f"{sheet['frames']} frames of {sheet['size']} px, mean {mean}, std {std}"
    yield "takes", f"{_count(sheet['min_frames'], 'frame')} and {sheet['min_size']} px at least"
    time, space = sheet["temporal_stride"], sheet["spatial_stride"]
    steps = "one step" if time == POOLED else f"a step every {_count(time, 'frame')}"
    cells = "one cell" if space == POOLED else f"a cell every {space} px"
    yield "map", f"{sheet['dim']} channels, {steps}, {cells}"
    seen = sheet["temporal_rf"]
    yield "a step sees", "the whole clip" if seen is None else _count(seen, "frame")
    yield "order of frames", {"aware": "matters", "blind": "does not matter"}[sheet["order"]]
    yield "frame by frame", "exactly as a clip" if sheet["streams"] else "over a sliding window"
    yield "parameters", f"{sheet['parameters'] / 1e6:.3f} M"
    yield "multiply-adds", f"{sheet['multiply_adds'] / 1e9:.3f} G"
    yield "options", " ".join(f"{key}={value}" for key, value in sheet["options"].items()) or "none"
    for score in sheet["published"]:
        yield "published", "{value} {metric} on {dataset}, {protocol} ({source})".format(**score)
    for tag, kept in sheet["weights"].items():
        yield f"@{tag}", f"{kept['address']} ({'at' if kept['at_hand'] else 'goes to'} {kept['file']})"
    if "licence" in sheet["card"]:
        yield from card_lines(sheet["card"])
    yield "tasks", " ".join(sheet["tasks"]) or "none: it has no weight to learn"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number > 1)}"


def _fits(info: BackboneInfo, needs: list[str]) -> bool:
    return info.learns and all(offers(info, need) for need in needs)
