"""Results as a table for people or JSON for programs, always with the machine they were measured on."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.table import Table

PACKAGES = ("hpc-sparse", "numpy", "scipy", "numba", "torch", "sparselab", "sparseprop", "mpi4py", "h5py")


def machine() -> dict[str, str]:
    """Processor, cores and versions."""
    described = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            described[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return described


def show(title: str, rows: list[dict[str, object]], notes: list[str], *, as_json: bool) -> None:
    """Print rows of equal keys."""
    if as_json:
        json.dump({"title": title, "machine": machine(), "rows": rows, "notes": notes}, sys.stdout, indent=2)
        print()
        return
    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    console = Console(width=max(100, Console().width))
    console.print(table)
    console.print(", ".join(f"{name} {version}" for name, version in machine().items()), highlight=False)
    for note in notes:
        console.print(note, highlight=False)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        fields = dict(line.split(":", 1) for line in info.read_text().split("\n\n")[0].splitlines() if ":" in line)
        named = {key.strip(): value.strip() for key, value in fields.items()}
        return f"{named.get('model name', 'unknown')} (family {named.get('cpu family', '?')})"
    return platform.processor() or "unknown"
