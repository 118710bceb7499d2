"""The page of all commands, from what `ssvid COMMAND --help` is made of."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer


def command_tree(command: Any, name: str = "ssvid") -> Iterator[tuple[str, Any]]:
    """(full name, command) of every command that does something, in the order of the help."""
    parts = getattr(command, "commands", None)
    if parts is None:
        yield name, command
        return
    for part, below in parts.items():
        yield from command_tree(below, name if part == getattr(command, "unnamed", None) else f"{name} {part}")


def examples(command: Any) -> list[str]:
    """The lines of a command's help that begin with "Example:", without that word."""
    text = inspect.cleandoc(command.help or "")
    return [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("Example:")]


def commands_page() -> str:
    """Every command with its help, arguments and options."""
    from ssvid.cli import app

    parts = ["# Commands", "`ssvid COMMAND -h` says the same at the terminal."]
    for name, command in command_tree(typer.main.get_command(app)):
        parts += [f"## {name}", _help(command), _parameters(command)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _help(command: Any) -> str:
    """The help, its examples as blocks."""
    text = inspect.cleandoc(command.help or "").replace("\b\n", "").replace("<", "&lt;")
    return "\n".join(
        f"\n    {line.partition(':')[2].strip()}\n" if line.startswith("Example:") else line
        for line in text.splitlines()
    )


def _parameters(command: Any) -> str:
    rows = []
    for parameter in command.params:
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        if "--help" in names:
            continue
        default = parameter.default
        told = "" if default in (None, (), [], False, "") or callable(default) else f" Default: {default}."
        rows.append(f"| {names} | {(getattr(parameter, 'help', None) or '').replace('|', chr(92) + '|')}{told} |")
    return "\n".join(["| argument or option | what it is |", "| --- | --- |", *rows]) if rows else ""
