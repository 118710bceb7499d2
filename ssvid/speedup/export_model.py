"""Export the model that comes with the package from a run: weights, and a card with its scores on held-out videos.

    python -m ssvid.speedup.export_model RUN TRAINED.sqlite NAME=HELD_OUT.sqlite [NAME=...] [--out FOLDER]

TRAINED.sqlite is what the run was trained on: the threshold of the mean-motion baseline comes from there, as the model does. The
calibration comes from the held-out videos; what the card says of it is found on those that it was not fitted on.
How the shipped run was made stands in configs/pretrain/speednet_shipped.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ssvid.data.index import Index
from ssvid.errors import ConfigError
from ssvid.files import read_json
from ssvid.speedup.calibration import cross_checked
from ssvid.speedup.models import SHIPPED, load_model, save_model
from ssvid.speedup.scores import WindowScores, joined_halves, score_halves, score_windows
from ssvid.training.run import Run
from ssvid.training.validate import trained_task


def export_model(run: Run, trained: Path, held_out: dict[str, Path], out: Path) -> dict[str, dict[str, float]]:
    """Write the model of a run with its card to `out`; returns its scores on every held-out index.

    Raises ConfigError for a run that was not audited.
    """
    report = run.path / "audit" / "audit.json"
    if not report.exists():
        raise ConfigError(f"{run.path} was not audited; audit it first: ssvid audit {run.path}")
    audit = read_json(report)
    model = load_model(run.path, "cpu")
    threshold = score_windows(model, Index(trained).videos("train")).best_threshold()
    halves = {name: score_halves(model, Index(path).videos()) for name, path in held_out.items()}
    found = {name: WindowScores.concat(pair) for name, pair in halves.items()}
    found["all"] = WindowScores.concat(list(found.values()))
    scores = {name: windows.scores(threshold) for name, windows in found.items()}
    facts = {
        "steps": run.config.steps,
        "batch": run.config.batch,
        "seed": run.config.seed,
        "data": run.card["data"],
        "recipe": "configs/pretrain/speednet_shipped.yaml",
        "question": "normal or twice the speed; percent right of single windows and of pairs, chance 50, mean motion beside it",
        "scores": scores,
        "calibration": cross_checked(joined_halves(halves.values())),
        "audit": {
            "shortcuts": audit["shortcuts"],
            "accuracy": audit["held_out"],
            "controls": {check["name"]: check["verdict"] for check in audit["checks"]},
        },
    }
    save_model(trained_task(run), run.config, out, facts)
    return scores


def named_indexes(words: Sequence[str]) -> dict[str, Path]:
    """Indexes by name, from words NAME=INDEX. Raises ConfigError for other words, and for a name that stands twice."""
    named = dict(word.split("=", 1) for word in words if "=" in word)
    if len(named) != len(words):
        raise ConfigError("held-out videos are given as NAME=INDEX, each under its own name")
    return {name: Path(path) for name, path in named.items()}


def _main(
    run: Annotated[Path, typer.Argument(help="Run folder of speednet.")],
    trained: Annotated[Path, typer.Argument(help="Index it was trained on.")],
    held_out: Annotated[list[str], typer.Argument(help="NAME=INDEX of held-out videos.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")] = SHIPPED,
) -> None:
    """Make the model that comes with the package out of a run."""
    found = export_model(Run(run), trained, named_indexes(held_out), out)
    for name, scores in found.items():
        typer.echo(f"{name}: " + ", ".join(f"{what} {value:g}" for what, value in scores.items()))


if __name__ == "__main__":
    typer.run(_main)
