"""Calibrate a model that was exported before, on held-out videos; its card says how well that held.

    python -m ssvid.speedup.calibrate_model NAME=HELD_OUT.sqlite [NAME=...] [--model FOLDER]

`ssvid.speedup.export_model` does it for a new model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssvid.data.index import Index
from ssvid.files import write_json
from ssvid.speedup.calibration import cross_checked
from ssvid.speedup.export_model import named_indexes
from ssvid.speedup.models import CARD, SHIPPED, load_card, load_model
from ssvid.speedup.scores import joined_halves, score_halves


def calibrate_model(folder: Path, held_out: dict[str, Path]) -> dict[str, float]:
    """Write the calibration of the model in `folder` into its card, and return it."""
    model = load_model(folder, "cpu")
    halves = [score_halves(model, Index(path).videos()) for path in held_out.values()]
    told = cross_checked(joined_halves(halves))
    write_json(folder / CARD, load_card(folder) | {"calibration": told})
    return told


def _main(
    held_out: Annotated[list[str], typer.Argument(help="NAME=INDEX of held-out videos.")],
    model: Annotated[Path, typer.Option(help="Folder of the model.")] = SHIPPED,
) -> None:
    """Fit what the logits of a model mean."""
    told = calibrate_model(model, named_indexes(held_out))
    typer.echo(", ".join(f"{what} {value:g}" for what, value in told.items()))


if __name__ == "__main__":
    typer.run(_main)
