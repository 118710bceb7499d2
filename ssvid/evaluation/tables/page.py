"""The page of a transfer table: the table, its figures, the classes of every row, and the cells that the numbers lead to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ssvid.evaluation.page import Page
from ssvid.evaluation.plots import class_bars, confusion, score_panels
from ssvid.evaluation.tables.runner import Cell, confusion_counts
from ssvid.evaluation.tables.table import Table

ESSENTIAL = (
    "protocol",
    "options",
    "training_with_labels",
    "view",
    "seed",
    "weights",
    "run",
    "data",
    "seconds",
)  # of a cell, on the page


def transfer_page(table: Table, cells: Mapping[tuple[str, str, str], Sequence[tuple[str, Cell]]]) -> Page:
    """The page. cells: (row's name, backbone, data set) -> (key, cell) of each, in the order of the protocols."""
    page = Page(table.title)
    page.table(table, links=True)
    for gains in table.gains:
        page.heading(gains.title)
        page.table(gains)
    page.heading("The same as figures")
    page.gallery(
        score_panels(table),
        "Means; whiskers: standard deviation over seeds; dashed: chance; hatched: published, not measured here.",
    )
    page.heading("Accuracy of each class")
    page.text(
        "For the first protocol that predicts classes, test videos of all folds and seeds together. Tap a row to open it.",
        note=True,
    )
    for (row, backbone, data), found in cells.items():
        scores, classes = _first_predictions([cell for _, cell in found])
        if scores:
            counts = confusion_counts(scores, len(classes))
            name, chance = scores[0]["name"], scores[0]["chance"]
            accuracy = 100 * counts.diagonal() / counts.sum(1).clip(1)
            title = f"{row}: {name}, {data}"
            figures = [
                (confusion(counts, classes, title), "Each row: where the videos of a class went, in percent."),
                (
                    class_bars(classes, list(accuracy), chance, title),
                    "Accuracy of each class; dashed: chance over all classes.",
                ),
            ]
            page.folded(f"{data}: {_on(row, backbone)}, {name} {100 * counts.trace() / counts.sum():.1f} %", figures)
    page.heading("Cells")
    page.text(
        "What every number above leads to: how it was computed. Predictions of single videos stand in the file of cells.",
        note=True,
    )
    for (row, backbone, data), found in cells.items():
        page.records(f"{data}: {_on(row, backbone)}", {key: _essentials(cell) for key, cell in found})
    page.heading("Made by")
    page.text(f"`{table.made_with['command']}`")
    return page


def _on(row: str, backbone: str) -> str:
    return row if backbone == row else f"{row} on {backbone}"


def _essentials(cell: Cell) -> dict[str, Any]:
    """A cell without what all cells of the table share and without the predictions."""
    environment = cell["environment"]
    return {
        **{name: cell[name] for name in ESSENTIAL if cell.get(name)},
        "made by": f"ssvid {environment['ssvid']}, commit {environment['commit']}",
        "scores": {one["name"]: one["value"] for one in cell["scores"]},
    }


def _first_predictions(cells: Sequence[Cell]) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Scores over the seeds of the first one that holds the predicted class of each video, and the classes."""
    scores = [(score, cell["classes"]) for cell in cells for score in cell["scores"] if "predicted" in score]
    if not scores:
        return [], []
    name = scores[0][0]["name"]
    return [score for score, _ in scores if score["name"] == name], scores[0][1]
