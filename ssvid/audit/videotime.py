"""`ssvid videotime` asks every way of putting frames together the same question: does it see time, or does it pool it away?

The question and its name are those of Ghodrati, Gavves and Snoek, Video Time: Properties, Encoders and Evaluation, BMVC 2018:
asymmetry (the arrow of time) and continuity (the future frame). Every backbone is trained on every task with the same steps, batch and
videos, several seeds each, also those that are blind to the order of frames by measurement. They are the control: they have to stay at
chance on the arrow of time, and to answer alike when the clip before a future frame is played backward. Where they do not, something but
time gives the answer away, and the command fails.

Runs are kept in their folders with what was measured, so a second call computes only what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssvid.audit.survey import finished_run, planned_run, settings_of
from ssvid.config import PretrainConfig
from ssvid.data.motions import CLASSES, IRREVERSIBLE
from ssvid.data.scanning import open_data
from ssvid.data.splits import held_out
from ssvid.data.video_record import VideoRecord, fingerprint
from ssvid.engine import executor
from ssvid.environment import environment
from ssvid.errors import DataError, Interrupted, SsvidError
from ssvid.evaluation.tables.cells import CellFile
from ssvid.evaluation.tables.entries import training_seconds
from ssvid.evaluation.tables.table import Row, Table
from ssvid.evaluation.tables.table import write as write_table
from ssvid.files import read_json, write_json
from ssvid.progress import Log
from ssvid.training.run import Run
from ssvid.training.task import PretextTask
from ssvid.training.validate import per_video, trained_task
from ssvid.zoo import ModelName, model_info

IMAGE = "resnet18_tiny"
HEADS = (
    "late_pooling",
    "lstm",
    "gru",
    "convlstm",
    "time_aligned_densenet",
    "tcam",
    "timeception",
    "transformer",
)
BACKBONES = (IMAGE, *(f"{IMAGE}+{head}" for head in HEADS[:4]), "c3d_tiny", *(f"{IMAGE}+{head}" for head in HEADS[4:]))
TOLERANCE = 3.0  # standard errors that a control may lie off
MEASURED = "videotime.json"

Fact = dict[str, Any]


def videotime(
    configs: Sequence[str | Path],
    data: str,
    *,
    backbones: Sequence[str] = BACKBONES,
    settings: Sequence[str] = (),
    seeds: int = 3,
    runs: str | Path = "runs",
    engine: str = "local:1",
    command: str = "",
    log: Log | None = None,
) -> tuple[Table, list[Fact]]:
    """Train every backbone on the task of every config with `seeds` seeds; returns the table and the facts of every run in it.

    configs, settings, seeds, runs, engine, command, log: as `survey` takes them. data: the motion world, whose classes say which motions
    look otherwise backward. backbones: rows of the table.
    Raises ConfigError where a run of that name was made with other settings, DataError for other videos, Interrupted after Ctrl-C, and what
    a run raises. Whether the controls hold is for `failed_controls` to say.
    """
    log = log or (lambda line: None)
    index = open_data([data])
    tested = held_out(index.videos())
    check_world(tested)
    paths = [Path(path) for path in configs]
    planned = [
        planned_run(path, settings_of(path, settings, paths), index, seed, Path(runs), backbone)
        for path in paths
        for backbone in backbones
        for seed in range(seeds)
    ]
    facts: list[Fact] = []
    try:
        with executor(engine) as pool:
            waiting: list[Future[Fact]] = [pool.submit(run_one, config) for config in planned]
            for done in as_completed(waiting):
                facts.append(done.result())
                log(outcome(facts[-1]))
    except KeyboardInterrupt as error:
        raise Interrupted(f"stopped after {len(facts)} of {len(planned)} runs; the same command continues") from error
    order = [Path(config.out).name for config in planned]
    facts.sort(key=lambda fact: order.index(fact["run"]))
    table = tabulate(facts, tested)
    table.protocol += f" Made by `{command}`." if command else ""
    table.made_with = {"command": command, **environment()}
    return table, facts


def check_world(videos: Sequence[VideoRecord]) -> None:
    """Raise DataError unless all videos are of the motion world, of motions that can be told backward and of others."""
    labels = {str(video.label) for video in videos}
    if labels - set(CLASSES) or not labels & IRREVERSIBLE or not labels - IRREVERSIBLE:
        raise DataError(
            "videotime compares motions that look otherwise backward with those that do not, which are known of the motion world only "
            "(ssvid make-world); these videos are not of its classes, or of one kind alone"
        )


def run_one(config: PretrainConfig) -> Fact:
    """The facts of one run; what its folder holds already is not computed again."""
    run = finished_run(config)
    tested = held_out(open_data(config.data).videos(), config.split)
    path, asked = run.path / MEASURED, fingerprint(tested)
    known: dict[str, Any] = read_json(path) if path.exists() else {}
    if known.get("fingerprint") != asked:
        known = {"fingerprint": asked, **measure(run, tested)}
        write_json(path, known)
    return {
        "run": run.path.name,
        "config": asdict(config),
        "order": model_info(config.backbone, **config.backbone_options).order,
        "environment": environment(),
        "seconds": training_seconds(run),
        **known,
    }


def measure(run: Run, tested: Sequence[VideoRecord]) -> dict[str, Any]:
    """What a run answers on held-out videos, one sample each: accuracy of every class in the order of the videos, chance, and accuracy
    with the first clip of each sample played backward."""
    task = trained_task(run)
    videos, values = per_video(task, run.masked(tested))
    _, backward = per_video(PlayedBackward(task).eval(), run.masked(tested))
    return {
        "chance": float(np.mean(values["chance"])) if "chance" in values else task.chance,
        "parameters": sum(weight.numel() for weight in task.backbone.parameters()),
        "labels": [str(video.label) for video in videos],
        "accuracy": values["accuracy"].tolist(),
        "played_backward": backward["accuracy"].tolist(),
    }


class PlayedBackward(PretextTask):
    """A task that is shown the first clip of every sample backward, with the answers that are right forward."""

    def __init__(self, task: PretextTask) -> None:
        super().__init__(task.backbone, task.augment, task.train_window, task.test_window)
        self.task = task

    def sample(self, video: VideoRecord, rng: np.random.Generator, training: bool = True) -> Any:
        """As the task."""
        return self.task.sample(video, rng, training)

    def forward(self, clips: Tensor, target: Tensor) -> dict[str, Tensor]:
        """As the task, of the first clip backward: (B,V,C,T,H,W)."""
        result: dict[str, Tensor] = self.task(torch.cat([clips[:, :1].flip(3), clips[:, 1:]], 1), target)
        return result


def outcome(fact: Fact) -> str:
    """One line about a finished run."""
    return (
        f"{fact['run']}: accuracy {np.mean(fact['accuracy']):.3f} (chance {fact['chance']:.3g}), order {fact['order']}"
    )


def failed_controls(facts: Sequence[Fact]) -> list[str]:
    """What the order-blind backbones did that they cannot do, a sentence each; empty where the controls hold.

    Means over seeds and videos may lie `TOLERANCE` standard errors off. On a question with two answers, a clip and its reverse, a blind
    network is at chance. On every question it answers alike where the clip is played backward.
    """
    failed = []
    for (task, backbone), group in grouped(facts).items():
        if group[0]["order"] != "blind":
            continue
        right, backward = (np.array([fact[name] for fact in group]).mean(0) for name in ("accuracy", "played_backward"))
        off = float(right.mean() - group[0]["chance"])
        if Path(group[0]["config"]["task"]).stem == "arrow_of_time" and abs(off) > TOLERANCE * _error(right):
            failed.append(f"{backbone}, which is blind to order, is {100 * off:+.1f} points off chance on {task}")
        change = right - backward
        if abs(change.mean()) > TOLERANCE * _error(change):
            failed.append(
                f"{backbone}, which is blind to order, loses {100 * change.mean():.1f} points on {task} when clips are played backward"
            )
    return failed


def _error(values: np.ndarray) -> float:
    """Standard error of a mean over videos (N,); half a video at least, for logits that rounding puts on either side of zero."""
    return max(float(values.std()), 0.5 / math.sqrt(len(values))) / math.sqrt(len(values))


def grouped(facts: Sequence[Fact]) -> dict[tuple[str, str], list[Fact]]:
    """The runs of each config and backbone together, in their order: (the config's name, the backbone's) -> facts of its seeds."""
    groups: dict[tuple[str, str], list[Fact]] = {}
    for fact in facts:
        backbone = fact["config"]["backbone"]
        name = fact["run"].rpartition("-s")[0].removesuffix(f"-{ModelName.parse(backbone).slug}")
        groups.setdefault((name, backbone), []).append(fact)
    return groups


def scores(fact: Fact) -> dict[str, float]:
    """The scores of one run in percent: of all videos, of either kind of motion, their gap, and with clips played backward."""
    right, irreversible = np.array(fact["accuracy"]), np.isin(fact["labels"], sorted(IRREVERSIBLE))
    one_way, either_way = 100 * float(right[irreversible].mean()), 100 * float(right[~irreversible].mean())
    return {
        "": 100 * float(right.mean()),
        " irreversible": one_way,
        " reversible": either_way,
        " gap": one_way - either_way,
        " played backward": 100 * float(np.mean(fact["played_backward"])),
    }


def tabulate(facts: Sequence[Fact], tested: Sequence[VideoRecord]) -> Table:
    """One row for each backbone, with mean and spread over its seeds."""
    groups = grouped(facts)
    tasks = list(dict.fromkeys(task for task, _ in groups))
    first = {task: next(group[0] for (name, _), group in groups.items() if name == task) for task in tasks}
    settings = "; ".join(_settings(task, first[task]["config"]) for task in tasks)
    kinds = "; ".join(
        f"{kind}: {', '.join(_classes(tested, kind == 'irreversible'))}" for kind in ("irreversible", "reversible")
    )
    table = Table(
        title="Video time: does it see the order of frames?",
        protocol=f"Accuracy in percent on {len(tested)} held-out videos of the motion world, one sample each, mean ± standard deviation "
        f"over seeds. {settings}. {kinds}; gap: between the two, in points. Played backward: the clip reversed, the answer that was right "
        "kept. Order: as it was measured before any training, blind or aware; the blind ones are controls.",
        chance={
            task + name: None if name == " gap" else 100 * first[task]["chance"]
            for task in tasks
            for name in scores(first[task])
        },
    )
    for backbone in dict.fromkeys(backbone for _, backbone in groups):
        rows = {task: groups[task, backbone] for task in tasks if (task, backbone) in groups}
        some = next(iter(rows.values()))
        about = {
            "order": some[0]["order"],
            "parameters": f"{some[0]['parameters'] / 1e6:.2f} M",
            "seconds": f"{np.mean([fact['seconds'] for group in rows.values() for fact in group]):.0f}",
            "seeds": str(len(some)),
        }
        row = Row(backbone, about)
        for task, group in rows.items():
            for name in scores(group[0]):
                row.scores[task + name] = [scores(fact)[name] for fact in group]
        table.rows.append(row)
    if any(fact["order"] == "blind" for fact in facts):
        table.notes += failed_controls(facts) or ["The controls hold: " + CONTROLS]
    return table


CONTROLS = (
    "every order-blind backbone is at chance on the arrow of time and answers alike when clips are played backward. On the future frame a "
    "blind one may be above chance: how far things have come tells how far they go, though not which way."
)


def _classes(videos: Sequence[VideoRecord], irreversible: bool) -> list[str]:
    return sorted({str(video.label) for video in videos if (video.label in IRREVERSIBLE) == irreversible})


def _settings(name: str, config: dict[str, Any]) -> str:
    options = ", ".join(f"{key} {value}" for key, value in config["options"].items())
    return f"{name}: {config['steps']} steps of {config['batch']} videos, learning rate {config['lr']:g}, {options}"


def write(table: Table, facts: Sequence[Fact], runs: Path, out: Path) -> None:
    """Write OUT.md, OUT.csv, OUT.tex, OUT.json, OUT.png, and the facts of every run behind the table as a line of OUT.cells.jsonl."""
    from ssvid.audit.videotime_figure import videotime_figure

    write_table(table, out)
    CellFile(out.with_name(f"{out.name}.cells.jsonl")).write((fact["run"], fact) for fact in facts)
    videotime_figure(table, facts, runs).savefig(out.with_name(f"{out.name}.png"), dpi=110)


def require_controls(facts: Sequence[Fact]) -> None:
    """Raise SsvidError, with what they did, where controls fail."""
    failed = failed_controls(facts)
    if failed:
        raise SsvidError(
            f"{'; '.join(failed)}: something but time gives the answer away; look for it with ssvid audit RUN"
        )
