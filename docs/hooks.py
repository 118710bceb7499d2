"""What MkDocs asks as it builds the site: pages made from the sources, the tables of results/, and links that lead out of docs/."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

from ssvid.cli.site_pages import site_pages

RESULTS = Path(__file__).parents[1] / "results"
WIDE = ("families/", "results/", "backbones.md", "results.md")
SECTIONS = {"Tasks": "tasks/", "Backbones": "families/"}  # of the navigation, filled with the pages that are made


def on_config(config: Any) -> Any:
    """List the pages that are made below their sections of the navigation."""
    pages = site_pages()
    made = sorted(pages, key=lambda page: pages[page].partition("\n")[0].lower())  # by title
    for entry in config.nav:
        for title, folder in SECTIONS.items():
            if title in entry:
                entry[title] += [page for page in made if page.startswith(folder) and page not in entry[title]]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made, and the tables and pictures that commands wrote."""
    for name, text in site_pages().items():
        files.append(File.generated(config, name, content=text))
    for path in sorted(RESULTS.iterdir()):
        if path.suffix in (".md", ".png", ".webp"):
            files.append(File.generated(config, f"results/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **about: Any) -> str:
    """Links to results/, which are right from where a page lies on a disk, lead to the site's own pages; a spread stays beside its
    mean; pages that are a wide table have the room of the table of contents."""
    if page.file.src_uri.startswith(WIDE):
        page.meta["hide"] = ["toc"]
    depth = len(PurePosixPath(page.file.src_uri).parts) - 1
    markdown = markdown.replace(" ± ", "\u00a0±\u00a0")
    return re.sub(rf"\]\((?:\.\./){{{depth + 1}}}results/", f"]({'../' * depth}results/", markdown)
