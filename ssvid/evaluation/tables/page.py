"""The page of a transfer table: the table, its figure, and for every row which classes are told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ssvid.evaluation.page import Page
from ssvid.evaluation.plots import class_bars, confusion, score_panels
from ssvid.evaluation.tables.jobs import confusion_counts
from ssvid.evaluation.tables.table import Table


def transfer_page(table: Table, cells: Mapping[tuple[str, str, str], Sequence[Mapping[str, Any]]]) -> Page:
    """The page. cells: those of every row, by (row's name, backbone, data set), in the order of the protocols."""
    page = Page(table.title)
    page.table(table, links=True)
    page.heading("The same as figures")
    page.gallery(
        score_panels(table),
        "Means; whiskers: standard deviation over seeds; dashed: chance; hatched: published, not measured here.",
    )
    page.heading("Which classes are told apart")
    page.text(
        "For the first protocol that tells classes, test videos of all folds and seeds together. Tap a row to open it.",
        note=True,
    )
    for (row, backbone, data), found in cells.items():
        scores, classes = _first_told(found)
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
            network = "" if backbone == row else f" on {backbone}"
            page.folded(f"{data}: {row}{network}, {name} {100 * counts.trace() / counts.sum():.1f} %", figures)
    page.heading("Made by")
    page.text(f"`{table.made_with['command']}`")
    return page


def _first_told(cells: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Scores over the seeds of the first one that says which class each video was told as, and the classes."""
    scores = [(score, cell["classes"]) for cell in cells for score in cell["scores"] if "predicted" in score]
    if not scores:
        return [], []
    name = scores[0][0]["name"]
    return [score for score, _ in scores if score["name"] == name], scores[0][1]
