"""`ssvid survey` compares pretext tasks on the same data: does each learn, does it use a shortcut, what are its features worth?

Each config is pretrained with several seeds. Its pretext accuracy on held-out videos is compared with that of the untrained network, it is
audited for shortcuts, and its frozen features are probed beside the random weights the run started from. Results are kept in the run
folders and the cache, so a second call computes only what is missing, and an interrupted survey continues.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ssvid.audit.audit import audit
from ssvid.audit.report import write as write_audit
from ssvid.config import RESUMABLE, PretrainConfig, load_config
from ssvid.data.index import Index
from ssvid.data.scanning import open_data
from ssvid.data.splits import held_out, held_out_split, training_part
from ssvid.data.video_record import VideoRecord, fingerprint
from ssvid.engine import executor
from ssvid.environment import environment
from ssvid.errors import ConfigError, DataError, Interrupted, SsvidError
from ssvid.evaluation import adapter
from ssvid.evaluation.adapter import Candidate, EvalContext
from ssvid.evaluation.features import View
from ssvid.evaluation.folds import chance as chance_of
from ssvid.evaluation.splits import Labelled, open_labelled
from ssvid.evaluation.tables.cells import CellFile
from ssvid.evaluation.tables.entries import training_seconds
from ssvid.evaluation.tables.table import Row, Table
from ssvid.evaluation.tables.table import write as write_table
from ssvid.files import read_json, write_json
from ssvid.plugins import task_source
from ssvid.progress import Log
from ssvid.training.build import build_task
from ssvid.training.fit import pretrain
from ssvid.training.run import Run
from ssvid.training.run_paths import absolute
from ssvid.training.task import PretextTask
from ssvid.training.validate import evaluate, validate
from ssvid.training.videos import first_clips, training_videos
from ssvid.zoo import Backbone, ModelName

VIEW = View(clips=2, frames=16, stride=3, size=64, pool="mean_std")


def survey(
    configs: Sequence[str | Path],
    data: str,
    *,
    settings: Sequence[str] = (),
    labelled: str | None = None,
    seeds: int = 3,
    runs: str | Path = "runs",
    engine: str = "local:1",
    command: str = "",
    log: Log | None = None,
) -> tuple[Table, list[dict[str, Any]]]:
    """Pretrain, audit and probe every config with `seeds` seeds; returns the table and the facts of every run in it.

    configs: YAML files. settings: key=value for all configs, as steps=200, or CONFIG.key=value for one, as clip_order_world.stride=1.
    data: videos to pretrain on; held out is what `ssvid.data.splits` says, or all where it has no split. labelled: videos for the linear
    probe, by default the same. runs: folder of the run folders, named CONFIG-sSEED. engine: where the runs are made, see `ssvid.engine`.
    command: the command line, noted in the table. log: called with one line of text for every finished run.
    Raises ConfigError where a run of that name was made with other settings, Interrupted after Ctrl-C. A run that fails is logged, and a
    note of the table gives the reason.
    """
    log = log or (lambda line: None)
    index = open_data([data])
    held_out(index.videos())  # refused now, and not when all has been trained
    labelled_path = str(open_data([labelled]).path if labelled else index.path)
    paths = [Path(path) for path in configs]
    given = {path: settings_of(path, settings, paths) for path in paths}
    planned = [planned_run(path, given[path], index, seed, Path(runs)) for path in paths for seed in range(seeds)]
    facts, gaps = [], []
    try:
        with executor(engine) as pool:
            waiting: dict[Future[dict[str, Any]], str] = {
                pool.submit(run_one, config, labelled_path): config.out for config in planned
            }
            for done in as_completed(waiting):
                log(_outcome(waiting[done], done))
                if done.exception() is None:
                    facts.append(done.result())
                else:
                    gaps.append(f"Left out: {_outcome(waiting[done], done)}.")
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"stopped after {len(facts) + len(gaps)} of {len(planned)} runs; the same command continues"
        ) from error
    facts.sort(key=lambda fact: fact["run"])
    table = tabulate(facts, index, open_labelled(labelled_path))
    table.protocol += f" Made by `{command}`." if command else ""
    table.notes += sorted(gaps)
    table.made_with = {"command": command, **environment()}
    return table, facts


def settings_of(path: Path, settings: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """The settings that apply to one config: those that name no config, and those that name this one."""
    others = {other.stem for other in paths} - {path.stem}
    return [one.removeprefix(f"{path.stem}.") for one in settings if one.partition(".")[0] not in others]


def _outcome(run: str, done: Future[dict[str, Any]]) -> str:
    """One line about a finished run. An error that is not ours is raised."""
    error = done.exception()
    if isinstance(error, SsvidError):
        return f"{run}: {error}"
    if error is not None:
        raise error
    fact = done.result()
    return (
        f"{run}: accuracy {fact['held_out']['accuracy'][0]:.3f} (chance {fact['chance']:.3g}), audit {fact['audit'] or 'passed'}, "
        f"linear {fact['probe']['linear']:.1f} (random {fact['random']['linear']:.1f})"
    )


def planned_run(
    path: Path, settings: Sequence[str], index: Index, seed: int, runs: Path, backbone: str | None = None
) -> PretrainConfig:
    """The config of one run, with the config's own backbone or another, which its folder is then named after.

    Raises ConfigError where that folder holds a run with other settings.
    """
    name = path.stem if backbone is None else f"{path.stem}-{ModelName.parse(backbone).slug}"
    values = {"data": [str(index.path)], "seed": seed, "out": str(runs / f"{name}-s{seed}"), "workers": 0}
    config = load_config(path, list(settings), {**values, "backbone": backbone})
    if (Path(config.out) / "config.yaml").exists():
        existing, wanted = (asdict(found) for found in (Run(config.out).config, absolute(config)))
        other = [name for name in wanted if name not in (*RESUMABLE, "out") and wanted[name] != existing[name]]
        if other:
            raise ConfigError(
                f"{config.out} was made with another {', '.join(other)} than {path} has; remove it or name other --runs"
            )
    return config


def run_one(config: PretrainConfig, labelled: str) -> dict[str, Any]:
    """The facts of one run, from pretraining to probe; what the run folder holds already is not computed again."""
    run = finished_run(config)
    index, labelled_data = open_data(config.data), open_labelled(labelled)
    tested = held_out(index.videos(), config.split)
    measured = held_out_accuracies(run, config, tested)
    report = audit_report(run)
    if "shortcuts" not in report:
        raise DataError(
            f"{run.path}/audit was written by an older version; remove that folder, and the survey audits the run again"
        )
    return {
        "run": run.path.name,
        "config": asdict(config),
        "command": (run.path / "command.txt").read_text().strip(),
        "environment": environment(),
        "seconds": training_seconds(run),
        "held_out": measured["trained"],
        "untrained": measured["untrained"],
        "chance": measured["trained"].get("chance", [build_task(config).chance])[0],
        "audit": ", ".join(report["shortcuts"]),
        "checks": report["checks"],
        "probe": linear_probe(Candidate(config.task, run.load, True), labelled_data),
        "random": linear_probe(Candidate("random init", lambda: initial_backbone(run), False), labelled_data),
    }


def held_out_accuracies(run: Run, config: PretrainConfig, tested: Sequence[VideoRecord]) -> dict[str, Any]:
    """Accuracies before and after training, from the run folder; where the held-out videos are others than those that were asked then,
    they are measured again, and so is the audit."""
    path, asked = run.path / "held_out.json", fingerprint(tested)
    known: dict[str, Any] = read_json(path) if path.exists() else {}
    if known.get("fingerprint") != asked:
        if known:
            shutil.rmtree(run.path / "audit", ignore_errors=True)
        trained = validate(run, tested, 0)
        untrained = evaluate(untrained_task(config), run.masked(tested), 0)
        write_json(path, {"fingerprint": asked, "trained": trained, "untrained": untrained})
        known = read_json(path)
    return known


def finished_run(config: PretrainConfig) -> Run:
    """The finished run of a config: an existing one is opened, an interrupted one continued, a missing one made.

    Raises ConfigError where the user's code of the task has changed since the run was trained.
    """
    path = Path(config.out)
    if (path / "card.json").exists():
        run = Run(path)
        if run.card.get("task_source", "") != task_source(config.task):
            raise ConfigError(
                f"{path} was trained with other code than {config.task} holds now; remove it or name other --runs"
            )
        return run
    return pretrain(config, resume=(path / "checkpoints" / "last.pt").exists(), overwrite=True)


def untrained_task(config: PretrainConfig) -> PretextTask:
    """The task of a run of this config as it is before the first step, in eval mode."""
    task = build_task(config)
    videos, _ = training_videos(task, open_data(config.data), config.split)
    task.prepare(first_clips(task, videos, config))
    return task.eval()


def initial_backbone(run: Run) -> Backbone:
    """The backbone of a run with the weights it started from, and the input of the trained one."""
    backbone = run.load()
    backbone.load_state_dict(build_task(run.config).backbone.state_dict())
    return backbone


def audit_report(run: Run) -> dict[str, Any]:
    """The facts of the run's audit, from its run folder; the audit is made first where there is none."""
    folder = run.path / "audit"
    if not (folder / "audit.json").exists():
        write_audit(audit(run, device="cpu"), folder)
    result: dict[str, Any] = read_json(folder / "audit.json")
    return result


def linear_probe(candidate: Candidate, data: Labelled) -> dict[str, float]:
    """Accuracy of a linear probe on frozen features, in percent."""
    context = EvalContext(data.videos, data.folds, VIEW, workers=0)
    return {score.name: score.value for score in adapter.run("linear", candidate, context)}


def tabulate(facts: Sequence[dict[str, Any]], index: Index, labelled: Labelled) -> Table:
    """One row for each config, with mean and spread over its seeds."""
    guess = chance_of(labelled.videos, labelled.folds)
    table = Table(
        title="Pretext tasks",
        protocol=f"Pretrained on {len(training_part(index.videos()))} videos without labels; pretext accuracy in percent on "
        f"{_held_out_words(index)}, one sample a video, beside chance and beside the untrained net; "
        f"audit: shortcuts found (ssvid audit), all seeds. Probe: frozen backbone, {labelled.split}; {VIEW.clips} clips x "
        f"{VIEW.frames} frames, stride {VIEW.stride}, {VIEW.size} px, mean and standard deviation over time; standardised logistic "
        "regression; random: the weights each run started from. Mean ± standard deviation over seeds. A task falls "
        "short where its accuracy is less than 3 standard errors above chance, a shortcut was found, or the mean gain of the probe is "
        "within its deviation.",
        chance={
            "pretext accuracy": None,
            "linear": guess,
            "random linear": guess,
            "gain": None,
        },
    )
    for name, group in _grouped(facts):
        first = group[0]
        accuracy = [100 * fact["held_out"]["accuracy"][0] for fact in group]
        error = 100 * float(np.mean([fact["held_out"]["accuracy"][1] for fact in group]))
        chance = 100 * float(np.mean([fact["chance"] for fact in group]))
        linear, random = ([fact[key]["linear"] for fact in group] for key in ("probe", "random"))
        row_facts = {
            "backbone": first["config"]["backbone"],
            "steps": str(first["config"]["steps"]),
            "seconds": f"{np.mean([fact['seconds'] for fact in group]):.0f}",
            "seeds": str(len(group)),
            "chance": f"{chance:.1f}",
            "untrained": f"{100 * np.mean([fact['untrained']['accuracy'][0] for fact in group]):.1f}",
            "standard errors above chance": f"{(np.mean(accuracy) - chance) / max(error, 1e-9):.1f}",
            "audit": ", ".join(sorted({name for fact in group for name in fact["audit"].split(", ") if name}))
            or "passed",
        }
        gain = [after - before for after, before in zip(linear, random, strict=True)]
        row_facts["falls short"] = (
            ", ".join(shortfalls((float(np.mean(accuracy)) - chance) / max(error, 1e-9), row_facts["audit"], gain))
            or "no"
        )
        scores = {"pretext accuracy": accuracy, "linear": linear, "random linear": random, "gain": gain}
        table.rows.append(Row(name, row_facts, scores))
    return table


def _held_out_words(index: Index) -> str:
    videos = index.videos()
    count, split = len(held_out(videos)), held_out_split(videos)
    return f"{count} held-out videos ({split})" if split else f"the same {count} videos, since they have no split"


def shortfalls(errors_above_chance: float, audit: str, gain: Sequence[float]) -> list[str]:
    """Criteria a task fails: "accuracy" under 3 standard errors above chance, "audit" where a shortcut was found, "probe" where the mean
    gain is not above the standard deviation of the gains."""
    spread = float(np.std(gain, ddof=1)) if len(gain) > 1 else float("inf")
    misses = {"accuracy": errors_above_chance < 3, "audit": audit != "passed", "probe": np.mean(gain) <= spread}
    return [name for name, missed in misses.items() if missed]


def write(table: Table, facts: Sequence[dict[str, Any]], out: Path) -> None:
    """Write OUT.md, OUT.csv, OUT.tex, OUT.json, and the facts of every run behind the table as a line of OUT.cells.jsonl."""
    write_table(table, out)
    CellFile(out.with_name(f"{out.name}.cells.jsonl")).write((fact["run"], fact) for fact in facts)


def _grouped(facts: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The runs of one config together, in the order of the configs' names, under the name of their task; under that of their config where
    several configs have one task."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for fact in facts:
        groups.setdefault(fact["run"].rpartition("-s")[0], []).append(fact)
    tasks = [Path(group[0]["config"]["task"]).stem for group in groups.values()]
    for task, (name, group) in zip(tasks, groups.items(), strict=True):
        yield task if tasks.count(task) == 1 else name, group
