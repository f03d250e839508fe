"""The command ``hpc-sparse``: the only place that starts MPI and ends the process."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from hpc_sparse import __version__
from hpc_sparse.cli.commands import CommandsOnUse
from hpc_sparse.cli.guard import GRACE_SECONDS
from hpc_sparse.parallel.context import launched_rank

EXIT_USAGE = 2

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""Every kind of wrong command line; Typer has no public name for it."""

app = typer.Typer(
    name="hpc-sparse",
    cls=CommandsOnUse,
    help="Train truly sparse neural networks on CPUs, alone or across MPI ranks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point of the command."""
    if launched_rank() in (None, 0):
        app()
    else:
        _run_beside_root()


def _run_beside_root() -> None:
    """Run the command on a rank that leaves it to root to say what is wrong with the command line."""
    try:
        exit_code = app(standalone_mode=False)
    except USAGE_ERROR:
        # A launcher ends the job with the first rank that fails: root's message must be out by then.
        time.sleep(GRACE_SECONDS)
        exit_code = EXIT_USAGE
    sys.exit(exit_code)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        print(f"hpc-sparse {__version__}")
        raise typer.Exit
