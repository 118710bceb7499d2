"""Commands about the cache folder: cache, cache clear."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ssvid.cli import console
from ssvid.cli.shared import Json

if TYPE_CHECKING:
    from ssvid.files import CacheUse

app = typer.Typer()
group = typer.Typer()
app.add_typer(group, name="cache")


@group.callback(invoke_without_command=True)
def cache(context: typer.Context, as_json: Json = False) -> None:
    """Show what the cache folder holds, by kind; `ssvid cache clear` removes it. All of it can be computed again.

    Example:  ssvid cache

    The folder is $SSVID_CACHE where that is set, else the user's cache folder. The kind "remote" is kept below $SSVID_REMOTE_GB (50).
    """
    if context.invoked_subcommand is not None:
        return
    from ssvid.files import cache_use

    _report(cache_use(), "in the cache", as_json)


@group.command()
def clear(
    kinds: Annotated[list[str] | None, typer.Argument(metavar="[KIND]...", help="Kinds; default: all.")] = None,
    as_json: Json = False,
) -> None:
    """Remove what the cache folder holds, all of it or some kinds, and print what was freed.

    Example:  ssvid cache clear features controls
    """
    from ssvid.files import clear_cache

    _report(clear_cache(kinds or ()), "freed", as_json)


def _report(use: Mapping[str, CacheUse], what: str, as_json: bool) -> None:
    from ssvid.files import CACHE_KINDS, cache_folder
    from ssvid.video.fetched import SETTING, limit

    total = sum(one.bytes for one in use.values())
    if as_json:
        kinds = {kind: asdict(one) for kind, one in use.items()}
        facts = {"folder": str(cache_folder()), "bytes": total, "remote_limit": limit(), "kinds": kinds}
        typer.echo(json.dumps(facts, indent=2))
        return
    rows = [[kind, str(one.files), megabytes(one.bytes), CACHE_KINDS[kind]] for kind, one in use.items()]
    console.show_table(str(cache_folder()), ("kind", "files", "size", "holds"), rows)
    console.log(f"{megabytes(total)} {what}: {cache_folder()}; remote holds up to {megabytes(limit())} ({SETTING})")


def megabytes(size: int) -> str:
    """Bytes as megabytes of a million bytes."""
    return f"{size / 1e6:.1f} MB"
