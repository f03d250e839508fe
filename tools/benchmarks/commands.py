"""The sub-commands of ``tools/bench``."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from benchmarks import comparison

app = typer.Typer(help="Benchmarks: interleaved, medians with least and most.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Threads = Annotated[int, typer.Option(help="Threads; all cores by default.")]
N_CORES = len(os.sched_getaffinity(0))


@app.callback()
def _benchmarks() -> None:
    """Measure; never assume."""


@app.command()
def peers(
    network: Annotated[str, typer.Option(help="fashion-mnist, cifar10, or a density for 3072-1024-512-10.")] = "fashion-mnist",
    threads: Threads = N_CORES,
    rounds: Annotated[int, typer.Option(help="Measurements of each peer.")] = 5,
    steps: Annotated[int, typer.Option(help="Training steps per measurement.")] = 40,
    only: Annotated[str, typer.Option(help="Comma-separated peers; all by default.")] = "",
    as_json: Json = False,
) -> None:
    """Train the same network with every peer that is installed; seconds are scaled to a whole epoch."""
    names = tuple(only.split(",")) if only else comparison.peers.NAMES
    comparison.compare_peers(network, threads, rounds, steps, names, as_json=as_json)
