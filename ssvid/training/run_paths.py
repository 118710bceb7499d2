"""The paths that a run's settings name, so that they mean the same files from every working directory and after a move.

They are kept absolute, with where the run lay. Where such a file is not there any more and its run lies elsewhere now, it is looked for at
the same place relative to the run: a project that is moved as a whole goes on working.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ssvid.config import PretrainConfig
from ssvid.data.layouts import place_of
from ssvid.video.location import is_address
from ssvid.zoo.names import ModelName

Change = Callable[[str], str]


def absolute(config: PretrainConfig) -> PretrainConfig:
    """The settings with an absolute path for every file and folder they name that is there, and for the run."""
    return replace(_changed(config, _absolute), out=os.path.abspath(config.out))


def located(config: PretrainConfig, started: str, run: Path) -> PretrainConfig:
    """The settings of a run with the paths of what moved along with it; see `locate`."""
    return _changed(config, lambda path: locate(path, started, run))


def locate(path: str, started: str, run: Path) -> str:
    """Where a file is that a run names. started: where the run lay when it was made. Unchanged where it cannot be found."""
    now = run.absolute()
    if os.path.isabs(path):
        if os.path.exists(path) or not os.path.isabs(started):
            return path
        moved = os.path.normpath(now / os.path.relpath(path, started))
        return moved if os.path.exists(moved) else path
    # a run of an older version: both are relative to the working directory it was started in
    parts = Path(os.path.normpath(started)).parts if started and not os.path.isabs(started) else ()
    if parts and ".." not in parts and now.parts[-len(parts) :] == parts:
        beside = Path(*now.parts[: -len(parts)]) / path
        return str(beside) if beside.exists() else path
    return path


def locate_backbone(name: str, started: str, run: Path) -> str:
    """As `locate`, of the name of a backbone that may lie in a user's own file."""
    return _in_name(name, lambda path: locate(path, started, run))


def _absolute(path: str) -> str:
    there = Path(path).expanduser()
    return os.path.abspath(there) if there.exists() else path


def _changed(config: PretrainConfig, change: Change) -> PretrainConfig:
    return replace(
        config,
        task=change(config.task) if config.task.endswith(".py") else config.task,
        backbone=_in_name(config.backbone, change),
        init=change(config.init) if config.init else "",
        data=[_in_source(source, change) for source in config.data],
    )


def _in_name(text: str, change: Change) -> str:
    name = ModelName.parse(text)
    return str(
        ModelName(
            _in_part(name.encoder, change),
            _in_part(name.temporal, change),
            change(name.weights) if name.weights else "",
        )
    )


def _in_part(part: str, change: Change) -> str:
    file, colon, inner = part.rpartition(":")
    return f"{change(file)}:{inner}" if colon and file.endswith(".py") else part


def _in_source(source: str, change: Change) -> str:
    """A source of videos; of LAYOUT@OPTIONS:FOLDER the folder and those options that are paths."""
    if is_address(source):
        return source
    place, options = place_of(source)
    layout = place.partition(":")[0] if not os.path.isabs(place) else ""
    if not layout:
        return change(source)
    folder = source.partition(":")[2]
    words = [word.rpartition("=") for word in options.split(",")] if options else []
    said = ",".join(f"{name}{equals}{change(value)}" for name, equals, value in words)
    return f"{layout}@{said}:{change(folder)}" if said else f"{layout}:{change(folder)}"
