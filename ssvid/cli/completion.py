"""What the shell completes after `ssvid --install-completion`: names of tasks, models and protocols, read without torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def tasks(incomplete: str) -> list[tuple[str, str]]:
    """Names of tasks that begin so, each with its summary."""
    return _described("tasks", incomplete)


def protocols(incomplete: str) -> list[tuple[str, str]]:
    """Names of protocols that begin so, each with its summary."""
    return _described("protocols", incomplete)


def models(incomplete: str) -> list[str]:
    """Names that begin so: of backbones, after a "+" with their heads, after an "@" with their weights; and folders, as runs are."""
    from ssvid.zoo import list_models
    from ssvid.zoo.registry import ENCODERS, catalogue

    architecture, at, _ = incomplete.partition("@")
    names: Iterable[str] = list_models(f"{architecture}*")
    if at:
        entry = catalogue(ENCODERS).get(architecture.partition("+")[0])
        names = [f"{architecture}@{tag}" for tag in (entry.fields.get("weights", {}) if entry else ())]
    return [name for name in names if name.startswith(incomplete)] + folders(incomplete)


def folders(incomplete: str) -> list[str]:
    """Folders that begin so, with a slash behind, as a shell gives them."""
    start = Path(incomplete)
    parent, begun = (start, "") if not incomplete or incomplete.endswith("/") else (start.parent, start.name)
    if not parent.is_dir():
        return []
    found = sorted(path for path in parent.iterdir() if path.is_dir() and path.name.startswith(begun))
    return [f"{path}/" for path in found if begun.startswith(".") or not path.name.startswith(".")]


def _described(kind: str, incomplete: str) -> list[tuple[str, str]]:
    from ssvid.cli.catalogue import catalogue

    rows = catalogue(kind)[kind]
    return [
        (row["name"], row.get("summary") or row["description"]) for row in rows if row["name"].startswith(incomplete)
    ]
