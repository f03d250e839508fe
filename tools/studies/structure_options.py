"""The options that all sub-commands ``structure-*`` of ``tools/experiments`` have."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from studies.strategies import DATA_SETS, STRATEGIES

GUIDED = "set,rigl,gse"


@dataclass(frozen=True)
class Options:
    """Options of a study."""

    output: Annotated[Path, typer.Option(help="Markdown file; results are kept beside it as .jsonl, pictures as .png.")]
    data: Annotated[str, typer.Option(help=f"With commas between them, of {', '.join(DATA_SETS)}.")] = ",".join(
        DATA_SETS[:2]
    )
    strategies: Annotated[str, typer.Option(help=f"Strategies to compare, of {', '.join(STRATEGIES)}.")] = GUIDED
    density: Annotated[float, typer.Option(help="Density of the whole network.")] = 0.01
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0, 1, ...")] = 3
    epochs: Annotated[int, typer.Option(min=2, help="Epochs of each training run.")] = 50
    threads: Annotated[int, typer.Option(min=1, help="Threads of each training run.")] = os.cpu_count() or 1


def with_options(**defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command that has all :class:`Options`, with these defaults, besides its own.

    The function gets them as one object, first; the command's signature, which typer reads, has them one by one.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        shared = signature(Options, eval_str=True).parameters
        own = list(signature(function, eval_str=True).parameters.values())[1:]

        @wraps(function)
        def command(**values: Any) -> None:
            function(Options(**{name: values.pop(name) for name in shared}), **values)

        parameters = [each.replace(default=defaults.get(name, each.default)) for name, each in shared.items()]
        command.__signature__ = Signature([*parameters, *own])  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in (*parameters, *own)}
        return command

    return decorate
