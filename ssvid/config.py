"""Settings of a run: dataclass defaults <- YAML file <- key=value, checked against types, with errors that help.

Options of a task or a backbone are checked against the signature of its constructor, so a plugin needs no schema of its own.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import operator
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssvid.errors import ConfigError, DataError, require

OPTIMIZERS = ("adamw", "sgd", "lars")
STRATEGIES = ("ddp", "fsdp")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")


@dataclasses.dataclass
class PretrainConfig:
    """Everything that decides a pretraining run.

    task, backbone: names (ssvid list) or path/to/file.py[:name]. data: an index, or folders, lists and videos to scan.
    out: run folder. steps: optimiser steps. batch: videos a step over all devices together. lr: peak learning rate.
    accumulate: shares in which every device takes its part of the batch, one after the other, where all of it is too much for its memory.
        The gradient is that of the whole batch; batch norm sees a share at a time.
    warmup: share of the steps with rising rate. clip_grad: largest gradient norm, 0 for none.
    ema: decay of a moving average of the weights, as 0.999, which is exported in place of the last ones; 0 for none.
    strategy: of several processes, one of STRATEGIES: ddp, each with all weights, or fsdp, which shares weights, gradients and optimiser
        state out over them, for a backbone that one device has no room for.
    optimizer: one of OPTIMIZERS. precision: as Fabric names it, one of PRECISIONS. workers: decoding processes a device, -1 chooses.
    split: which rows of the index to train on; "auto" takes train and the videos without a split, never held-out ones.
    overlays: keep, or mask: what all videos have burned in alike (clocks, progress bars, marks; ssvid.data.overlays) is looked for before
        the first step, which decodes 16 frames of 32 videos, and masked from then on, in tests of the run too.
    order_blind: refuse a backbone that cannot see the order of frames where the task asks about it, or allow it: as a control, which has to
        stay at chance.
    options: of the task. backbone_options: of the backbone. init: weights to start the backbone from: a name, a run folder or a file.
    requeue: on SLURM, when a signal stops the run, which saves: auto puts the job back in the queue after SIGUSR1, which only
        #SBATCH --signal sends, and not after SIGTERM, which scancel sends too; always does after both, never after none.
    log: extra loggers, of tensorboard and wandb.
    """

    task: str = "speednet"
    backbone: str = "s3dg_tiny"
    data: list[str] = dataclasses.field(default_factory=list)
    out: str = ""
    steps: int = 1000
    batch: int = 16
    accumulate: int = 1
    lr: float = 1e-3
    weight_decay: float = 1e-4
    optimizer: str = "adamw"
    warmup: float = 0.05
    clip_grad: float = 1.0
    ema: float = 0.0
    seed: int = 0
    split: str = "auto"
    overlays: str = "keep"
    order_blind: str = "refuse"
    workers: int = -1
    devices: int = 1
    nodes: int = 1
    strategy: str = "ddp"
    accelerator: str = "auto"
    precision: str = "32-true"
    compile: bool = False
    channels_last: bool = False
    log_every: int = 20
    save_every: int = 200
    requeue: str = "auto"
    init: str = ""
    log: list[str] = dataclasses.field(default_factory=list)
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    backbone_options: dict[str, Any] = dataclasses.field(default_factory=dict)


def load_config(
    path: str | Path | None = None, overrides: Sequence[str] = (), values: Mapping[str, Any] | None = None
) -> PretrainConfig:
    """Read a YAML file, then `values` (None means not given), then `key=value` words; later ones win.

    A key that is no field of PretrainConfig is taken as an option of the task; `backbone.key=value` is one of the backbone.
    Raises ConfigError for an unreadable file, an unknown key or a value of the wrong type.
    """
    fields = {field.name for field in dataclasses.fields(PretrainConfig)}
    config = OmegaConf.structured(PretrainConfig)
    try:
        if path is not None:
            config = OmegaConf.merge(config, _read_yaml(Path(path), fields))
        given = {key: value for key, value in (values or {}).items() if value is not None}
        config = OmegaConf.merge(config, OmegaConf.create(given))
        for word in overrides:
            key, separator, value = word.partition("=")
            if not separator:
                raise ConfigError(f"expected key=value, got {word!r}; for example steps=500")
            for part, short in (("options.", ""), ("backbone_options.", "backbone.")):
                if key.startswith(part):  # as a configuration file has it
                    raise ConfigError(
                        f"{key} is written {key.replace(part, short, 1)} here: {word.replace(part, short, 1)}"
                    )
            place = key if key in fields else key.replace("backbone.", "backbone_options.", 1)
            if place == key and key not in fields:
                place = f"options.{key}"
            config = OmegaConf.merge(config, OmegaConf.from_dotlist([f"{place}={value}"]))
        result = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{getattr(error, 'full_key', None) or 'configuration'}: {_first_line(error)}") from error
    assert isinstance(result, PretrainConfig)  # what a structured config is turned back into
    return _checked(result)


RESUMABLE = (
    "workers",
    "devices",
    "nodes",
    "strategy",
    "accelerator",
    "log_every",
    "save_every",
    "requeue",
)  # what does not change the result


def resume_config(
    run: str | Path, overrides: Sequence[str] = (), devices: int | None = None, data: Sequence[str] | None = None
) -> PretrainConfig:
    """The settings of a run that is resumed; only those that cannot change its result may be overridden.

    data: where its videos are now, None for where they were.
    Raises ConfigError for others, DataError when there is no run.
    """
    path = Path(run) / "config.yaml"
    if not path.is_file():
        raise DataError(f"{run} is not a run folder (no config.yaml in it); start one with: ssvid pretrain")
    for word in overrides:
        if word.partition("=")[0] not in RESUMABLE:
            raise ConfigError(f"{word}: a resumed run keeps its settings; only {', '.join(RESUMABLE)} may be given")
    return load_config(path, overrides, {"devices": devices, "out": str(run), "data": data})


def default_out(config: PretrainConfig) -> str:
    """The run folder when none is named: runs/TASK-BACKBONE-sSEED, of paths the last part only."""
    from ssvid.zoo.names import ModelName  # here, since rooms above import this module

    name = ModelName.parse(config.backbone)
    encoder, temporal = (part.rpartition(":")[2] if ".py:" in part else part for part in (name.encoder, name.temporal))
    short = ModelName(encoder, temporal, Path(name.weights).stem)
    return f"runs/{Path(config.task).stem}-{short.slug}-s{config.seed}"


def to_yaml(config: PretrainConfig) -> str:
    """The settings as YAML, every field stated."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def option_schema(constructor: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Keyword-only parameters of a task's or backbone's constructor: the options a user may set."""
    parameters = inspect.signature(constructor).parameters
    return {name: p for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}


def check_options(constructor: Callable[..., Any], options: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The options as the constructor's annotations want them.

    Raises ConfigError naming the closest option for an unknown one and the type for a wrong value.
    """
    function = constructor.__init__ if isinstance(constructor, type) else constructor  # type: ignore[misc]
    hints = typing.get_type_hints(function)
    return check_values({name: hints.get(name, Any) for name in option_schema(constructor)}, options, owner)


def check_values(hints: Mapping[str, Any], options: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The options as `hints`, option -> type, wants them. Raises as `check_options`."""
    for name in options:
        if name not in hints:
            close = difflib.get_close_matches(name, [*hints, *PretrainConfig.__dataclass_fields__], 1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise ConfigError(f"{owner} has no option {name!r}.{hint} Its options: {', '.join(hints) or 'none'}.")
    return {name: _convert(value, hints[name], f"{owner}.{name}") for name, value in options.items()}


def _convert(value: Any, hint: Any, where: str) -> Any:
    """One value as its annotation wants it, by OmegaConf's rules; tuples come back as tuples, one value may stand for
    several, values of a Literal are kept as they stand."""
    if typing.get_origin(hint) is typing.Literal:
        allowed = typing.get_args(hint)
        for one in allowed:
            if type(value) in (type(one), str) and str(value) == str(one):
                return one
        raise ConfigError(f"{where}: {value!r} is not one of {', '.join(map(str, allowed))}")
    either = [kind for kind in typing.get_args(hint) if typing.get_origin(kind) is tuple]
    if either and typing.get_origin(hint) is types.UnionType:  # OmegaConf knows no union with a tuple
        several = isinstance(value, list | tuple) or (isinstance(value, str) and "," in value)
        others = functools.reduce(operator.or_, (kind for kind in typing.get_args(hint) if kind not in either))
        return _convert(value, either[0] if several else others, where)
    if typing.get_origin(hint) is tuple and isinstance(value, str) and "," in value:
        value = [
            part.strip() for part in value.strip("([ ])").split(",") if part.strip()
        ]  # 32,48 or (32, 48), as lists show it
    open_ended = typing.get_origin(hint) is tuple and Ellipsis in typing.get_args(hint)
    if open_ended and not isinstance(value, list | tuple):
        value = [value]
    maker = dataclasses.make_dataclass("Option", [("value", hint)])
    try:
        result = OmegaConf.to_object(OmegaConf.structured(maker(value=value)))
    except (OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{where}: {value!r} is not {_name(hint)}") from error
    value = result.value  # type: ignore[union-attr]
    if typing.get_origin(hint) is not tuple:
        return value
    if open_ended:
        if not value:
            raise ConfigError(f"{where}: at least one value is needed")
    elif len(value) != len(typing.get_args(hint)):
        raise ConfigError(f"{where}: {list(value)} must have {len(typing.get_args(hint))} values")
    return tuple(value)


def _read_yaml(path: Path, fields: set[str]) -> Any:
    if not path.is_file():
        raise DataError(f"{path} does not exist; the shipped settings are in configs/")
    try:
        loaded = OmegaConf.load(path)
    except Exception as error:  # YAML's parser has its own family of errors
        raise ConfigError(f"{path}: not valid YAML: {_first_line(error)}") from error
    unknown = [key for key in loaded if key not in fields]
    if unknown:
        close = difflib.get_close_matches(str(unknown[0]), fields, 1)
        hint = f"; did you mean {close[0]}?" if close else "; options of the task stand below `options:`"
        raise ConfigError(f"{path}: unknown setting {unknown[0]!r}{hint}")
    return loaded


def _checked(config: PretrainConfig) -> PretrainConfig:
    for name in ("steps", "batch", "accumulate", "devices", "nodes", "log_every", "save_every"):
        require(1, **{name: getattr(config, name)})
    require(0, above=True, lr=config.lr)
    require(0, weight_decay=config.weight_decay, clip_grad=config.clip_grad, seed=config.seed)
    require(-1, workers=config.workers)
    for name, known in {"optimizer": OPTIMIZERS, "precision": PRECISIONS, "strategy": STRATEGIES}.items():
        if getattr(config, name) not in known:
            raise ConfigError(f"{name} {getattr(config, name)!r} is not one of {', '.join(known)}")
    shares = config.devices * config.nodes * config.accumulate
    if config.batch % shares:
        raise ConfigError(
            f"batch {config.batch} is the number of videos over all devices{and_shares(config)}; make it a multiple of {shares}"
        )
    words = {"overlays": ("keep", "mask"), "order_blind": ("refuse", "allow"), "requeue": ("auto", "always", "never")}
    for name, known in words.items():
        if getattr(config, name) not in known:
            raise ConfigError(f"{name}={getattr(config, name)!r} is not one of {', '.join(known)}")
    if config.strategy == "fsdp" and config.channels_last:
        raise ConfigError(
            "strategy=fsdp shares weights out row by row; use channels_last=false with it, or strategy=ddp"
        )
    if not 0 <= config.ema < 1:
        raise ConfigError(f"ema is the decay of an average, 0 (none) or up to below 1 (as 0.999), not {config.ema:g}")
    if not 0 <= config.warmup < 1:
        raise ConfigError(f"warmup is a share of the steps, 0 to 1, not {config.warmup}")
    return config


def and_shares(config: PretrainConfig) -> str:
    """What else the batch is counted over, in words; nothing where each device takes its part at once."""
    return f" and their shares (accumulate={config.accumulate})" if config.accumulate > 1 else ""


def _name(hint: Any) -> str:
    # in Python 3.10 tuple[int, int] is a type too, of the name tuple
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
