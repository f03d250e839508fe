"""The sub-commands of ``tools/experiments`` about graphs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

Output = Annotated[Path, typer.Option(help="Markdown file; finished runs are kept beside it as .jsonl.")]


def graphs(
    output: Output,
    source: Annotated[Path | None, typer.Option(help="cora.npz.", show_default="in $HPC_SPARSE_DATA")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each split.")] = 10,
    runs: Annotated[Path, typer.Option(help="Where data sets go.")] = Path("runs/graphs"),
) -> None:
    """Accuracy on Cora over splits, hops and thresholds, beside logistic regression; finished runs are not repeated."""
    from studies import graphs as accuracy

    path = source or Path(os.environ.get("HPC_SPARSE_DATA", "data")) / "cora.npz"
    if not path.exists():
        raise typer.BadParameter(f"{path}: does not exist", param_hint="'--source'")
    study = accuracy.Study(path.resolve(), seeds, runs.resolve())
    log = study.open_log(output.with_suffix(".jsonl"))
    for number, _ in enumerate(accuracy.do_missing(study, log)):
        if number % 10 == 9:
            _write(output, accuracy.report(study, log))
    _write(output, accuracy.report(study, log))


def graph_memory(
    output: Output,
    sizes: Annotated[str, typer.Option(help="Nodes, with commas between them.")] = "10000,100000,1000000,10000000",
    runs: Annotated[Path, typer.Option(help="Where graphs go; the largest takes a gigabyte.")] = Path(
        "runs/graph_memory"
    ),
) -> None:
    """Memory and time of the import of growing graphs, on one and two ranks; finished ones are not repeated."""
    from studies import graph_memory as memory

    log, all_done = memory.open_log(output.with_suffix(".jsonl")), True
    for is_done in memory.do_missing(log, [int(size) for size in sizes.split(",")], runs.resolve()):
        all_done = all_done and is_done
        _write(output, memory.report(log))
    _write(output, memory.report(log))
    raise typer.Exit(0 if all_done else 1)


def _write(output: Path, lines: list[str]) -> None:
    output.write_text("\n".join(lines) + "\n")
