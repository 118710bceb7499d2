"""Self-supervised video pretraining with temporal pretext tasks.

    import ssvid
    index = ssvid.open_index("videos.sqlite")
    run = ssvid.pretrain("speednet", data="videos.sqlite", backbone="s3dg_tiny", steps=500)
    backbone = ssvid.load(run.path)
    ssvid.audit(run)
    ssvid.transfer([run.path], ["ut_interaction:FOLDER"], out="table")
    ssvid.build_collection("collection", ["videos.sqlite"], run.path, unit="clip")
    ssvid.retrieve("CLIP.mp4", "collection", at=(12, 15))
    ssvid.speedup("IN.mp4", "OUT.mp4", speed=2)
    for answer in ssvid.stream("IN.mp4", run.path, "head.safetensors"):
        print(answer.time, answer.mean_label)
    ssvid.track("IN.mp4", "OUT", model=run.path, box=(40, 30, 120, 90))

Importing this is light: torch and the decoders are imported by what needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from ssvid.data.index import Index
    from ssvid.evaluation.tables.transfer import Transfer
    from ssvid.progress import Log, Progress
    from ssvid.search.collection import Collection, Hit
    from ssvid.search.encode import Unit
    from ssvid.streaming.classify import stream
    from ssvid.tracking.pipeline import track, track_video
    from ssvid.training.models import load
    from ssvid.training.run import Run
    from ssvid.video.reader import Video
    from ssvid.zoo import create_model, list_models, model_info

__version__ = "0.2.0"
__all__ = [
    "Collection",
    "Video",
    "audit",
    "build_collection",
    "create_model",
    "list_models",
    "load",
    "model_info",
    "open_index",
    "pretrain",
    "retrieve",
    "speedup",
    "stream",
    "track",
    "track_video",
    "transfer",
]

_ROOMS = ("audit", "speedup")  # packages that are calls too, see ssvid.callable_room

_HOMES = {
    "Collection": "ssvid.search.collection",
    "Video": "ssvid.video.reader",
    "create_model": "ssvid.zoo",
    "list_models": "ssvid.zoo",
    "load": "ssvid.training.models",
    "model_info": "ssvid.zoo",
    "stream": "ssvid.streaming.classify",
    "track": "ssvid.tracking.pipeline",
    "track_video": "ssvid.tracking.pipeline",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for on first use."""
    import importlib

    if name in _ROOMS:
        return importlib.import_module(f"ssvid.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'ssvid' has no attribute {name!r}")

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


def transfer(
    models: Sequence[str | os.PathLike[str]],
    data: Sequence[str | os.PathLike[str]],
    *,
    progress: Progress | None = None,
    log: Log | None = None,
    **settings: Any,
) -> Transfer:
    """The transfer accuracy table, as `ssvid transfer` makes it; written where `out` is given.

    models: run folders, names of backbones, or NAME@WEIGHTS. data: labelled data sets. settings: the other fields of
    `ssvid.evaluation.tables.request.TableRequest` (protocols, options, view, seeds, out, engine, device, ...).
    Raises ConfigError, DataError or SsvidError with what is wrong and what to do.
    """
    import os

    from ssvid.evaluation.tables.request import TableRequest
    from ssvid.evaluation.tables.transfer import transfer as make_table

    settings = {"command": "ssvid.transfer"} | settings
    request = TableRequest([os.fspath(model) for model in models], [os.fspath(source) for source in data], **settings)
    made = make_table(request, progress, log)
    if request.out is not None:
        made.write(request.out)
    return made


def build_collection(
    folder: str | os.PathLike[str],
    data: Sequence[str | os.PathLike[str]],
    model: str | os.PathLike[str] | None = None,
    *,
    unit: Unit = "video",
    kind: str = "auto",
    space: str = "centre",
    device: str = "auto",
    workers: int = 0,
    progress: Progress | None = None,
) -> Collection:
    """Make a collection of videos to search, or bring one up to date, as `ssvid retrieve index` does.

    model: a run folder, a name or NAME@WEIGHTS; None for the motion network that comes with the package. unit: what gets a vector:
    video, concat, clip or frame. kind, space: see `ssvid.search.building.build`.
    Raises ConfigError or DataError with what is wrong and what to do.
    """
    import os

    from ssvid.search.building import build
    from ssvid.search.encode import open_encoder
    from ssvid.zoo.cards import MOTION

    encoder = open_encoder(os.fspath(model or MOTION), unit, device=device, workers=workers)
    return build(folder, data, encoder, kind=kind, space=space, progress=progress)


def retrieve(
    query: str | os.PathLike[str],
    collection: str | os.PathLike[str],
    *,
    at: tuple[float, float] | None = None,
    k: int = 10,
    exclude_self: bool = False,
    group: bool = False,
) -> list[Hit]:
    """The `k` units of a collection that look most like a video, best first, as `ssvid retrieve query` finds them.

    query: a video, which need not be in the collection. at: seconds of it from and to. exclude_self: leave out the query's own file;
    group: leave out its whole group. Raises DataError for a folder that is no collection and for a span outside the video.
    """
    from ssvid.search.collection import Collection

    return Collection(collection).query(query, at, k, exclude_self=exclude_self, group=group)
