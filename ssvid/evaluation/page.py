"""One self-contained HTML page: text, tables, figures and clips in a single file that opens anywhere, a phone included."""

from __future__ import annotations

import base64
import html
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ssvid.evaluation.report import Table

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
th { font-weight: 600; color: var(--soft); font-size: .88rem; }
figure { margin: 1rem 0; } figcaption { color: var(--soft); font-size: .9rem; margin-top: .35rem; max-width: 44rem; }
img, video { max-width: 100%; height: auto; border-radius: 6px; background: #fff; }
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
        pieces = html.escape(text).split("`")
        joined = "".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces))
        self.parts.append(f'<p class="note">{joined}</p>' if note else f"<p>{joined}</p>")

    def table(self, table: Table) -> None:
        """A table under its protocol."""
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.header())
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table.cells()
        )
        self.parts.append(f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>')
        for note in (table.protocol, *table.notes):
            self.text(note, note=True)

    def figure(self, figure: Figure, caption: str) -> None:
        """A matplotlib figure, as PNG at twice the resolution."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=2 * figure.dpi, bbox_inches="tight")
        source = _data("image/png", buffer.getvalue())
        self.parts.append(_figure(f'<img src="{source}" alt="{html.escape(caption)}">', caption))

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


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
