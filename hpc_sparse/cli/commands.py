"""The commands by name. To add one, add its file, its name and a line that loads it."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = (
    *("train", "plan", "config", "evaluate", "prune", "info", "upgrade", "check", "report", "tensorboard"),
    *("data", "analyze", "model"),
)
"""In the order of the help."""


class CommandsOnUse(TyperGroup):
    """The commands, each loaded when it is asked for: a run does not wait for the options of importers."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Loaded(dict.fromkeys(COMMANDS))


class _Loaded(UserDict[str, Any]):
    """Typer's commands by name; None until somebody asks."""

    def __getitem__(self, name: str) -> Any:
        if self.data[name] is None:
            self.data[name] = _made(name, _load(name))
        return self.data[name]


def _made(name: str, loaded: typer.Typer | Callable[..., None]) -> Any:
    """What Typer runs."""
    if isinstance(loaded, typer.Typer):
        made: Any = typer.main.get_group(loaded)
    else:
        alone = typer.Typer(add_completion=False)
        alone.command(name)(loaded)
        made = typer.main.get_command(alone)
    made.name = name
    return made


def _load(name: str) -> typer.Typer | Callable[..., None]:
    """The function of a command, or a group of commands."""
    module: Any
    match name:
        case "train" | "plan" | "config":
            from hpc_sparse.cli import train as module
        case "evaluate" | "prune" | "info" | "upgrade":
            from hpc_sparse.cli import files as module
        case "check":
            from hpc_sparse.cli import check as module
        case "report" | "tensorboard":
            from hpc_sparse.cli import report as module
        case "data":
            from hpc_sparse.cli import data_import as module
        case "analyze":
            from hpc_sparse.cli import analyze as module
        case _:
            from hpc_sparse.cli import model as module
    found: typer.Typer | Callable[..., None] = getattr(module, name)
    return found
