"""Every command has an example in its help, and every example is a call that the command takes."""

from __future__ import annotations

import shlex

import pytest
import typer

from ssvid.cli import app
from ssvid.cli.site_commands import command_tree, commands_page, examples

TREE = dict(command_tree(typer.main.get_command(app)))


@pytest.mark.parametrize("name", TREE)
def test_every_example_is_a_call_that_the_command_takes(name):
    found = examples(TREE[name])
    assert found, f"{name} has no line that begins with Example:"
    for line in found:
        words = shlex.split(line, comments=True)
        own = name.split()
        assert words[: len(own)] == own, line
        TREE[name].make_context(name, words[len(own) :])  # raises for an unknown option or a missing argument


def test_the_page_of_commands_has_every_command_and_its_options():
    page = commands_page()
    assert [name for name in TREE if f"## {name}\n" not in page] == []
    assert "`--transcode`" in page
