"""One self-contained HTML page: text, tables, figures and clips in a single file that opens anywhere, a phone included."""

from __future__ import annotations

import base64
import html
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ssvid.evaluation.tables.table import Row, Table, label, row_score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
:root { color-scheme: light dark; --ink: #1b2733; --paper: #fbfaf7; --line: #d9d5cc; --soft: #5c6b78; --accent: #b4552d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6e1; --paper: #14181c; --line: #353c44; --soft: #9aa7b2; --accent: #e58e64; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 62rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
p, li { max-width: 44rem; } .note { color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper); min-width: 7rem; max-width: 12rem;
  white-space: normal; overflow-wrap: break-word; }
a { color: var(--accent); } a.file { font-size: .75rem; vertical-align: super; text-decoration: none; padding: 0 .15em; }
details { border-bottom: 1px solid var(--line); padding: .5rem 0; } summary { cursor: pointer; }
.pair { display: flex; flex-wrap: wrap; gap: 1rem; } .pair figure { flex: 1 1 20rem; min-width: 0; max-width: 34rem; margin: .5rem 0; }
ul.note { padding-left: 1.1rem; } .note li { margin: .3rem 0; }
th { font-weight: 600; color: var(--soft); font-size: .88rem; }
figure { margin: 1rem 0; } figcaption { color: var(--soft); font-size: .9rem; margin-top: .35rem; max-width: 44rem; }
img, video { max-width: 100%; height: auto; border-radius: 6px; background: #fff; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8rem; } pre:target { outline: 2px solid var(--accent); }
code { background: color-mix(in srgb, var(--ink) 8%, transparent); padding: .1em .35em; border-radius: 4px; overflow-wrap: anywhere; }
"""


class Page:
    """Collects parts in reading order; `write` makes the file."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.parts: list[str] = [f"<h1>{html.escape(title)}</h1>"]

    def heading(self, text: str) -> None:
        """A section's heading."""
        self.parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str, note: bool = False) -> None:
        """A paragraph; words between backticks are set as code."""
        self.parts.append(f'<p class="note">{_coded(text)}</p>' if note else f"<p>{_coded(text)}</p>")

    def table(self, table: Table, links: bool = False) -> None:
        """A table and its protocol. links: scores lead to the cells behind them, which `records` must then put on the page."""
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.header())
        rows = "".join(f"<tr>{_row(table, row, links)}</tr>" for row in table.rows)
        self.parts.append(f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>')
        self.text(table.protocol, note=True)
        if table.below():
            notes = "".join(f"<li>{_coded(note)}</li>" for note in table.below())
            self.parts.append(f'<ul class="note">{notes}</ul>')

    def figure(self, figure: Figure, caption: str) -> None:
        """A matplotlib figure, as PNG at twice the resolution."""
        self.parts.append(_figure(_image(figure, caption), caption))

    def gallery(self, figures: Sequence[Figure], caption: str) -> None:
        """Small figures side by side, as many as the screen is wide, under one caption."""
        shown = "".join(f"<figure>{_image(figure, caption)}</figure>" for figure in figures)
        self.parts.append(f'<div class="pair">{shown}</div>')
        self.text(caption, note=True)

    def folded(self, summary: str, figures: Sequence[tuple[Figure, str]]) -> None:
        """Figures with their captions under a line that opens on a tap, side by side where the screen is wide enough."""
        shown = "".join(_figure(_image(figure, caption), caption) for figure, caption in figures)
        self.parts.append(
            f'<details><summary>{html.escape(summary)}</summary><div class="pair">{shown}</div></details>'
        )

    def records(self, summary: str, records: Mapping[str, Any]) -> None:
        """JSON values, each under its name, under a line that opens on a tap, or where a link leads to one of them."""
        parts = []
        for name, record in records.items():
            text = html.escape(name + "\n" + json.dumps(record, ensure_ascii=False))
            parts.append(f'<pre id="{html.escape(name)}">{text}</pre>')
        shown = "".join(parts)
        self.parts.append(f"<details><summary>{html.escape(summary)}</summary>{shown}</details>")

    def video(self, path: str | os.PathLike[str], caption: str) -> None:
        """An mp4 that plays and loops without sound."""
        source = _data("video/mp4", Path(path).read_bytes())
        self.parts.append(_figure(f'<video autoplay loop muted playsinline src="{source}"></video>', caption))

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the page; returns its path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        head = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(self.title)}</title><style>{STYLE}</style></head><body>"
        )
        path.write_text(head + "\n".join(self.parts) + "</body></html>\n", encoding="utf-8")
        return path


def _coded(text: str) -> str:
    pieces = html.escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces))


def _row(table: Table, row: Row, links: bool) -> str:
    name = html.escape(label(row))
    if row.source.startswith(("http://", "https://")):
        name = f'<a href="{html.escape(row.source)}">{name}</a>'
    facts = (html.escape(row.facts.get(fact, "")) for fact in table.fact_names())
    best = table.best()
    return "".join(
        f"<td>{cell}</td>" for cell in (name, *facts, *(_score(row, key, best, links) for key in table.chance))
    )


def _score(row: Row, column: str, best: dict[str, Row], links: bool) -> str:
    text = html.escape(row_score(row, column))
    text = f"<strong>{text}</strong>" if best.get(column) is row else text
    cells = row.cells.get(column, []) if links else []
    return text + "".join(f' <a class="file" href="#{html.escape(key)}">{n}</a>' for n, key in enumerate(cells, 1))


def _image(figure: Figure, caption: str) -> str:
    """A figure at twice the resolution, in 128 colours: a third of the bytes, and flat colours need no more."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=2 * figure.dpi, bbox_inches="tight")
    Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return f'<img src="{_data("image/png", small.getvalue())}" alt="{html.escape(caption)}">'


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
