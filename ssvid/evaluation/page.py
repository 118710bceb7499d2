"""Self-contained HTML pages: one file that opens anywhere, a phone included, made from the templates in `ssvid/templates`.

The style sheet and the scripts lie beside the templates and are put into each page, so that a page needs no other file and no network.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup, escape
from PIL import Image

from ssvid.evaluation.tables.table import Row, Table, label, row_score
from ssvid.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Page:
    """Collects the parts of a page in reading order; `write` makes the file."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.parts: list[dict[str, Any]] = []  # as page.html.j2 takes them

    def heading(self, text: str) -> None:
        """A section's heading."""
        self.parts.append({"kind": "heading", "text": text})

    def text(self, text: str, note: bool = False) -> None:
        """A paragraph; words between backticks are set as code."""
        self.parts.append({"kind": "text", "text": text, "note": note})

    def table(self, table: Table, links: bool = False) -> None:
        """A table and its protocol. links: scores lead to the cells behind them, which `records` must then put on the page."""
        rows = [_row(table, row, links) for row in table.rows]
        self.parts.append(
            {
                "kind": "table",
                "header": table.header(),
                "rows": rows,
                "protocol": table.protocol,
                "notes": table.below(),
            }
        )

    def figure(self, figure: Figure, caption: str) -> None:
        """A matplotlib figure, as PNG at twice the resolution."""
        self.parts.append({"kind": "figure", "image": figure_uri(figure), "caption": caption})

    def gallery(self, figures: Sequence[Figure], caption: str) -> None:
        """Small figures side by side, as many as the screen is wide, under one caption."""
        self.parts.append({"kind": "gallery", "images": [figure_uri(figure) for figure in figures], "caption": caption})

    def folded(self, summary: str, figures: Sequence[tuple[Figure, str]]) -> None:
        """Figures with their captions under a line that opens on a tap, side by side where the screen is wide enough."""
        shown = [(figure_uri(figure), caption) for figure, caption in figures]
        self.parts.append({"kind": "folded", "summary": summary, "figures": shown})

    def records(self, summary: str, records: Mapping[str, Any]) -> None:
        """JSON values, each under its name, under a line that opens on a tap, or where a link leads to one of them."""
        texts = {name: f"{name}\n{json.dumps(record, ensure_ascii=False)}" for name, record in records.items()}
        self.parts.append({"kind": "records", "summary": summary, "texts": texts})

    def video(self, path: str | os.PathLike[str], caption: str) -> None:
        """An mp4 that plays and loops without sound."""
        self.parts.append(
            {"kind": "video", "source": data_uri("video/mp4", Path(path).read_bytes()), "caption": caption}
        )

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the page; returns its path."""
        return write_template(path, "page.html.j2", title=self.title, parts=self.parts)


def write_template(path: str | os.PathLike[str], name: str, /, **values: Any) -> Path:
    """Fill in a template of `ssvid/templates` and write the page atomically; returns its path. Values are escaped."""
    write_text(path, templates().get_template(name).render(values))
    return Path(path)


@cache
def templates() -> jinja2.Environment:
    """The page templates, with autoescape on: `asset(name)` puts a .css or .js file in, the filter `coded` sets `words` as code."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template_file),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = lambda name: Markup(_template_file(name))
    environment.filters["coded"] = _coded
    return environment


def figure_uri(figure: Figure) -> str:
    """A figure as a data URI: PNG at twice the resolution, in 128 colours, which takes a third of the bytes and looks the same."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=2 * figure.dpi, bbox_inches="tight")
    Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return data_uri("image/png", small.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """A file's content as a data URI of a media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _template_file(name: str) -> str:
    return files("ssvid").joinpath("templates").joinpath(name).read_text(encoding="utf-8")


def _coded(text: str) -> Markup:
    pieces = str(escape(text)).split("`")
    return Markup("".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces)))


def _row(table: Table, row: Row, links: bool) -> dict[str, Any]:
    best = table.best()
    return {
        "name": label(row),
        "link": row.source if row.source.startswith(("http://", "https://")) else "",
        "facts": [row.facts.get(fact, "") for fact in table.fact_names()],
        "scores": [
            {
                "text": row_score(row, column),
                "best": best.get(column) is row,
                "cells": row.cells.get(column, []) if links else [],
            }
            for column in table.chance
        ],
    }
