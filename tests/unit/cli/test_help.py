"""What the commands say about themselves reaches the reader whole: brackets are not taken for markup."""

from __future__ import annotations

import pytest
import typer
from typer import rich_utils
from typer.testing import CliRunner

from hpc_sparse.cli.app import app

WIDTH = 400
"""Columns: so that nothing is broken into lines."""


def commands(group, names=()):
    """Every command with its names."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*names, name))
        else:
            yield (*names, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.fixture(autouse=True)
def _plain_and_wide(monkeypatch):
    """Whatever the environment says of colours (GITHUB_ACTIONS, FORCE_COLOR) and of columns."""
    monkeypatch.setattr(rich_utils, "FORCE_TERMINAL", False)
    monkeypatch.setattr(rich_utils, "MAX_WIDTH", WIDTH)


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_every_word_of_the_help_is_shown(names):
    shown = CliRunner().invoke(app, [*names, "--help"]).output
    for parameter in COMMANDS[names].params:
        assert not parameter.help or " ".join(parameter.help.split()) in shown
        if isinstance(parameter.show_default, str):
            assert f"[default: ({parameter.show_default})]" in shown


def test_the_default_that_is_found_out_is_named():
    assert "[default: (runs/<name of CONFIG>)]" in CliRunner().invoke(app, ["train", "--help"]).output
