"""Several seeds of several variants of one configuration; mean and deviation of the last epoch's test accuracy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated

import typer

from benchmarks.report import machine

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ("variant", "test accuracy, last epoch", "each seed", "connections", "s per epoch", "s in all")


def main() -> None:
    """Entry point of ``tools/experiments``."""
    typer.run(repeat)


def repeat(
    config: Annotated[Path, typer.Argument(help="A configuration, such as jobs/fashion_mnist.toml.")],
    variant: Annotated[
        list[str],
        typer.Option(
            help="'NAME: RANKS SECTION.KEY=VALUE ...', such as 'two ranks: 2 training.epochs=30'; repeatable."
        ),
    ],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0, 1, ... of each variant.")] = 3,
    runs: Annotated[Path, typer.Option(help="Where the run folders go; finished ones are not repeated.")] = Path(
        "runs/experiments"
    ),
    output: Annotated[Path | None, typer.Option(help="Markdown file to write.")] = None,
) -> None:
    """Run every variant with every seed and print a Markdown table."""
    rows = []
    for text in variant:
        name, _, rest = text.partition(":")
        n_ranks, *settings = rest.split()
        folder = runs / config.stem / name.strip().replace(" ", "-")
        results = [_run(config, int(n_ranks), settings, seed, folder / f"seed-{seed}") for seed in range(seeds)]
        rows.append(_row(name.strip(), results))
        print(rows[-1], flush=True)
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|", *rows, ""]
    lines += [", ".join(f"{name} {version}" for name, version in machine().items()), "", "Variants:", ""]
    lines += [f"    {text}" for text in variant]
    if output is not None:
        output.write_text(f"# {config.name}, seeds 0 to {seeds - 1}\n\n" + "\n".join(lines) + "\n")


def _run(config: Path, n_ranks: int, settings: list[str], seed: int, folder: Path) -> dict[str, float]:
    summary = folder / "summary.json"
    if not summary.exists():
        command = [str(Path(sys.executable).with_name("hpc-sparse")), "train", str(config), "--output", str(folder)]
        for setting in (*settings, f"training.seed={seed}"):
            command += ["--set", setting]
        command += ["--resume", "auto", "--progress", "none"]
        if n_ranks > 1:
            command = ["bash", "-c", f'. jobs/openmpi.sh && exec mpirun -n {n_ranks} "$@"', "bash", *command]
        subprocess.run(command, cwd=ROOT, check=True)
    return json.loads(summary.read_text())  # type: ignore[no-any-return]


def _row(name: str, results: list[dict[str, float]]) -> str:
    accuracies = [100 * result["test_accuracy"] for result in results]
    deviation = f" ± {stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
    cells = (
        name,
        f"{mean(accuracies):.2f}{deviation} %",
        ", ".join(f"{accuracy:.2f}" for accuracy in accuracies),
        f"{mean(result['n_connections'] for result in results):,.0f}",
        f"{mean(result['median_train_seconds'] for result in results):.2f}",
        f"{mean(result['total_seconds'] for result in results):.0f}",
    )
    return "| " + " | ".join(cells) + " |"
