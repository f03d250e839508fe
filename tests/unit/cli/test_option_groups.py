"""Groups of options become a command's own parameters."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from hpc_sparse.cli.option_groups import expand_groups

SEEN: list[tuple[Any, ...]] = []


@dataclass(frozen=True)
class Group:
    """Two options."""

    first: Annotated[int, typer.Option(min=0, help="A number.")] = 1
    second: Annotated[str | None, typer.Option(help="A text.")] = None


def body(
    name: Annotated[str, typer.Argument()], group: Group, last: Annotated[bool, typer.Option("--last")] = False
) -> None:
    """The help of the command."""
    SEEN.append((name, group, last))


def test_fields_take_the_place_of_their_group_in_order_and_with_defaults() -> None:
    parameters = inspect.signature(expand_groups(body)).parameters
    assert list(parameters) == ["name", "first", "second", "last"]
    assert parameters["name"].default is inspect.Parameter.empty
    assert [parameters[name].default for name in ("first", "second", "last")] == [1, None, False]


@pytest.mark.parametrize(
    ("without", "arguments", "seen"),
    [
        ((), ["a"], ("a", Group(), False)),
        ((), ["a", "--first", "3", "--second", "b", "--last"], ("a", Group(3, "b"), True)),
        (("first",), ["a", "--second", "b"], ("a", Group(second="b"), False)),
    ],
)
def test_a_command_gets_its_groups_whole(without: tuple[str, ...], arguments: list[str], seen: tuple[Any, ...]) -> None:
    app = typer.Typer()
    app.command()(expand_groups(body, without))
    SEEN.clear()
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert [seen] == SEEN
    assert CliRunner().invoke(app, ["a", "--first", "-1"]).exit_code == 2
