"""Something-Something v2 (Goyal et al., arXiv 1706.04261) in its official files."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from ssvid.data.layouts.entries import UNUSED, Listing, split_in_name
from ssvid.data.layouts.official import VideoFinder, deviations, find_lists
from ssvid.data.layouts.templates import order_pairs, verb_of
from ssvid.errors import DataError, some

SIZES = {"train": 168_913, "val": 24_777, "test": 27_157}
CLASSES = 174
FILES = r"(something-something-v2-)?(labels|train|validation|test)\.json"


def ssv2(folder: Path, *, groups: str = "", lists: str = "") -> Listing:
    """Something-Something v2, 174 templates, never mirrored; ssv2@verbs:FOLDER or ssv2@GROUPS.json:FOLDER groups them.

    Files: <id>.webm, and labels, train, validation and test .json as published (with or without something-something-v2- before the
    name). The label is the template without the brackets around its placeholders, as labels.json spells it; test videos have none.
    groups: verbs, what is done in place of the template; order_pairs, those templates only that differ from another in a word and its
        opposite, so that nothing but the order of frames tells which of the two it is (ssvid.data.layouts.templates); or a JSON file
        {template: class}. Videos of templates that are left out get the split "unused".
    lists: the folder of the JSON files, where it is not the videos' folder or beside them.
    Mirroring would turn "from left to right" into its opposite, so the listing forbids it (flip=False).
    Raises DataError where the lists or every video are missing, or where files contradict each other.
    """
    remedy = (
        "get labels.json, train.json and validation.json (https://www.qualcomm.com/developer/software/something-something-v-2-dataset) "
        f"and say where they are: ssv2@lists=FOLDER:{folder}"
    )
    files = {path.stem.rpartition("-")[2]: path for path in find_lists(folder, lists, FILES, ["labels"], remedy)}
    for name in ("labels", "train", "validation"):
        if name not in files:
            raise DataError(f"{next(iter(files.values())).parent} has no {name}.json; {remedy}")
    templates = set(_read_json(files.pop("labels"), dict))
    classes = {template: template for template in templates}
    if groups:
        classes = _grouped(groups, templates)
    finder = VideoFinder(folder)
    entries = []
    left_out: Counter[str] = Counter()
    for path in files.values():
        for video in _read_json(path, list):
            template = re.sub(r"[\[\]]", "", video.get("template", ""))
            if template and template not in templates:
                raise DataError(f"{path}: {template!r} is not in labels.json; take both files from the same release")
            unused = bool(template) and template not in classes
            left_out[template] += unused
            split = UNUSED if unused else split_in_name(path)
            entries.append(finder.entry(f"{video['id']}.webm", path, classes.get(template), split))
    notes = (
        deviations(entries, {} if groups else SIZES, len(set(classes.values())) if groups else CLASSES) + finder.notes()
    )
    if left_out.total():
        notes.append(f"{left_out.total():,} videos of templates that are not in {groups} are left out")
    return Listing(
        entries, "Something-Something v2" + (f", {Path(groups).stem}" if groups else ""), False, tuple(notes)
    )


def _grouped(groups: str, templates: set[str]) -> dict[str, str]:
    """The class of each template that is used."""
    if groups == "verbs":
        return {template: verb_of(template) for template in templates}
    if groups == "order_pairs":
        return {template: template for pair in order_pairs(templates) for template in pair}
    return _read_groups(Path(groups), templates)


def _read_groups(path: Path, templates: set[str]) -> dict[str, str]:
    groups = {re.sub(r"[\[\]]", "", template): str(name) for template, name in _read_json(path, dict).items()}
    unknown = sorted(set(groups) - templates)
    if unknown:
        raise DataError(
            f"{path} names templates that labels.json does not have: {some(unknown)}; correct their spelling"
        )
    return groups


def _read_json(path: Path, kind: type) -> Any:
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}); get the file again") from error
    if not isinstance(value, kind):
        raise DataError(f"{path} holds no JSON {'object' if kind is dict else 'list'}; get the file again")
    return value
