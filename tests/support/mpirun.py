"""Command lines of tests that start a program on several ranks, and the settings that users start theirs with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

SETTINGS = Path(__file__).resolve().parents[2] / "jobs" / "openmpi.sh"
PREFIXES = ("OMPI_", "PRTE_")
"""Of the variables that Open MPI reads."""


def on_ranks(n_ranks: int, command: Sequence[object], *options: str) -> list[str]:
    """The command line that runs ``command`` on several ranks, with further ``options`` of mpirun.

    Settings of jobs/openmpi.sh that are set in the environment stay as they are.
    """
    words = ["mpirun", "-n", str(n_ranks), *options, *map(str, command)]
    return ["bash", "-c", '. "$0" && exec "$@"', str(SETTINGS), *words]


def use_settings() -> None:
    """Put the settings of jobs/openmpi.sh into the environment of this process."""
    line = ["bash", "-c", '. "$0" && env -0', str(SETTINGS)]
    output = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    settings = dict(line.split("=", 1) for line in output.split("\0") if line)
    os.environ.update({name: value for name, value in settings.items() if name.startswith(PREFIXES)})
