"""Put the backbone of a run among the weights that come with the package, with its card.

    python -m ssvid.evaluation.export_weights RUN TAG --licence TEXT --data TEXT --view frames=16 --table results/real.json=pace

It is then found as BACKBONE@TAG, once its family in `ssvid/zoo/encoders/` states it under "weights". The card says what the run's does, on
which videos, for how long and on what it was trained, whether its task passed the audit where the run was audited, and what tables found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer

import ssvid
from ssvid.errors import ConfigError
from ssvid.evaluation.features import View
from ssvid.evaluation.tables.entries import NAMES, hardware, training_seconds
from ssvid.evaluation.tables.table import Kind
from ssvid.files import read_json, write_json
from ssvid.training.run import Run, card_view, save_weights
from ssvid.zoo.weights import EXPORTED, read_tensors

SHIPPED = Path(ssvid.__file__).parent / "zoo" / "pretrained"


def export_weights(
    run: Run, folder: Path, view: Mapping[str, Any], facts: Mapping[str, Any], tables: Sequence[str]
) -> Path:
    """Write weights and card of a run to `folder`, and return that.

    view: fields of `View` in which it should be shown videos otherwise than the run's card says. facts: further ones for the card.
    tables: TABLE.json=ROW, what a table found of the row that the run is in. Raises ConfigError for a row that is not there.
    """
    card = {name: value for name, value in run.card.items() if name not in ("diagnosis", "ssvid")}
    shown = replace(View(**card_view(card)), **view)
    card |= {
        "options": run.config.options,
        "view": {name: getattr(shown, name) for name in ("frames", "stride", "size", "fps", "pool")},
        "seconds": [training_seconds(run)],
        "hardware": [hardware(read_json(run.path / "env.json"))],
        "scores": {Path(path).stem: table_scores(Path(path), row) for path, row in map(_split, tables)},
        "audit": _audit(run),
        **facts,
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(folder / EXPORTED, read_tensors(run.path / EXPORTED))
    write_json(folder / "card.json", card)
    return folder


def table_scores(path: Path, row: str) -> dict[str, dict[str, float]]:
    """Means of a row in a table, and of random weights of the same backbone: {column: {"pretrained": ..., "random init": ...}}."""
    rows = read_json(path)["rows"]
    found = next((entry for entry in rows if entry["name"] == row), None)
    if found is None:
        raise ConfigError(f"{path} has no row {row!r}; it has: {', '.join(sorted({entry['name'] for entry in rows}))}")
    beside = {"pretrained": found}
    for entry in rows:
        if entry["name"] == NAMES[Kind.RANDOM] and entry["facts"].get("backbone") == found["facts"].get("backbone"):
            beside[entry["name"]] = entry
    return {
        column: {
            name: round(fmean(entry["scores"][column]), 1)
            for name, entry in beside.items()
            if column in entry["scores"]
        }
        for column in found["scores"]
    }


def _audit(run: Run) -> dict[str, Any]:
    report = run.path / "audit" / "audit.json"
    if not report.exists():
        return {}
    audit = read_json(report)
    return {"shortcuts": audit["shortcuts"], "controls": {check["name"]: check["verdict"] for check in audit["checks"]}}


def _split(word: str) -> tuple[str, str]:
    path, found, row = word.rpartition("=")
    if not found:
        raise ConfigError(f"{word!r} is not TABLE.json=ROW")
    return path, row


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _main(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    tag: Annotated[str, typer.Argument(help="Name of the weights, by custom that of the task.")],
    licence: Annotated[str, typer.Option(help="Under which terms the weights may be used.")],
    data: Annotated[str, typer.Option(help="Which videos it was trained on, in a sentence.")],
    recipe: Annotated[str, typer.Option(help="The configuration that makes it again.")],
    view: Annotated[list[str] | None, typer.Option(help="frames, stride, size, fps or pool=VALUE.")] = None,
    table: Annotated[list[str] | None, typer.Option(help="TABLE.json=ROW.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of folders.")] = SHIPPED,
) -> None:
    """Make weights that come with the package out of a run."""
    made = Run(run)
    shown = {name: _value(value) for name, _, value in (word.partition("=") for word in view or ())}
    facts = {"data": {**made.card["data"], "description": data}, "recipe": recipe, "licence": licence}
    folder = out / f"{made.card['backbone']}-{tag}"
    typer.echo(export_weights(made, folder, shown, facts, table or ()))


if __name__ == "__main__":
    typer.run(_main)
