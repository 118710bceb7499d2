"""Self-supervised video pretraining with temporal pretext tasks.

    import ssvid
    index = ssvid.open_index("videos.sqlite")
    run = ssvid.pretrain("speednet", data="videos.sqlite", backbone="s3dg_tiny", steps=500)
    backbone = ssvid.load(run.path)

Importing this is light: torch and the decoders are imported by what needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from ssvid.data.index import Index
    from ssvid.search.collection import Collection
    from ssvid.training.models import load
    from ssvid.training.run import Run
    from ssvid.video.reader import Video
    from ssvid.zoo import create_model, list_models, model_info

__version__ = "0.1.0"
__all__ = ["Collection", "Video", "create_model", "list_models", "load", "model_info", "open_index", "pretrain"]

_HOMES = {
    "Collection": "ssvid.search.collection",
    "Video": "ssvid.video.reader",
    "create_model": "ssvid.zoo",
    "list_models": "ssvid.zoo",
    "load": "ssvid.training.models",
    "model_info": "ssvid.zoo",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ssvid' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def open_index(path: str | os.PathLike[str]) -> Index:
    """Open an index file made by `ssvid index`. Raises DataError when it is missing or not an index."""
    from ssvid.data.index import Index

    return Index(path)


def pretrain(
    task: str,
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> Run:
    """Pretrain a backbone with one task, as `ssvid pretrain` does, and return its run folder.

    task: name or path of a file. data: an index, or what to scan. settings: fields of `ssvid.config.PretrainConfig` (backbone, steps,
    batch, lr, out, ...); any other keyword is an option of the task (frames, size, ...).
    Raises ConfigError, DataError or SsvidError with what is wrong and what to do.
    """
    import os
    from dataclasses import fields

    from ssvid.config import PretrainConfig, default_out, load_config
    from ssvid.training.fit import pretrain as run_it

    sources = [data] if isinstance(data, (str, os.PathLike)) else list(data)
    known = {field.name for field in fields(PretrainConfig)}
    values = {name: value for name, value in settings.items() if name in known}
    options = {name: value for name, value in settings.items() if name not in known} | values.pop("options", {})
    config = load_config(
        None, (), {"task": task, "data": [os.fspath(source) for source in sources], "options": options, **values}
    )
    config.out = config.out or default_out(config)
    return run_it(config, resume=resume, overwrite=overwrite)
